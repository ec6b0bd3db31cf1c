"""Noise: known answers of Philox, what it is and is not a function of, and its quality on ten million draws."""

import pytest
import torch
from scipy import stats

import lowlight_ext
from lowlight_ext import kernels_compiled, normal, philox, uniform, use_backend
from lowlight_ext.checks import DTYPES
from lowlight_ext.common import Source

OPERATOR = "normal"
OPS = ("normal", "uniform")
DRAWS = 10_000_000
CPU = torch.device("cpu")
# sigmas of the estimates below: with seeds fixed a failure is a defect, never luck
SIGMAS = 4.5


@pytest.fixture(scope="module", params=OPS)
def many(request):
    """Ten million draws in one picture, and the distribution they should have."""
    values = getattr(lowlight_ext, request.param)((1, 1, 2500, 4000), 20231, stream=5).double().flatten()
    return values, torch.special.ndtr(values) if request.param == "normal" else values


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_known_answers_of_random123(implementation, counter, key, words):
    backend, device = implementation
    with use_backend(backend):
        result = philox(torch.tensor(counter, device=device), torch.tensor(key, device=device))
    assert tuple(result.tolist()) == words


def words_at(seed, stream, plane, y, x):
    counter = torch.tensor([x // 4, y, plane, stream])
    return philox(counter, torch.tensor([seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF])).tolist()


@pytest.mark.parametrize("seed", [0, -1, 2**63 + 12345, 0x123456789ABCDEF])
def test_a_pixel_is_its_word(implementation, seed):
    """The definition, one pixel at a time: counter, word, uniform, Box-Muller in float64."""
    backend, device = implementation
    with use_backend(backend):
        u = uniform((2, 3, 5, 9), seed, stream=77, origin=(4, 6), plane=11, device=device).cpu()
        z = normal((2, 3, 5, 9), seed, stream=77, origin=(4, 6), plane=11, device=device).cpu()
    for b, c, i, j in ((0, 0, 0, 0), (1, 2, 4, 8), (0, 1, 3, 2), (1, 0, 2, 5)):
        y, x = i + 4, j + 6
        four = [((w >> 9) + 0.5) / 2**23 for w in words_at(seed, 77, 11 + 3 * b + c, y, x)]
        assert u[b, c, i, j].item() == four[x % 4]
        radius, angle = torch.tensor(four, dtype=torch.float64)[2 * (x % 4 // 2) :][:2]
        turn = (2 * torch.pi * angle).sin() if x % 2 else (2 * torch.pi * angle).cos()
        expected = (-2 * radius.log()).sqrt() * turn
        assert z[b, c, i, j].item() == pytest.approx(expected.item(), rel=5e-7)


def test_normals_are_within_four_ulp():
    """On a million draws, in units in the last place of the reference's value."""
    with use_backend("reference"):
        wanted = normal((1, 1, 1000, 1000), 3)
    spacing = torch.nextafter(wanted.abs(), torch.tensor(torch.inf)) - wanted.abs()
    distance = (normal((1, 1, 1000, 1000), 3) - wanted).abs() / spacing
    assert distance.max() <= 4


@pytest.mark.parametrize("op", OPS)
def test_a_tile_is_a_part_of_the_whole(implementation, op):
    backend, device = implementation
    draw = getattr(lowlight_ext, op)
    with use_backend(backend):
        whole = draw((2, 3, 37, 53), 9, stream=4, device=device)
        for y, x, height, width in ((0, 0, 37, 53), (11, 13, 20, 21), (36, 52, 1, 1), (5, 4, 7, 3), (0, 1, 2, 50)):
            tile = draw((2, 3, height, width), 9, stream=4, origin=(y, x), device=device)
            assert torch.equal(tile, whole[..., y : y + height, x : x + width])


@pytest.mark.parametrize("op", OPS)
def test_batch_does_not_matter(implementation, op):
    backend, device = implementation
    draw = getattr(lowlight_ext, op)
    seeds = torch.tensor([5, -9, 2**62], device=device)
    with use_backend(backend):
        whole = draw((3, 2, 7, 10), 5, device=device)
        own = draw((3, 2, 7, 10), seeds, device=device)
        vectors = draw((3, 11), seeds, device=device)
        for b, seed in enumerate(seeds.tolist()):
            assert torch.equal(draw((1, 2, 7, 10), 5, plane=2 * b, device=device)[0], whole[b])
            assert torch.equal(draw((1, 2, 7, 10), seed, device=device)[0], own[b])
            assert torch.equal(draw((2, 7, 10), seed, device=device), own[b])
            assert torch.equal(draw((11,), seed, device=device), vectors[b])


def test_other_shapes_are_one_row(implementation):
    backend, device = implementation
    with use_backend(backend):
        row = normal((60,), 8, stream=2, device=device)
        assert torch.equal(normal((1, 1, 1, 60), 8, stream=2, device=device).flatten(), row)
        assert torch.equal(normal((5, 12), 8, stream=2, device=device).flatten(), row)
        assert torch.equal(normal((2, 3, 1, 2, 5), 8, stream=2, device=device).flatten(), row)
        assert torch.equal(normal((40,), 8, stream=2, origin=(0, 20), device=device), row[20:])
        assert normal((), 8, stream=2, device=device) == row[0]


@pytest.mark.parametrize("op", OPS)
def test_threads_do_not_matter(implementation, op):
    backend, device = implementation
    draw = getattr(lowlight_ext, op)
    before = torch.get_num_threads()
    try:
        with use_backend(backend):
            torch.set_num_threads(1)
            alone = draw((1, 3, 300, 400), 1, device=device)
            torch.set_num_threads(5)
            assert torch.equal(draw((1, 3, 300, 400), 1, device=device), alone)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("op", OPS)
def test_dtype_rounds_the_float32_value(implementation, op):
    backend, device = implementation
    draw = getattr(lowlight_ext, op)
    with use_backend(backend):
        value = draw((1, 2, 30, 41), 6, device=device)
        for dtype in DTYPES:
            assert torch.equal(draw((1, 2, 30, 41), 6, dtype=dtype, device=device), value.to(dtype))


@pytest.mark.parametrize(
    "changed", [{"seed": 4}, {"seed": 3 + 2**32}, {"stream": 1}, {"plane": 1}, {"origin": (1, 0)}, {"origin": (0, 4)}]
)
def test_everything_else_does_matter(implementation, changed):
    backend, device = implementation
    with use_backend(backend):
        base = uniform((1, 1, 8, 40), seed=3, device=device)
        other = uniform((1, 1, 8, 40), **{"seed": 3, "device": device, **changed})
    assert (base == other).sum() <= 1


def test_moments(many):
    values, probabilities = many
    n = values.numel()
    if values is probabilities:
        centred = values - 0.5
        assert abs(centred.mean()) < SIGMAS * (1 / 12 / n) ** 0.5
        assert abs(centred.square().mean() - 1 / 12) < SIGMAS * (1 / 180 / n) ** 0.5
        assert abs(centred.pow(3).mean()) < SIGMAS * (1 / 448 / n) ** 0.5
        assert values.min() > 0
        assert values.max() < 1
        return
    # variances of the k-th powers of a standard normal: 1, 2, 15, 96
    assert abs(values.mean()) < SIGMAS * (1 / n) ** 0.5
    assert abs(values.square().mean() - 1) < SIGMAS * (2 / n) ** 0.5
    assert abs(values.pow(3).mean()) < SIGMAS * (15 / n) ** 0.5
    assert abs(values.pow(4).mean() - 3) < SIGMAS * (96 / n) ** 0.5
    # the largest of ten million lies between 4.9 and 5.8, the end of what 24 bits give
    assert 4.9 < values.abs().max() < 5.8


def test_kolmogorov_smirnov(many):
    _, probabilities = many
    ordered = probabilities.sort().values
    n = ordered.numel()
    grid = torch.arange(n, dtype=torch.float64) / n
    distance = torch.maximum((ordered - grid).max(), (grid + 1 / n - ordered).max()).item()
    assert stats.kstwobign.sf(distance * n**0.5) > 1e-3


def test_equal_shares(many):
    _, probabilities = many
    counts = torch.bincount((probabilities * 1000).long(), minlength=1000)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3
    # pairs of neighbours fill the unit square evenly
    pairs = (probabilities.reshape(-1, 2) * 32).long()
    counts = torch.bincount(pairs[:, 0] * 32 + pairs[:, 1], minlength=1024)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def correlation(a, b):
    return torch.corrcoef(torch.stack((a.flatten(), b.flatten())))[0, 1].item()


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("op", OPS)
def test_independence(op, power):
    """Streams, planes, rows, columns and seeds are uncorrelated, in value and in square."""
    draw = getattr(lowlight_ext, op)
    centre = 0.5 if op == "uniform" else 0.0

    def field(seed, **place):
        return (draw((1, 1, 1000, 1000), seed, **place)[0, 0].double() - centre).pow(power)

    base = field(1)
    bound = SIGMAS / base.numel() ** 0.5
    others = (field(2), field(1 + 2**32), field(1, stream=1), field(1, plane=1), field(1, stream=1, plane=1))
    for other in others:
        assert abs(correlation(base, other)) < bound
    for lag in (1, 2, 3, 4, 8):
        assert abs(correlation(base[lag:], base[:-lag])) < 1.01 * bound
        assert abs(correlation(base[:, lag:], base[:, :-lag])) < 1.01 * bound
    # and the measure sees what it should: a copy, moved by one
    assert correlation(base[1:], field(1, origin=(1, 0))[:-1]) > 0.999


@pytest.mark.parametrize("op", OPS)
def test_opcheck(implementation, op):
    backend, device = implementation
    seeds = torch.tensor([3], device=device)
    with use_backend(backend):
        for dtype in (torch.float32, torch.float16):
            arguments = ([2, 3, 4, 5], seeds, 1, 2, 3, 0, dtype, torch.device(device))
            torch.library.opcheck(getattr(torch.ops.lowlight_ext, op).default, arguments)
        words = torch.arange(12, device=device).reshape(2, 6)
        torch.library.opcheck(torch.ops.lowlight_ext.philox.default, (words[:, :4], words[:, 4:]))


def test_compiles_whole_for_any_stream_and_seed(implementation):
    backend, device = implementation

    def draw(x, seed, stream):
        return x + normal(x.shape, seed, stream=stream, device=x.device)

    compiled = torch.compile(draw, fullgraph=True, backend="aot_eager")
    x = torch.zeros(1, 3, 4, 6, device=device)
    # its name before torch 2.7
    limit = "recompile_limit" if hasattr(torch._dynamo.config, "recompile_limit") else "cache_size_limit"
    with use_backend(backend), torch._dynamo.config.patch({"error_on_recompile": False, limit: 4}):
        for stream in range(8):
            assert torch.equal(compiled(x, 5 - stream, stream), draw(x, 5 - stream, stream))


def test_empty(implementation):
    backend, device = implementation
    with use_backend(backend):
        for shape in ((0, 3, 4, 4), (2, 3, 0, 4), (0,), (2, 3, 4, 0)):
            assert normal(shape, 1, device=device).shape == shape
        assert normal((0, 3, 4, 4), torch.zeros(0, dtype=torch.int64), device=device).shape == (0, 3, 4, 4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: normal((2, 2), 1.5), TypeError, "normal: seed must be an int or an int64 tensor, got float"),
        (lambda: uniform((2, 2), True), TypeError, "uniform: seed .* got bool"),
        (lambda: normal((2, 1, 2, 2), torch.zeros(2)), ValueError, "seed .* got torch.float32"),
        (lambda: normal((3, 1, 2, 2), torch.arange(2)), ValueError, r"one seed a sample .* got \(2,\)"),
        (lambda: normal((3, 2, 2), torch.arange(3)), ValueError, r"seed .* got \(3,\)"),
        # the kernels' own door, which checks nothing else, must not read beyond the seeds
        (
            lambda: kernels_compiled.normal((3, 1, 2, 2), Source(torch.arange(2)), torch.float32, CPU),
            ValueError,
            "seeds: takes 1 or 3, one a sample, got 2",
        ),
        (lambda: normal((2, 2), 1, stream=2**16), ValueError, r"stream must be in \[0, 65536\), got 65536"),
        (lambda: normal((2, 2), 1, stream=-1), ValueError, "stream"),
        (lambda: normal((2, 2), 1, origin=(-1, 0)), ValueError, r"origin .* got \(-1, 0\)"),
        (lambda: normal((2, 2), 1, origin=(0, 2**34)), ValueError, "origin"),
        (lambda: normal((2, 2), 1, plane=2**32), ValueError, "plane"),
        (lambda: normal((-1, 2, 2, 2), 1), ValueError, "shape"),
        (lambda: normal((2, 2), 1, dtype=torch.int32), ValueError, "dtype must be float32, .* got torch.int32"),
        (lambda: philox([0] * 4, [0] * 2), TypeError, "philox: counter must be a tensor, got list"),
        (lambda: philox(torch.zeros(4), torch.zeros(2)), ValueError, "counter must be int64"),
        (lambda: philox(torch.arange(3), torch.arange(2)), ValueError, r"counter must be of shape \[..., 4\]"),
        (lambda: philox(torch.arange(4), torch.arange(4)), ValueError, r"key must be of shape \[..., 2\]"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
