"""The CUDA side of the raw-space operators without a GPU: beside test_cuda_host.py, what is theirs alone."""
# ruff: noqa: F811 (fixtures of the other file are imported, and arguments here)

import math

import pytest
import torch
from cuda_host import backends, compiled, host  # noqa: F401
from test_cuda_host import same_bits

from lowlight_ext import (
    RawNoiseParameters,
    checks,
    exposure,
    exposure_step,
    kernels_compiled,
    philox,
    poisson,
    raw_noise,
    tukey_lambda,
    use_backend,
)
from lowlight_ext.checks import DTYPES
from lowlight_ext.common import Source
from lowlight_ext.reference.exposure import PARTS

# whole groups of 8 and of 4, none, one pixel
WIDTHS = (64, 20, 23, 1)
PLACES = ({}, {"stream": 65535, "origin": (2**31 - 9, 2**33 + 3), "plane": 2**31})
MODELS = ("u", "P", "p", "r", "g", "G", "u+P", "P+g", "p+g", "P+G+r+u", "u+p+r+G", "P+r+g")


@pytest.fixture(autouse=True)
def cpp():
    if reason := backends.backends("poisson")["cpp"]:
        pytest.skip(f"cpp: {reason}")


def both(call):
    """The results of the CUDA side on the host and of cpp."""
    results = []
    for name in ("cuda", "cpp"):
        with use_backend(name):
            results.append(call())
    return results


def means(shape, low, high, seed=5):
    """Means spread evenly over the decades from 10^low to 10^high, a tenth of them 0."""
    generator = torch.Generator().manual_seed(seed)
    values = 10 ** (torch.rand(shape, generator=generator, dtype=torch.float64) * (high - low) + low)
    return values.where(torch.rand(shape, generator=generator) > 0.1, 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("place", PLACES)
def test_counts_of_every_mean(host, dtype, width, place):
    """Inversion, its tail, rejection and its retries; groups of one kind, and of both."""
    for low, high in ((-3, 0.99), (0.9, 1.1), (1, 3), (2, 6)):
        x = means((2, 3, 9, width), low, high).to(dtype)
        if dtype == torch.float16:
            x = x.clamp(max=60000)
        for seed in (3, torch.tensor([-1, 2**62])):
            results = both(lambda x=x, seed=seed: poisson(x, seed, **place))
            same_bits(results[:1], results[1:])


def test_the_boundary_between_the_methods(host):
    """Means a bit below, at and above 10, at 0, at the greatest."""
    ten = torch.tensor(10.0)
    edges = [0.0, 1e-45, 1e-30, ten.nextafter(torch.tensor(0.0)).item(), 10.0, ten.nextafter(2 * ten).item(), 1e7]
    x = torch.tensor(edges).repeat(1, 1, 40, 100)
    result, expected = both(lambda: poisson(x, 8))
    same_bits([result], [expected])
    assert (result[..., :1] == 0).all()


def test_many_counts(host):
    """Enough for the rare ways: attempts beyond the fourth, tails, the far part of the deviance."""
    x = means((1, 1, 300, 1024), -2, 6).float()
    result, expected = both(lambda: poisson(x, 77, stream=2))
    same_bits([result], [expected])


def test_the_farthest_tail(host):
    """Where a word is so small that a float32 level is 1 or nearly: pixels picked from eight million."""
    seed, counters = 9, torch.arange(1 << 21)
    place = [torch.full_like(counters, word) for word in (0, 0, 1 << 16)]
    words = philox(torch.stack([counters, *place], -1), torch.tensor([seed, 0]))
    tails = (words < 1 << 13).nonzero().tolist()
    assert len(tails) > 8
    for counter, pixel in tails:
        x = torch.tensor([0.01, 0.9, 4.0, 9.9]).reshape(4, 1, 1, 1).expand(4, 1, 1, 4).contiguous()
        result, expected = both(lambda x=x, at=counter: poisson(x, torch.full((4,), seed), origin=(0, 4 * at)))
        same_bits([result], [expected])
        # and one pixel alone, which is not the first of its counter
        alone = both(lambda x=x, at=4 * counter + pixel: poisson(x[2, 0, :, :1], seed, origin=(0, at)))
        assert alone[0] == alone[1] == result[2, 0, 0, pixel]


def test_one_row_serves_all_samples(host):
    """A table of one row is not read beyond it."""
    x = torch.full((3, 4, 2, 8), 0.5)
    source = Source(torch.tensor([3]))
    noise = torch.tensor([[0.8, 100.0, 2.0, 2.0, 0.1, 1.0], [9.0, 9.0, 9.0, 9.0, 0.9, 9.0]], dtype=torch.float64)
    photons = torch.tensor([[50.0, 60.0, 0.01], [90.0, 90.0, 0.09]], dtype=torch.float64)
    calls = (
        lambda module, rows: module.raw_noise(x, rows(noise), 11, 15583.0, False, source),
        lambda module, rows: module.exposure_step(x, x, rows(photons), None, source),
        lambda module, rows: module.exposure_step(x, x, rows(photons), None, None),
        lambda module, rows: module.exposure_step_backward(x, x, x, rows(photons))[0],
    )
    for call in calls:
        results = [
            result
            for rows in (lambda table: table[:1], lambda table: table[:1].repeat(3, 1))
            for result in both(lambda call=call, rows=rows: call(kernels_compiled, rows))
        ]
        for result in results[1:]:
            same_bits([result], results[:1])


def test_what_is_no_mean_counts_nan(host):
    """Asked below the public function, which refuses such means where they lie on the CPU."""
    x = torch.tensor([5.0, -1.0, math.nan, 50.0, math.inf, 1.1e7, -0.0, 1e7])

    def counts(mean):
        with use_backend("cuda"):
            return kernels_compiled.poisson(mean[None, None, None], Source(torch.tensor([1]))).flatten()

    for width in (8, 7):
        found = counts(x[:width])
        assert found.isnan().tolist() == [False, True, True, False, True, True, False, False][:width]
        # a group of right means is not touched by its neighbours
        assert torch.equal(found[[0, 3]], counts(x[:width].nan_to_num(3).clamp(0, 50))[[0, 3]])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("lam", [0.0, 0.12, -0.3, 5.0])
def test_tukey(host, dtype, width, lam):
    for place in PLACES:
        for seed in (3, torch.tensor([-1, 2**62])):
            results = both(lambda at=place, s=seed: tukey_lambda((2, 3, 5, width), s, lam, dtype=dtype, **at))
            same_bits(results[:1], results[1:])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("model", MODELS)
def test_every_part_of_the_noise(host, model, dtype):
    per_sample = torch.tensor([0.3, 2.0], dtype=torch.float64)
    scales = {"g_scale": per_sample * 3, "G_scale": 2.0, "G_shape": 0.12, "R_scale": per_sample}
    # few photons, some, many: 5 to a million at white
    for gain, ratio in ((8.0, 300.0), (per_sample, 100.0), (0.02, per_sample)):
        parameters = RawNoiseParameters(gain, ratio, model, **scales)
        for width in WIDTHS:
            clean = (torch.rand(2, 4, 6, width, generator=torch.Generator().manual_seed(1)) * 1.2 - 0.1).to(dtype)
            for place, seed, clip in (
                (PLACES[0], 7, True),
                (PLACES[1] | {"origin": (2**30, 6)}, torch.arange(2), False),
            ):
                results = both(
                    lambda c=clean, p=parameters, s=seed, clip=clip, at=place: raw_noise(c, p, s, clip=clip, **at)
                )
                same_bits(results[:1], results[1:])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", WIDTHS)
def test_exposure(host, dtype, width):
    generator = torch.Generator().manual_seed(2)
    output, original = ((torch.rand(2, 4, 6, width, generator=generator) * 1.6 - 0.3).to(dtype) for _ in range(2))
    counts = (output * 40).floor()
    per_sample = torch.tensor([0.5, 30.0], dtype=torch.float64)
    for ratio, after, gain in ((250.0, 30.0, 9.0), (100.0, 34.0, 0.8), (per_sample, 2.0, 1 / per_sample)):
        for place in PLACES:
            for seed, given in ((7, None), (torch.arange(2), None), (None, counts), (None, None)):
                results = both(
                    lambda r=ratio, a=after, g=gain, at=place, s=seed, n=given: exposure_step(
                        output, original, r, a, g, s, counts=n, **at
                    )
                )
                same_bits(results[:1], results[1:])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", WIDTHS)
def test_gradients(host, dtype, width):
    generator = torch.Generator().manual_seed(2)
    values = ((torch.rand(2, 4, 6, width, generator=generator) * 1.6 - 0.3).to(dtype) for _ in range(3))
    grad, output, original = values
    output[0, 0, 0], original[0, 0, 0] = 0, 1
    for rows in (torch.tensor([[50.0, 60.0, 0.001]]), torch.tensor([[50.0, 60.0, 0.001], [9.0, 1.0, 0.1]])):
        for needed in ((True, True), (True, False), (False, True)):
            arguments = (grad, output, original, rows.double(), needed)
            results, expected = both(lambda given=arguments: kernels_compiled.exposure_step_backward(*given))
            assert [r is not None for r in results] == list(needed)
            same_bits([r for r in results if r is not None], [r for r in expected if r is not None])


def edges(low, high):
    """Just within and just beyond a range."""
    bounds = [torch.tensor(bound, dtype=torch.float64) for bound in (low, high)]
    far = torch.tensor([-math.inf, math.inf], dtype=torch.float64)
    outside = [bound.nextafter(beyond).item() for bound, beyond in zip(bounds, far, strict=True)]
    return [low, high, *outside, math.nan]


def test_a_graph_refuses_by_nan_what_the_host_would_refuse(host, monkeypatch):
    """The ranges stand twice, in exposure.py for the host and in the kernels: the same to the last bit."""
    plain, clean, seen = [1.0, 100.0, 1.0, 1.0, 0.1, 1.0], torch.full((1, 4, 2, 8), 0.5), set()
    trials = [
        (column, value, model)
        for model in ("P+G+r", "g")
        for column, bounds in enumerate(((1e-6, 1e6), (1e-3, 1e6), (0.0, 1e6), (0.0, 1e6), (-5.0, 5.0), (0.0, 1e6)))
        for value in edges(*bounds)
    ]
    # the greatest number of photons at white, and one more
    trials += [(0, 15583 / 100 / photons, model) for photons in (1e7 - 1, 1e7 + 1) for model in ("P", "g")]
    for column, value, model in trials:
        rows = torch.tensor([plain, plain], dtype=torch.float64)
        rows[1, column] = value
        parts = sum(PARTS[name] for name in model.split("+"))
        try:
            exposure._check_raw_values(rows, parts, 15583.0)
            refused = False
        except ValueError:
            refused = True
        with use_backend("cuda"), monkeypatch.context() as recording:
            recording.setattr(checks, "readable", lambda value: False)
            place = (torch.tensor([3]), 0, 0, 0, 0)
            out = torch.ops.lowlight_ext.raw_noise(clean.repeat(2, 1, 1, 1), rows, parts, 15583.0, True, *place)
        assert not out[0].isnan().any()
        assert bool(out[1].isnan().all()) == bool(out[1].isnan().any()) == refused, (column, value, model)
        seen.add((column, refused))
    assert len(seen) == 12


def test_a_graph_refuses_photons_by_nan(host, monkeypatch):
    x = torch.full((2, 4, 2, 8), 0.5)
    for column in range(3):
        for value in edges(0.0, 1e7):
            rows = torch.tensor([[5.0, 6.0, 7.0]] * 2, dtype=torch.float64)
            rows[1, column] = value
            refused = not 0 <= value <= 1e7
            for seeds in (torch.tensor([3]), None):
                arguments = (x, x, rows, None, seeds, 0, 0, 0, 0)
                with use_backend("cuda"), monkeypatch.context() as recording:
                    if refused:
                        with pytest.raises(ValueError, match="photons of white at most 1e7"):
                            torch.ops.lowlight_ext.exposure_step(*arguments)
                    recording.setattr(checks, "readable", lambda value: False)
                    out = torch.ops.lowlight_ext.exposure_step(*arguments)
                assert not out[0].isnan().any()
                assert bool(out[1].isnan().all()) == bool(out[1].isnan().any()) == refused, (column, value)
