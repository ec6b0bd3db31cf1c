"""Noise of a raw sensor and the exposure step: the published chains, their statistics, gradients and errors."""

import pytest
import torch

from lowlight_ext import (
    RawNoiseParameters,
    exposure_step,
    philox,
    poisson,
    raw_noise,
    testing,
    tukey_lambda,
    use_backend,
)

OPERATOR = "exposure_step"
OPS = ("raw_noise", "exposure_step")
S = 15583.0
SIGMAS = 4.5
# K, ratio and scales of an ordinary draw of SonyA7S2's
ELD = RawNoiseParameters(0.8, 150.0, "P+G+r+u", G_scale=2.5, G_shape=0.1, R_scale=0.7)


def flat(value, shape=(1, 4, 600, 700)):
    return torch.full(shape, value)


def numbers(noisy, ratio):
    """Back to digital numbers."""
    return noisy.double() * S / ratio


@pytest.mark.parametrize("model", ["g", "P+g", "p+g", "P+G+r+u", "u", "r"])
def test_mean_and_variance(implementation, model):
    """y in digital numbers -> mean y, variance K y (P, p) + 1/12 (u) + scales."""
    backend, device = implementation
    shape = (1, 4, 100, 300) if backend == "reference" else (1, 4, 600, 700)
    shape = (1, 4, 100, 100) if testing.interpreted(backend) else shape
    gain, ratio = 0.8, 150.0
    parameters = RawNoiseParameters(gain, ratio, model, g_scale=3.0, G_scale=2.5, G_shape=0.1, R_scale=0.7)
    with use_backend(backend):
        y = numbers(raw_noise(flat(0.5, shape).to(device), parameters, 3, clip=False), ratio).cpu()
    powers = tukey_lambda((10**6,), 1, 0.1).double().var().item()
    expected = 0.5 * S / ratio
    parts = {"P": gain * expected, "p": gain * expected, "u": 1 / 12, "r": 0.49, "g": 9.0, "G": 6.25 * powers}
    variance = sum(parts[name] for name in model.split("+"))
    # the rows' noise is one a sensor row
    rows = 2 * shape[2]
    error = (0.49 / rows if "r" in model else 0) + (variance + 1e-6) / y.numel()
    assert abs(y.mean() - expected) < SIGMAS * error**0.5
    spread = (2 / rows * 0.49**2 if "r" in model else 0) + 3 * variance**2 / y.numel()
    assert abs(y.var() - variance) < SIGMAS * spread**0.5 + 1e-6


def test_quantisation_lifts_black(implementation):
    backend, device = implementation
    with use_backend(backend):
        black = flat(0.0, (1, 4, 100, 100)).to(device)
        y = numbers(raw_noise(black, RawNoiseParameters(0.8, 150.0, "u"), 1, clip=False), 150.0)
    assert abs(y.mean() - 1 / 8) < SIGMAS * 0.2 / y.numel() ** 0.5
    assert y.min() == 0


def test_rows_are_those_of_the_sensor(implementation):
    backend, device = implementation
    parameters = RawNoiseParameters(1.0, 100.0, "r", R_scale=1.0)
    with use_backend(backend):
        y = numbers(raw_noise(flat(0.5, (2, 4, 30, 40)).to(device), parameters, 9, clip=False), 100.0) - 0.5 * S / 100
        tile = numbers(raw_noise(flat(0.5, (2, 4, 5, 7)).to(device), parameters, 9, clip=False, origin=(11, 6)), 100.0)
    y, tile = y.cpu(), tile.cpu() - 0.5 * S / 100
    assert torch.equal(y, y[..., :1].expand_as(y))
    assert torch.equal(y[:, 0], y[:, 1])
    assert torch.equal(y[:, 2], y[:, 3])
    rows = y[:, ::2, :, 0].flatten()
    assert rows.unique().numel() == rows.numel()
    torch.testing.assert_close(tile, y[:, :, 11:16, 6:13])
    # sensor row 2 * 7 + 1 of sample 1, whose planes begin at 4: the definition
    words = philox(torch.tensor([0, 15, 4, 5 * 2**16]), torch.tensor([9, 0])).double()
    u, v = ((words[:2].long() >> 9) + 0.5).double() / 2**23
    assert y[1, 2, 7, 0].item() == pytest.approx((((-2 * u.log()).sqrt()) * (2 * torch.pi * v).cos()).item(), abs=1e-4)


def test_photons_are_poisson_s(implementation):
    """P alone is K poisson(y / K) of the same seed, stream and place."""
    backend, device = implementation
    clean = torch.rand(2, 4, 9, 31, generator=torch.Generator().manual_seed(1)).to(device)
    place = {"stream": 7, "origin": (3, 2), "plane": 5}
    with use_backend(backend):
        noisy = raw_noise(clean, RawNoiseParameters(0.5, 40.0, "P"), 11, clip=False, **place)
        counts = poisson(clean * torch.tensor(S / 40, device=device) * 2, 11, **place)
        torch.testing.assert_close(noisy, counts * (0.5 * 40 / S))
        out = exposure_step(clean, clean * 0, 40.0, 41.0, 0.5, 11, **place)
        torch.testing.assert_close(
            out, poisson(clean * torch.tensor(S * 2.0, device=device), 11, **place) * (20 / S / 41)
        )


def test_clip_and_dark_values(implementation):
    backend, device = implementation
    clean = torch.tensor([-0.5, 0.0, 1.0, 2.0], device=device).reshape(1, 4, 1, 1).expand(1, 4, 20, 20)
    parameters = RawNoiseParameters(0.5, 100.0, "P+g", g_scale=4.0)
    with use_backend(backend):
        noisy, raw = (raw_noise(clean, parameters, 1, clip=clip) for clip in (True, False))
    assert torch.equal(noisy, raw.clamp(0, 1))
    assert raw.min() < 0
    assert raw.max() > 1
    # less than nothing has no photons: read noise alone
    assert torch.equal(raw[:, 0].sign().unique(), torch.tensor([-1.0, 1.0], device=device))


def by_the_book(output, original, ratio, after, gain, count):
    """The published iteration, word for word, in float64."""

    def photons(x, r):
        return x / r / gain * S

    m = photons(output.double().clamp(0, 1), ratio / (after - 1) if after > 1 else torch.inf)
    n = m if count is None else count.double()
    return m, (photons(original.double().clamp(0, 1), ratio) + n) / after * ratio * gain / S


def test_the_step_is_the_published_one(implementation):
    backend, device = implementation
    generator = torch.Generator().manual_seed(2)
    output, original = (torch.rand(2, 4, 12, 17, generator=generator).to(device) * 1.4 - 0.2 for _ in range(2))
    for ratio, after, gain in ((100.0, 34.0, 0.8), (250.0, 250.0, 0.15), (1.0, 1.0, 5.0)):
        with use_backend(backend):
            quiet = exposure_step(output, original, ratio, after, gain, None)
            noisy = exposure_step(output, original, ratio, after, gain, 5, stream=3)
            m, expected = by_the_book(output, original, ratio, after, gain, None)
            torch.testing.assert_close(quiet.double(), expected, rtol=1e-6, atol=1e-6)
            counts = poisson(m.float(), 5, stream=3)
            given = exposure_step(output, original, ratio, after, gain, None, counts=counts)
        _, expected = by_the_book(output, original, ratio, after, gain, counts)
        torch.testing.assert_close(given.double(), expected, rtol=1e-6, atol=1e-6)
        # a mean that differs in its last bit may give a neighbouring count
        assert ((noisy - given).abs() > 1e-6).sum() <= 2


def test_one_value_a_sample(implementation):
    backend, device = implementation
    generator = torch.Generator().manual_seed(2)
    output, original = (torch.rand(3, 4, 6, 10, generator=generator).to(device) for _ in range(2))
    ratios, gains, seeds = (
        torch.tensor([100.0, 200.0, 50.0]),
        torch.tensor([0.2, 3.0, 1.0]),
        torch.tensor([5, 6, 2**40]),
    )
    with use_backend(backend):
        steps = exposure_step(output, original, ratios, 20.0, gains, seeds.to(device))
        noisy = raw_noise(
            output, RawNoiseParameters(gains, ratios, "P+G+r+u", G_scale=1.0, R_scale=ratios / 100), seeds
        )
        for b in range(3):
            alone = exposure_step(output[b], original[b], ratios[b].item(), 20.0, gains[b].item(), int(seeds[b]))
            assert torch.equal(alone, steps[b])
            own = RawNoiseParameters(gains[b], ratios[b], "P+G+r+u", G_scale=1.0, R_scale=ratios[b] / 100)
            assert torch.equal(raw_noise(output[b], own, int(seeds[b])), noisy[b])


def call(op, x, device, **place):
    if op == "raw_noise":
        return raw_noise(x, ELD, 4, **place)
    return exposure_step(x, x * 0.7, 100.0, 30.0, 0.8, 4, **place)


@pytest.mark.parametrize("op", OPS)
def test_a_tile_is_a_part_of_the_whole(implementation, op):
    backend, device = implementation
    x = torch.rand(2, 4, 21, 533, generator=torch.Generator().manual_seed(3)).pow(3).to(device)
    with use_backend(backend):
        whole = call(op, x, device, stream=4)
        for i, j, height, width in ((0, 0, 21, 533), (3, 13, 10, 21), (20, 532, 1, 1), (0, 1, 2, 520)):
            tile = call(op, x[..., i : i + height, j : j + width], device, stream=4, origin=(i, j))
            assert torch.equal(tile, whole[..., i : i + height, j : j + width])
        assert torch.equal(call(op, x[1:], device, stream=4, plane=4), whole[1:])


@pytest.mark.parametrize("op", OPS)
def test_threads_do_not_matter(implementation, op):
    backend, device = implementation
    x = torch.rand(1, 4, 100, 200, generator=torch.Generator().manual_seed(3)).to(device)
    before = torch.get_num_threads()
    try:
        with use_backend(backend):
            torch.set_num_threads(1)
            alone = call(op, x, device)
            torch.set_num_threads(5)
            assert torch.equal(call(op, x, device), alone)
    finally:
        torch.set_num_threads(before)


def test_gradients(implementation):
    """Straight through the counts they are those of the step without noise, which gradcheck confirms."""
    backend, device = implementation
    generator = torch.Generator().manual_seed(2)
    pair = [torch.rand(1, 4, 2, 3, dtype=torch.float64, generator=generator).to(device) * 1.6 - 0.3 for _ in range(2)]
    pair = [x.requires_grad_() for x in pair]
    weight = torch.rand(1, 4, 2, 3, dtype=torch.float64, generator=generator).to(device)

    def quiet(output, original):
        return exposure_step(output, original, 100.0, 34.0, 0.8, None)

    with use_backend(backend):
        assert torch.autograd.gradcheck(quiet, pair)
        assert torch.autograd.gradgradcheck(quiet, pair)
        expected = torch.autograd.grad((quiet(*pair) * weight).sum(), pair)
        noisy = exposure_step(*pair, 100.0, 34.0, 0.8, 6)
        for result, wanted in zip(torch.autograd.grad((noisy * weight).sum(), pair), expected, strict=True):
            assert torch.equal(result, wanted)
        on_bounds = torch.tensor([0.0, 1.0, -1e-9, 1 + 1e-9], dtype=torch.float64, device=device).reshape(1, 4, 1, 1)
        on_bounds.requires_grad_()
        exposure_step(on_bounds, on_bounds.detach(), 100.0, 34.0, 0.8, 6).sum().backward()
    assert (on_bounds.grad.flatten() != 0).tolist() == [True, True, False, False]


def test_nan_stays(implementation):
    backend, device = implementation
    x = torch.full((1, 4, 3, 5), 0.4, device=device)
    x[0, 1, 2, 3] = torch.nan
    with use_backend(backend):
        for out in (call("raw_noise", x, device), call("exposure_step", x, device)):
            assert torch.equal(out.isnan(), x.isnan())


@pytest.mark.parametrize("op", [*OPS, "exposure_step_backward"])
def test_opcheck(implementation, op):
    backend, device = implementation
    x = torch.rand(2, 4, 3, 5, device=device)
    seeds, place = torch.tensor([3], device=device), (1, 2, 3, 0)
    rows = torch.tensor([[50.0, 60.0, 0.001]], dtype=torch.float64, device=device)
    if op == "raw_noise":
        arguments = (x, ELD.rows(2, x.device), ELD.parts(), S, True, seeds, *place)
    elif op == "exposure_step":
        arguments = (x.requires_grad_(), x.detach().requires_grad_(), rows, None, seeds, *place)
    else:
        arguments = (x, x, x, rows, [True, False])
    with use_backend(backend):
        torch.library.opcheck(getattr(torch.ops.lowlight_ext, op).default, arguments)


def test_compiles_whole(implementation):
    backend, device = implementation

    def walk(x, clean):
        noisy = raw_noise(clean, ELD, 3)
        return exposure_step(x, noisy, 100.0, 34.0, 0.8, 5, stream=1)

    x, clean = (torch.rand(2, 4, 6, 8, device=device) for _ in range(2))
    x.requires_grad_()
    with use_backend(backend):
        result = torch.compile(walk, fullgraph=True, backend="aot_eager")(x, clean)
        assert torch.equal(result, walk(x, clean))
        torch.testing.assert_close(torch.autograd.grad(result.sum(), x), torch.autograd.grad(walk(x, clean).sum(), x))


def test_empty_batch(implementation):
    backend, device = implementation
    x = torch.zeros(0, 4, 4, 6, device=device, requires_grad=True)
    with use_backend(backend):
        assert raw_noise(x.detach(), ELD, 1).shape == x.shape
        exposure_step(x, x, 100.0, 30.0, 0.8, 1).sum().backward()
    assert x.grad.shape == x.shape


def test_autocast_takes_the_widest():
    x = torch.rand(1, 4, 3, 5)
    with torch.autocast("cpu", torch.bfloat16):
        out = exposure_step(x.bfloat16(), x, 100.0, 30.0, 0.8, 1)
    assert torch.equal(out, exposure_step(x.bfloat16().float(), x, 100.0, 30.0, 0.8, 1))


X = torch.zeros(2, 4, 4, 6)


def raw(x=X, **changed):
    return lambda: raw_noise(x, RawNoiseParameters(**{"K": 1.0, "ratio": 100.0, **changed}), 1)


def step(*arguments, **keywords):
    values = [X, X, 100.0, 30.0, 0.8, 1]
    values[: len(arguments)] = arguments
    return lambda: exposure_step(*values, **keywords)


@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (lambda: raw_noise(X, {"K": 1.0}, 1), TypeError, "parameters must be RawNoiseParameters, got dict"),
        (lambda: raw_noise(X.numpy(), ELD, 1), TypeError, "raw_noise: clean must be a tensor, got ndarray"),
        (lambda: raw_noise(X, ELD, None), TypeError, "seed must be an int or an int64 tensor, got NoneType"),
        (lambda: raw_noise(X, ELD, 1, stream=2**16), ValueError, "stream"),
        (lambda: raw_noise(X, ELD, 1, origin=(2**31, 0)), ValueError, "origin"),
        (lambda: raw_noise(X, ELD, torch.arange(3)), ValueError, r"seed .* got \(3,\)"),
        (lambda: raw_noise(X.clone().requires_grad_(), ELD, 1), ValueError, "clean must not require a gradient"),
        (raw(X[:, :3]), ValueError, r"packed raw of 4 channels .* got \(2, 3, 4, 6\)"),
        (raw(X[0, 0]), ValueError, r"clean must be of shape \[B, C, H, W\], got \(4, 6\)"),
        (raw(X.int()), ValueError, "clean must be float32"),
        (raw(model="P+p"), ValueError, "model must be parts of .* got 'P\\+p'"),
        (raw(model="P+g+g"), ValueError, "model"),
        (raw(model="P+x"), ValueError, "model"),
        (raw(model=""), ValueError, "model"),
        (raw(K=0.0), ValueError, r"raw_noise: K must be in \[1e-06, 1e\+06\], got \[0.0\]"),
        (raw(K=float("nan")), ValueError, "parameters must be finite"),
        (raw(K=torch.ones(3)), ValueError, r"K must be a number or a tensor of shape \(2,\), got \(3,\)"),
        (raw(K=torch.ones(2, requires_grad=True)), ValueError, "K must not require a gradient"),
        (raw(ratio=-1.0), ValueError, "ratio must be in"),
        (raw(g_scale=-1.0), ValueError, "g_scale, G_scale must be in"),
        (raw(R_scale=-1.0), ValueError, "R_scale must be in"),
        (raw(G_shape=7.0), ValueError, r"G_shape must be in \[-5, 5\]"),
        (raw(saturation=0.0), ValueError, "saturation must be finite and above 0, got 0.0"),
        (raw(K=1e-5), ValueError, "white is at most 1e\\+07 photons, got"),
        (step([1.0]), TypeError, "exposure_step: output must be a tensor, got list"),
        (step(X, None), TypeError, "original must be a tensor, got NoneType"),
        (step(X, X[:1]), ValueError, r"original must be of output's shape \(2, 4, 4, 6\), got \(1, 4, 4, 6\)"),
        (step(X, X.double()), ValueError, "original must be of output's dtype"),
        (step(X, X, 0.0), ValueError, "ratio, K and saturation above 0"),
        (step(X, X, 100.0, 0.5), ValueError, "ratio_next at least 1"),
        (step(X, X, 100.0, 30.0, float("nan")), ValueError, "K and saturation must be finite"),
        (step(X, X, torch.ones(3)), ValueError, r"ratio must be a number or a tensor of shape \(2,\)"),
        (step(X, X, 100.0, 30.0, 0.8, 1, counts=X), ValueError, "takes counts or seed, got both"),
        (step(X, X, 100.0, 30.0, 0.8, None, counts=X[:1]), ValueError, "counts must be of output's shape"),
        (step(X, X, 100.0, 30.0, 0.8, 1.5), TypeError, "seed must be an int"),
        (step(X[0, 0], X[0, 0]), ValueError, "output must be of shape"),
        (
            step(X.clone().requires_grad_(), X, 100.0, 30.0, 0.8, None, counts=X.clone().requires_grad_()),
            ValueError,
            "counts must not require a gradient",
        ),
    ],
)
def test_errors(run, error, message):
    with pytest.raises(error, match=message):
        run()
