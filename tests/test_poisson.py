"""Poisson counts and Tukey-lambda noise: their laws against SciPy, and what they are and are not a function of."""

import math

import pytest
import torch
from scipy import stats

from lowlight_ext import normal, philox, poisson, testing, tukey_lambda, use_backend
from lowlight_ext.checks import DTYPES

OPERATOR = "poisson"
OPS = ("poisson", "tukey_lambda")
# with seeds fixed a failure is a defect, never luck
SIGMAS = 4.5
LEAST = 1e-3
MEANS = (0.01, 0.3, 1.0, 3.7, 9.99, 10.0, 10.5, 17.0, 80.0, 1000.0, 12345.6, 1e6)


def ramp(device="cpu"):
    """Means of every kind side by side: 0, below and above 10, up to a million."""
    x = torch.linspace(0, 1, 2 * 3 * 40 * 53, device=device)
    return (x * 12 * (1 + (x * 977).sin())).where((x * 4000).long() % 7 > 1, x.pow(5) * 1e6).reshape(2, 3, 40, 53)


def chi_square(values, distribution, least=20.0):
    """p-value of the counts per value, neighbours put together until `least` are expected."""
    n = values.numel()
    low, high = int(values.min()), int(values.max())
    counts = torch.bincount((values - low).long()).double()
    lower = distribution.ppf(least / n)
    edges, last = [], -1.0
    step = max(1, int(distribution.std() / 40))
    for k in range(int(lower), high + step, step):
        cumulative = distribution.cdf(k)
        if (cumulative - max(last, 0.0)) * n >= least and (1 - cumulative) * n >= least:
            edges.append(k)
            last = cumulative
    observed, expected, previous, before = [], [], 0.0, 0.0
    running = torch.cumsum(counts, 0)
    for k in [*edges, None]:
        seen = float(n) if k is None else (running[min(max(k - low, 0), high - low)].item() if k >= low else 0.0)
        until = 1.0 if k is None else distribution.cdf(k)
        observed.append(seen - previous)
        expected.append((until - before) * n)
        previous, before = seen, until
    return stats.chisquare(observed, expected, sum_check=False).pvalue if len(observed) > 1 else 1.0


@pytest.mark.parametrize("mean", MEANS)
def test_law_of_counts(mean):
    """Four million draws against SciPy's probabilities; moments too, which see what bins do not."""
    values = poisson(torch.full((1, 1, 2000, 2000), mean), 11, stream=1).double().flatten()
    n = values.numel()
    exact = float(torch.tensor(mean))
    assert chi_square(values, stats.poisson(exact)) > LEAST
    assert abs(values.mean() - exact) < SIGMAS * math.sqrt(exact / n)
    # variance of (k - m)^2: m + 2 m^2
    assert abs((values - exact).square().mean() - exact) < SIGMAS * math.sqrt((exact + 2 * exact**2) / n)
    skewness = (values - exact).pow(3).mean() / exact**1.5
    assert abs(skewness - exact**-0.5) < SIGMAS * math.sqrt((15 + 100 / exact + 25 / exact**2 + 1 / exact**3) / n)
    assert torch.equal(values, values.floor())
    assert values.min() >= 0


def test_the_law_test_can_fail():
    values = poisson(torch.full((1, 1, 2000, 2000), 20.0), 11).flatten()
    assert chi_square(values, stats.poisson(20.02)) < LEAST
    assert chi_square(values.where(values != 13, 14), stats.poisson(20)) < LEAST


def test_rare_counts_are_there():
    """The upper tail of inversion, beyond what a float32 level resolves: 3 or more at mean 0.01, 1.65e-7."""
    values = poisson(torch.full((1, 8, 2500, 2500), 0.01), 5)
    expected = stats.poisson(0.01).sf(2) * values.numel()
    assert stats.poisson(expected).sf((values >= 3).sum().item() - 1) > LEAST
    assert stats.poisson(expected).cdf((values >= 3).sum().item()) > LEAST


def word(seed, stream, plane, y, x, attempt, source):
    counter = torch.tensor([x // 4, y, plane, stream + 2**16 * (16 * attempt + source)])
    return philox(counter, torch.tensor([seed, 0])).tolist()[x % 4]


def by_hoermann(mean, words):
    """The published algorithm in double precision, written from the paper: (attempt, which word) -> uint32 in."""
    if mean < 10:
        level = 1 - (words(0, 1) + 0.5) / 2**32
        return int(stats.poisson(mean).ppf(level))
    b = 0.931 + 2.53 * math.sqrt(mean)
    a = -0.059 + 0.02483 * b
    for attempt in range(64):
        u = (words(attempt, 1) - 2**31) / 2**32
        v = ((words(attempt, 2) >> 9) + 0.5) / 2**23
        us = 0.5 - abs(u)
        k = math.floor((2 * a / us + b) * u + mean + 0.43) if us else -1
        if us >= 0.07 and v <= 0.9277 - 3.6224 / (b - 2):
            return k
        if k < 0 or (us < 0.013 and v > us):
            continue
        left = math.log(v * (1.1239 + 1.1328 / (b - 3.4)) / (a / us**2 + b))
        if left <= k * math.log(mean) - mean - math.lgamma(k + 1):
            return k
    raise AssertionError("64 attempts")


def test_counts_are_those_of_the_paper(implementation):
    backend, device = implementation
    means = ramp(device)[:, :, :6]
    with use_backend(backend):
        counts = poisson(means, 12, stream=9, origin=(4, 6), plane=11)
    for at in torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(6), torch.arange(0, 53, 2)).tolist():
        b, c, i, j = at

        def words(attempt, source, at=at):
            b, c, i, j = at
            return word(12, 9, 11 + 3 * b + c, i + 4, j + 6, attempt, source)

        assert counts[b, c, i, j].item() == by_hoermann(means[b, c, i, j].item(), words), (at, means[b, c, i, j])


def test_the_tail_is_decided_in_double_precision(implementation):
    """A pixel whose word is 382, 1 - 9e-8 of the distribution: float32 goes wrong at each of these means."""
    backend, device = implementation
    means = torch.tensor([0.125, 0.5, 1.0, 3.0, 5.0, 7.0, 9.0])
    assert word(5, 0, 0, 0, 312708, 0, 1) == 382
    seeds = torch.full((7,), 5, device=device)
    with use_backend(backend):
        counts = poisson(means.reshape(7, 1, 1, 1).to(device), seeds, origin=(0, 312708))
    assert counts.flatten().tolist() == stats.poisson(means.double()).ppf(1 - 382.5 / 2**32).tolist()


def test_a_million_counts_are_the_reference_s():
    generator = torch.Generator().manual_seed(3)
    means = 10 ** (torch.rand(1, 1, 1000, 1000, generator=generator) * 8 - 2)
    with use_backend("reference"):
        wanted = poisson(means, 3)
    assert torch.equal(poisson(means, 3), wanted)


def draw(op, shape, seed, device, **place):
    if op == "tukey_lambda":
        return tukey_lambda(shape, seed, 0.1, device=device, **place)
    y, x = place.get("origin", (0, 0))
    means = torch.arange(y, y + shape[-2])[:, None] * 1.3 + torch.arange(x, x + shape[-1]).float() * 0.2
    return poisson(means.to(device).expand(shape), seed, **place)


@pytest.mark.parametrize("op", OPS)
def test_a_tile_is_a_part_of_the_whole(implementation, op):
    backend, device = implementation
    with use_backend(backend):
        planes = (1, 1) if testing.interpreted(backend) else (2, 3)
        whole = draw(op, (*planes, 37, 531), 9, device, stream=4)
        for y, x, height, width in ((0, 0, 37, 531), (11, 13, 20, 21), (36, 530, 1, 1), (5, 4, 7, 3), (0, 1, 2, 520)):
            tile = draw(op, (*planes, height, width), 9, device, stream=4, origin=(y, x))
            assert torch.equal(tile, whole[..., y : y + height, x : x + width])


@pytest.mark.parametrize("op", OPS)
def test_batch_does_not_matter(implementation, op):
    backend, device = implementation
    seeds = torch.tensor([5, -9, 2**62], device=device)
    with use_backend(backend):
        whole, own = draw(op, (3, 2, 7, 10), 5, device), draw(op, (3, 2, 7, 10), seeds, device)
        for b, seed in enumerate(seeds.tolist()):
            assert torch.equal(draw(op, (1, 2, 7, 10), 5, device, plane=2 * b)[0], whole[b])
            assert torch.equal(draw(op, (1, 2, 7, 10), seed, device)[0], own[b])
            assert torch.equal(draw(op, (2, 7, 10), seed, device), own[b])


def test_other_shapes_are_one_row(implementation):
    backend, device = implementation
    means = ramp(device).flatten()[:60]
    with use_backend(backend):
        row = poisson(means, 8, stream=2)
        assert torch.equal(poisson(means.reshape(5, 12), 8, stream=2).flatten(), row)
        assert torch.equal(poisson(means[20:], 8, stream=2, origin=(0, 20)), row[20:])
        assert poisson(means[0], 8, stream=2) == row[0]


@pytest.mark.parametrize("op", OPS)
def test_threads_do_not_matter(implementation, op):
    backend, device = implementation
    before = torch.get_num_threads()
    try:
        with use_backend(backend):
            torch.set_num_threads(1)
            alone = draw(op, (1, 3, 300, 100), 1, device)
            torch.set_num_threads(5)
            assert torch.equal(draw(op, (1, 3, 300, 100), 1, device), alone)
    finally:
        torch.set_num_threads(before)


def test_kinds_of_noise_do_not_share_words():
    """Counts, Tukey-lambda noise and normals of one seed and stream are uncorrelated, in value and in square."""
    shape = (1, 1, 1000, 1000)
    for mean in (5.0, 50.0):
        kinds = (poisson(torch.full(shape, mean), 1) - mean, tukey_lambda(shape, 1, 0.1), normal(shape, 1))
        for power in (1, 2):
            correlation = torch.corrcoef(torch.stack([x.flatten().double().pow(power) for x in kinds]))
            assert (correlation - torch.eye(3)).abs().max() < SIGMAS / 1000
    # and the measure sees what it should: below and above 10 the same words serve
    both = torch.stack([poisson(torch.full(shape, mean), 1).flatten().double() for mean in (5.0, 50.0)])
    assert torch.corrcoef(both)[0, 1].abs() > 0.5


@pytest.mark.parametrize("lam", [0.0, 0.14, -0.2, 1.0, 3.0, 1e-9, -1.5])
def test_law_of_tukey_lambda(lam):
    values = tukey_lambda((1, 1, 1000, 1000), 2, lam).double().flatten()
    assert stats.kstest(values.numpy(), stats.tukeylambda(lam).cdf).pvalue > LEAST
    with use_backend("reference"):
        wide = tukey_lambda((40,), 2, lam, dtype=torch.float64)
    u = torch.tensor([((word(2, 0, 0, 0, x, 0, 7) >> 9) + 0.5) / 2**23 for x in range(40)], dtype=torch.float64)
    expected = torch.from_numpy(stats.tukeylambda(lam).ppf(u.numpy()))
    torch.testing.assert_close(wide, expected, rtol=1e-6, atol=1e-6)


def test_tukey_lambda_is_smooth_through_zero():
    at_zero = tukey_lambda((4000,), 1, 0.0)
    for lam in (1e-8, -1e-8, 1e-30, -1e-300):
        torch.testing.assert_close(tukey_lambda((4000,), 1, lam), at_zero, rtol=1e-6, atol=2e-6)


def test_dtypes_round(implementation):
    backend, device = implementation
    means = ramp(device)[:1].clamp(max=2000)
    with use_backend(backend):
        for dtype in DTYPES:
            given = means.to(dtype)
            assert torch.equal(poisson(given, 6), poisson(given.float(), 6).to(dtype))


def test_gradient_is_straight_through(implementation):
    backend, device = implementation
    means = ramp(device).requires_grad_()
    weight = torch.linspace(-1, 1, means.numel(), device=device).reshape(means.shape)
    with use_backend(backend):
        (poisson(means, 1) * weight).sum().backward()
    assert torch.equal(means.grad, weight)


def test_wrong_means(implementation):
    backend, device = implementation
    for wrong in (-1.0, math.nan, math.inf, 1.1e7):
        means = torch.tensor([5.0, wrong, 50.0], device=device)
        with use_backend(backend):
            if device == "cpu":
                with pytest.raises(ValueError, match=r"poisson: mean must be in \[0, 1e7\], got 1 values"):
                    poisson(means, 1)
            else:
                assert poisson(means, 1).isnan().tolist() == [False, True, False]
    with use_backend(backend):
        assert (poisson(torch.tensor([0.0, -0.0, 1e-40], device=device), 1) == 0).all()


@pytest.mark.parametrize("op", OPS)
def test_opcheck(implementation, op):
    backend, device = implementation
    seeds = torch.tensor([3], device=device)
    with use_backend(backend):
        if op == "poisson":
            means = ramp(device)[:, :, :4].clone().requires_grad_()
            torch.library.opcheck(torch.ops.lowlight_ext.poisson.default, (means, seeds, 1, 2, 3, 0))
        else:
            arguments = ([2, 3, 4, 5], seeds, 1, 2, 3, 0, 0.1, torch.float32, torch.device(device))
            torch.library.opcheck(torch.ops.lowlight_ext.tukey_lambda.default, arguments)


def test_compiles_whole(implementation):
    backend, device = implementation

    def both(x):
        return poisson(x * 3, 5, stream=2) + tukey_lambda(x.shape, 5, 0.1, device=x.device)

    x = ramp(device)[:, :, :4].clone().requires_grad_()
    with use_backend(backend):
        result = torch.compile(both, fullgraph=True, backend="aot_eager")(x)
        assert torch.equal(result, both(x))
        assert torch.equal(torch.autograd.grad(result.sum(), x)[0], torch.full_like(x, 3.0))


def test_empty(implementation):
    backend, device = implementation
    with use_backend(backend):
        for shape in ((0, 3, 4, 4), (2, 3, 0, 4), (0,), (2, 3, 4, 0)):
            assert poisson(torch.zeros(shape, device=device), 1).shape == shape
            assert tukey_lambda(shape, 1, 0.1, device=device).shape == shape


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: poisson([1.0], 1), TypeError, "poisson: mean must be a tensor, got list"),
        (lambda: poisson(torch.ones(2, dtype=torch.int64), 1), ValueError, "mean must be float32, .* got torch.int64"),
        (lambda: poisson(torch.ones(2), 1.5), TypeError, "poisson: seed must be an int or an int64 tensor, got float"),
        (lambda: poisson(torch.ones(3, 1, 2, 2), torch.arange(2)), ValueError, r"one seed a sample .* got \(2,\)"),
        (lambda: poisson(torch.ones(2), 1, stream=2**16), ValueError, r"stream must be in \[0, 65536\), got 65536"),
        (lambda: poisson(torch.ones(2), 1, origin=(-1, 0)), ValueError, r"origin .* got \(-1, 0\)"),
        (lambda: poisson(torch.ones(2).to_sparse(), 1), ValueError, "mean must be a dense"),
        (lambda: tukey_lambda((2, 2), 1, 6.0), ValueError, r"tukey_lambda: lam must be in \[-5, 5\], got 6.0"),
        (lambda: tukey_lambda((2, 2), 1, math.nan), ValueError, "lam must be in .* got nan"),
        (lambda: tukey_lambda((2, 2), 1, 0.1, dtype=torch.int32), ValueError, "dtype must be float32"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
