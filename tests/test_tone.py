"""The tone curve: its formula in NumPy, what it does to black, highlights and hues, gradients, errors.

test_operators.py compares the backends.
"""

import os
import platform
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from lowlight_ext import decompositions, testing, tone_curve, use_backend
from lowlight_ext.checks import DTYPES
from lowlight_ext.kernels_compiled.call import missing

OPERATOR = "tone_curve"


def numbers(*shape, low=0.0, high=1.0, seed=0):
    return low + (high - low) * torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def arguments(batch=2, size=(3, 5), dtype=torch.float64, device="cpu", bright=1.0):
    """x, gamma, scale and knee, with values on both sides of the knee."""
    values = (
        numbers(batch, 3, *size) ** 2,
        numbers(batch, 3, low=0.3, high=1.5, seed=1),
        bright * numbers(batch, 3, low=0.9, high=1.6, seed=2),
        numbers(batch, 1, low=0.6, high=0.9, seed=3),
    )
    return [v.to(device, dtype) for v in values]


def same(x, **changed):
    """The curve that is none but for what `changed` says: gamma, scale, knee as numbers."""
    values = {"gamma": (1.0, 3), "scale": (1.0, 3), "knee": (1.0, 1)}
    rows = (x.new_full((x.shape[0], n), changed.pop(name, value)) for name, (value, n) in values.items())
    return tone_curve(x, *rows, **changed)


def in_numpy(x, gamma, scale, knee, f=1 / 255, share=0.6):
    """The formula as it is written down, pixel by pixel."""
    x, gamma, scale, knee = (v.double().cpu().numpy() for v in (x, gamma, scale, knee))
    out = np.empty_like(x)
    for b, y, z in np.ndindex(x.shape[0], *x.shape[2:]):
        v = scale[b] * ((x[b, :, y, z] + f) ** gamma[b] - f ** gamma[b]) / ((1 + f) ** gamma[b] - f ** gamma[b])
        width = max(1 - knee[b, 0], 1e-4)
        rolled = [1 - width * np.exp((knee[b, 0] - w) / width) if w > knee[b, 0] else w for w in (*v, v.max())]
        together = rolled[3] / v.max() if v.max() > 1e-6 else 1
        out[b, :, y, z] = (1 - share) * np.array(rolled[:3]) + share * v * together
    return out


@pytest.mark.parametrize("changed", [{}, {"floor": 0.03}, {"share": 0.0}, {"share": 1.0, "floor": 2.0}])
@pytest.mark.parametrize("bright", [0.3, 1.0, 5.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_formula(implementation, dtype, bright, changed):
    backend, device = implementation
    given = arguments(dtype=dtype, device=device, bright=bright)
    with use_backend(backend):
        result = tone_curve(*given, **changed)
    expected = in_numpy(*given, changed.get("floor", 1 / 255), changed.get("share", 0.6))
    atol = {torch.float64: 1e-14, torch.float32: 1e-6, torch.float16: 6e-4, torch.bfloat16: 4e-3}[dtype]
    assert result.dtype == dtype
    torch.testing.assert_close(result.double().cpu(), torch.from_numpy(expected), rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_little_below_black(implementation, dtype):
    """What enlarging a picture leaves there stays as dark as it is: no division by its brightest channel."""
    backend, device = implementation
    x, *rows = arguments(size=(2, 4), device=device)
    x[0, :, 0, 0], x[1, :, 1, 1], x[1, 0, 0, 0] = -1e-3, -3e-3, -2e-3
    with use_backend(backend):
        result = tone_curve(*(v.to(dtype) for v in (x, *rows))).double().cpu()
    expected = torch.from_numpy(in_numpy(*(v.to(dtype) for v in (x, *rows))))
    assert result[0, :, 0, 0].lt(0).all()
    assert expected.min() > -0.1
    atol = {torch.float64: 1e-14, torch.float32: 1e-6, torch.float16: 6e-4, torch.bfloat16: 4e-3}[dtype]
    torch.testing.assert_close(result, expected, rtol=0, atol=atol)


def test_within_a_few_ulp(compiled):
    """Of float64: 16 ulp or 6 gamma, and near black, where 1 + x / floor rounds, a fifth of an ulp of scale."""
    backend, device = compiled
    count = 128 if testing.interpreted(backend) else 4096
    x = torch.cat([torch.logspace(-6, 0, count), torch.linspace(0, 1, count)]).repeat(1, 3, 1, 1)
    for gamma in (0.05, 0.3, 0.5, 0.8, 1.0, 1.6, 2.5, 6.0, 14.0):
        for scale, knee in ((0.4, 1.0), (1.0, 0.8), (30.0, 0.7)):
            rows = (torch.full((1, n), v) for n, v in ((3, gamma), (3, scale), (1, knee)))
            given = [v.to(device) for v in (x, *rows)]
            with use_backend(backend):
                result = tone_curve(*given).double()
            with use_backend("reference"):
                expected = tone_curve(*(v.double() for v in given))
            error = (result - expected).abs() / testing.ULP[torch.float32]
            assert (error <= max(16, 6 * gamma) * expected + 0.2 * scale).all(), (gamma, scale, knee)


def test_a_high_floor_rounds_near_black(compiled):
    backend, device = compiled
    x = torch.logspace(-6, 0, 128 if testing.interpreted(backend) else 4096).repeat(1, 3, 1, 1)
    for floor in (0.3, 10.0):
        given = [v.to(device) for v in (x, torch.full((1, 3), 0.8), torch.full((1, 3), 2.0), torch.full((1, 1), 0.8))]
        with use_backend(backend):
            result = tone_curve(*given, floor=floor).double()
        with use_backend("reference"):
            expected = tone_curve(*(v.double() for v in given), floor=floor)
        error = (result - expected).abs() / testing.ULP[torch.float32]
        assert (error <= 16 * expected + 2 * floor * 2.0).all()


def test_no_curve_is_none(implementation):
    backend, device = implementation
    x = arguments(dtype=torch.float32, device=device)[0]
    with use_backend(backend):
        torch.testing.assert_close(same(x), x, rtol=0, atol=3e-7)
        brighter = same(x, gamma=0.5)
    assert (brighter > x).all()
    assert brighter.max() < 1


def test_highlights_roll_off_and_keep_their_hue(implementation):
    backend, device = implementation
    orange = torch.tensor([1.0, 0.5, 0.1], device=device).view(1, 3, 1, 1)
    grey = torch.linspace(0, 1, 301, device=device).repeat(1, 3, 1, 1)
    bright = 3 * grey
    with use_backend(backend):
        rolled, clipped = same(grey, scale=3.0, knee=0.8), same(grey, scale=3.0, knee=1.0)
        red, green, blue = same(orange, scale=3.0, knee=0.8).flatten().tolist()
        yellow = same(orange, scale=3.0, knee=0.8, share=0.0).flatten().tolist()
    torch.testing.assert_close(rolled[bright <= 0.79], bright[bright <= 0.79], rtol=1e-6, atol=1e-6)
    assert (rolled.diff(dim=-1) > 0).all()
    assert rolled.max() < 1
    torch.testing.assert_close(clipped, bright.clamp(0, 1), rtol=0, atol=1e-4)
    # clipped, its green would be as its red, and its blue a third
    assert red > 0.99
    assert 0.6 < green < 0.8
    assert 0.1 < blue < 0.25
    assert yellow[1] > 0.95
    assert yellow[2] == pytest.approx(0.3, abs=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_black_stays_black(implementation, dtype):
    backend, device = implementation
    given = arguments(size=(2, 9), dtype=dtype, device=device)
    given[0][..., :7] = 0
    with use_backend(backend):
        result = tone_curve(*given)
    assert (result[..., :7] == 0).all()
    assert (result[..., 7:] != 0).any()


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_what_is_no_number_makes_its_pixel_none(implementation, layout):
    backend, device = implementation
    given = arguments(dtype=torch.float32, device=device)
    x = given[0]
    x[0, 0, 0, 0], x[0, 1, 1, 1], x[1, 2, 2, 4] = torch.nan, torch.nan, -0.1
    with use_backend(backend):
        found = tone_curve(testing.arranged(x, layout), *given[1:]).isnan()
        given[1][1, 1] = torch.nan
        of_gamma = tone_curve(testing.arranged(x, layout), *given[1:]).isnan()
    wanted = torch.zeros_like(found)
    wanted[0, :, 0, 0] = wanted[0, :, 1, 1] = wanted[1, :, 2, 4] = True
    assert torch.equal(found, wanted)
    wanted[1] = True
    assert torch.equal(of_gamma, wanted)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_alone_in_a_batch_or_in_parts(implementation, layout):
    backend, device = implementation
    given = arguments(3, (5, 37), torch.float32, device)
    x = testing.arranged(given[0], layout)
    with use_backend(backend):
        whole = tone_curve(x, *given[1:])
        assert whole.is_contiguous(memory_format=torch.channels_last) == (layout == "channels_last")
        assert torch.equal(whole[1:2], tone_curve(x[1:2], *(v[1:2] for v in given[1:])))
        assert torch.equal(whole[..., 2:4, 3:], tone_curve(x[..., 2:4, 3:], *given[1:]))


def test_the_number_of_threads_does_not_matter():
    given = arguments(1, (150, 501), torch.float32)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 4):
            torch.set_num_threads(count)
            results += [tone_curve(testing.arranged(given[0], layout), *given[1:]) for layout in testing.LAYOUTS[:2]]
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(result, results[0]) for result in results[1:])


def test_gradients(implementation):
    backend, device = implementation
    given = [v.requires_grad_() for v in arguments(1, (2, 2), device=device)]
    with use_backend(backend):
        assert gradcheck(tone_curve, given)
        assert gradgradcheck(tone_curve, given)
        for i, each in enumerate(given):
            alone = [v if j == i else v.detach() for j, v in enumerate(given)]
            weights = numbers(1, 3, 2, 2, seed=5).to(device)
            (found,) = torch.autograd.grad(tone_curve(*alone), each, weights)
            assert torch.equal(found, torch.autograd.grad(tone_curve(*given), given, weights)[i])


def test_gradients_keep_their_dtypes(implementation):
    backend, device = implementation
    x, gamma, scale, knee = arguments(dtype=torch.bfloat16, device=device)
    given = [v.requires_grad_() for v in (x, gamma.float(), scale.double(), knee)]
    with use_backend(backend):
        gradients = torch.autograd.grad(tone_curve(*given).float().sum(), given)
    assert [g.dtype for g in gradients] == [v.dtype for v in given]
    assert all(g.isfinite().all() for g in gradients)


def test_opcheck(implementation):
    backend, device = implementation
    given = [v.requires_grad_() for v in arguments(dtype=torch.float32, device=device)]
    with use_backend(backend):
        torch.library.opcheck(torch.ops.lowlight_ext.tone_curve.default, (*given, 1 / 255, 0.6))
        last = testing.arranged(given[0].detach(), "channels_last")
        torch.library.opcheck(torch.ops.lowlight_ext.tone_curve.default, (last, *given[1:], 1 / 255, 0.6))


def test_compiles_whole(implementation):
    backend, device = implementation
    given = [v.requires_grad_() for v in arguments(dtype=torch.float32, device=device)]

    def walk(x, gamma, scale, knee):
        return tone_curve(x, gamma.exp() - 1, scale, knee).square()

    with use_backend(backend):
        result = torch.compile(walk, fullgraph=True, backend="aot_eager")(*given)
        assert torch.equal(result, walk(*given))
        found, wanted = (torch.autograd.grad(y.sum(), given) for y in (result, walk(*given)))
        torch.testing.assert_close(found, wanted)


class Curve(torch.nn.Module):
    def forward(self, x, gamma, scale, knee):
        return tone_curve(x, gamma, scale, knee)


def test_exported_it_is_the_definition():
    given = tuple(arguments(dtype=torch.float32))
    size = {2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
    program = torch.export.export(Curve(), given, dynamic_shapes=(size, None, None, None))
    program = program.run_decompositions(decompositions())
    assert not any("lowlight_ext" in str(node.target) for node in program.graph.nodes)
    other = tuple(arguments(size=(4, 9), dtype=torch.float32))
    torch.testing.assert_close(program.module()(*other), tone_curve(*other), rtol=0, atol=1e-6)


def test_empty_batch(implementation):
    backend, device = implementation
    given = [v.requires_grad_() for v in arguments(0, device=device)]
    with use_backend(backend):
        assert tone_curve(*given).shape == (0, 3, 3, 5)
        tone_curve(*given).sum().backward()
    assert given[0].grad.shape == given[0].shape


X, G, S, K = arguments(dtype=torch.float32)


@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (lambda: tone_curve([1.0], G, S, K), TypeError, "x must be a tensor, got list"),
        (lambda: tone_curve(X, G, S, 0.8), TypeError, "knee must be a tensor, got float"),
        (lambda: tone_curve(X.int(), G, S, K), ValueError, "x must be float32, float64, float16 or bfloat16"),
        (lambda: tone_curve(X[:, :2], G, S, K), ValueError, r"x must be pictures of 3 channels, \[B, 3, H, W\], got"),
        (lambda: tone_curve(X[0], G, S, K), ValueError, r"x must be pictures of 3 channels, \[B, 3, H, W\], got"),
        (lambda: tone_curve(X, G[:1], S, K), ValueError, r"gamma must be of shape \(2, 3\), got \(1, 3\)"),
        (lambda: tone_curve(X, G, S.T, K), ValueError, r"scale must be of shape \(2, 3\), got \(3, 2\)"),
        (lambda: tone_curve(X, G, S, K[:, 0]), ValueError, r"knee must be of shape \(2, 1\), got \(2,\)"),
        (lambda: tone_curve(X, G.long(), S, K), ValueError, "gamma must be float32, float64, float16 or bfloat16"),
        (lambda: tone_curve(X, G, S, K.to("meta")), ValueError, "knee must be on x's device cpu, got meta"),
        (lambda: tone_curve(X, G, S, K, floor=0.0), ValueError, "floor must be finite and above 0, got 0.0"),
        (lambda: tone_curve(X, G, S, K, share=1.5), ValueError, r"share must be in \[0, 1\], got 1.5"),
    ],
)
def test_errors(run, error, message):
    with pytest.raises(error, match=f"^tone_curve: {message}"):
        run()


LEVEL = """
import torch
from lowlight_ext import build_info, tone_curve, use_backend
from lowlight_ext.backends import select
print(build_info()["cpu_level"], select("tone_curve", "cpu"), select("normal", "cpu"))
x, rows = torch.rand(1, 3, 8, 9), (torch.full((1, n), 0.7) for n in (3, 3, 1))
with use_backend("cpp"):
    print(select("tone_curve", "cpu"), tone_curve(x, *rows).isfinite().all().item())
"""


@pytest.mark.skipif(bool(missing("cpu")), reason=f"cpp: {missing('cpu')}")
@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="others have the instruction")
def test_without_a_fused_multiply_add_it_is_pytorchs(tmp_path):
    """Where C++ is slower it serves only who asks for it."""
    environment = {**os.environ, "LOWLIGHT_EXT_CPU_LEVEL": "baseline", "PYTHONPATH": os.pathsep.join(sys.path)}
    # from another folder, or the sources in this one would be imported
    command = [sys.executable, "-c", LEVEL]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["baseline", "reference", "cpp", "cpp", "True"]
