"""Normalisations against torch.nn.functional in float64, gradients and layouts; test_operators.py has the backends."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck, gradgradcheck

import lowlight_ext
from lowlight_ext import group_norm_silu, layer_norm2d, mish_instance_norm, simple_gate, testing, use_backend
from lowlight_ext.checks import DTYPES
from lowlight_ext.testing_norm import NORMS

OPERATOR = "group_norm_silu"

# one pixel, sizes below, at and above a vector and a block, several spans, none; channels and groups
SHAPES = [
    ((1, 2, 1, 1), 1),
    ((2, 6, 5, 7), 3),
    ((1, 16, 4, 4), 4),
    ((3, 10, 16, 33), 5),
    ((1, 4, 150, 221), 2),
    ((2, 320, 3, 5), 32),
    ((1, 1030, 2, 3), 1),
    ((0, 4, 3, 3), 2),
    ((2, 4, 0, 3), 2),
]
# (rtol, atol): errors of float32 sums against float64; the narrow dtypes round the result, and the gradient that came
LIMITS = {
    torch.float64: (1e-11, 1e-11),
    torch.float32: (2e-5, 1e-5),
    torch.float16: (2e-3, 2e-3),
    torch.bfloat16: (1.6e-2, 1.6e-2),
}


def values(*shape, seed=0, dtype=torch.float64, layout="contiguous"):
    """Normals of mean 1 and deviation 2, different in each channel."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if len(shape) > 1:
        x = (2 * x + 1) * torch.linspace(0.5, 1.5, shape[1], dtype=torch.float64).reshape(-1, *(1,) * (len(shape) - 2))
    return testing.arranged(x.to(dtype), layout)


# the oracles, in the dtype of their arguments; PyTorch 2.13's instance_norm of a channels_last gradient of one sample
# on the CPU is wrong, so that one is written out


def torch_group(x, groups, weight, bias, activation=True):
    y = F.group_norm(x, groups, weight, bias, 1e-5)
    return F.silu(y) if activation else y


def torch_mish(x):
    return F.instance_norm(F.mish(x).contiguous(), eps=1e-5)


def torch_layer(x, weight, bias):
    return F.layer_norm(x.movedim(1, -1), x.shape[1:2], weight, bias, 1e-6).movedim(-1, 1)


def torch_gate(x):
    left, right = x.chunk(2, 1)
    return left * right


def calls(shape, groups):
    """name -> (ours, the oracle, whether it takes weight and bias)."""
    result = {
        "group_norm_silu": (
            lambda x, w, b: group_norm_silu(x, groups, w, b),
            lambda x, w, b: torch_group(x, groups, w, b),
            True,
        ),
        "group_norm": (
            lambda x, w, b: group_norm_silu(x, groups, w, b, activation=False),
            lambda x, w, b: torch_group(x, groups, w, b, False),
            True,
        ),
        "layer_norm2d": (layer_norm2d, torch_layer, True),
    }
    if shape[2] * shape[3] > 1:
        # torch.instance_norm refuses a single pixel
        result["mish_instance_norm"] = (mish_instance_norm, torch_mish, False)
    if shape[1] % 2 == 0:
        result["simple_gate"] = (simple_gate, torch_gate, False)
    return result


@pytest.mark.parametrize("op", [NORMS[0]])
@pytest.mark.parametrize("layout", testing.LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "groups"), SHAPES)
def test_torch_agrees(implementation, op, shape, groups, dtype, layout):
    """Results and gradients against PyTorch's own operators in float64 on the same (rounded) inputs."""
    backend, device = implementation
    rtol, atol = LIMITS[dtype]
    x = values(*shape, dtype=dtype, layout=layout).to(device)
    weight = values(shape[1], seed=1).to(device, dtype)
    bias = values(shape[1], seed=2).to(device, dtype)
    for name, (ours, oracle, affine) in calls(shape, groups).items():
        if testing.interpreted(backend) and name == "mish_instance_norm" and shape[1] > 300:
            # as many programs
            continue
        inputs = [x, weight, bias] if affine else [x]
        leaves = [v.detach().clone().requires_grad_() for v in inputs]
        wide = [v.detach().double().contiguous().requires_grad_() for v in inputs]
        with use_backend(backend):
            result = ours(*leaves)
            grad = values(*result.shape, seed=3, dtype=dtype).to(device)
            gradients = torch.autograd.grad(result, leaves, testing.arranged(grad, layout))
        if 0 in shape:
            # PyTorch refuses some of these, and gives NaN as the weights' gradient of others
            assert result.shape == (torch_gate(x) if name == "simple_gate" else x).shape
            assert all(not g.any() for g in gradients)
            continue
        expected = oracle(*wide)
        wanted = torch.autograd.grad(expected, wide, grad.double())
        assert result.dtype == dtype
        for mine, theirs in zip((result, *gradients), (expected, *wanted), strict=True):
            scale = max(1.0, theirs.abs().max().item()) if theirs.numel() else 1.0
            torch.testing.assert_close(
                mine.double(), theirs, rtol=rtol, atol=atol * scale, msg=lambda m, name=name: f"{name}: {m}"
            )


@pytest.mark.parametrize("op", NORMS)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_gradients(implementation, op, layout):
    backend, device = implementation
    x = values(2, 4, 3, 5, layout=layout).to(device).requires_grad_()
    weight, bias = (values(4, seed=s).to(device).requires_grad_() for s in (1, 2))
    call = {
        "group_norm_silu": lambda x, w, b: group_norm_silu(x, 2, w, b),
        "mish_instance_norm": lambda x: mish_instance_norm(x, 1e-3),
        "layer_norm2d": layer_norm2d,
        "simple_gate": simple_gate,
    }[op]
    inputs = (x, weight, bias) if op in ("group_norm_silu", "layer_norm2d") else (x,)
    # in random directions, not one by one, where a call takes long
    mode = {"fast_mode": testing.interpreted(backend)}
    with use_backend(backend):
        assert gradcheck(call, inputs, **mode)
        assert gradgradcheck(call, inputs, **mode)
        if len(inputs) == 3:
            assert gradcheck(lambda x: call(x, None, None), (x,), **mode)
            # one gradient alone, and bias without weight
            assert gradcheck(lambda b: call(x.detach(), None, b), (bias,), **mode)
            assert gradcheck(lambda w: call(x.detach(), w, bias.detach()), (weight,), **mode)


@pytest.mark.parametrize("op", ["group_norm_silu", "layer_norm2d", "mish_instance_norm"])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_far_from_zero(implementation, op, layout):
    """The variance does not cancel: a mean of 1e5 deviations, and a first number far from all others."""
    backend, device = implementation
    plain = values(1, 32, 40, 60, dtype=torch.float32, layout=layout).to(device)
    far, spike = plain * 0.01 + 1000, plain.clone()
    spike[0, :, 0, 0] = 3e4
    function = {"group_norm_silu": lambda x: group_norm_silu(x, 4, activation=False)}.get(op, getattr(lowlight_ext, op))
    # float32 rounds a sum of 32 numbers of 1000 to 4e-3, so their mean to 1e-4; the deviations are about 0.01
    for v, atol in ((far, 5e-2 if op == "layer_norm2d" else 2e-2), (spike, 5e-6)):
        if v is spike and op == "layer_norm2d":
            continue
        with use_backend("reference"):
            expected = function(v.double())
        with use_backend(backend):
            result = function(v)
        torch.testing.assert_close(result.double(), expected, rtol=5e-5, atol=atol)


@pytest.mark.parametrize("op", NORMS)
def test_nan(implementation, op):
    backend, device = implementation
    function = {"group_norm_silu": lambda x: group_norm_silu(x, 4)}.get(op, getattr(lowlight_ext, op))
    x = values(2, 4, 6, 7, dtype=torch.float32).to(device)
    x[0, 1, 2, 3] = torch.nan
    with use_backend(backend):
        broken = function(x).isnan()
        # a NaN stays in what it was summed with
        count = {"group_norm_silu": 42, "mish_instance_norm": 42, "layer_norm2d": 4, "simple_gate": 1}[op]
        assert int(broken.sum()) == count
        assert not broken[1].any()


def test_silu_at_its_ends(implementation):
    """A group of 1 and -1 is normal already: what comes out is silu of the weights."""
    backend, device = implementation
    for scale in (1e-6, 1.0, 50.0, 80.0, 87.0, 88.5, 89.0, 200.0, 1e30):
        x = torch.tensor([[1.0, -1.0]], device=device).requires_grad_()
        weight = torch.full((2,), scale, device=device).requires_grad_()
        wide = torch.tensor([[scale, -scale]], device=device, dtype=torch.float64).requires_grad_()
        with use_backend(backend):
            result = group_norm_silu(x, 1, weight, None, 0.0)
            (to_weight,) = torch.autograd.grad(result.sum(), weight)
        expected = F.silu(wide)
        torch.testing.assert_close(result.double(), expected, rtol=1e-6, atol=2e-36)
        (slope,) = torch.autograd.grad(expected.sum(), wide)
        torch.testing.assert_close(to_weight.double(), slope[0] * x[0].double(), rtol=1e-6, atol=2e-35)


def test_mish_at_its_ends(implementation):
    backend, device = implementation
    for value in (-200.0, -90.0, -20.0, -1.2, -1e-6, 3.0, 19.0, 25.0, 88.0, 300.0):
        x = torch.tensor([value, 0.5, -0.25], device=device).reshape(1, 1, 3)
        grad = torch.tensor([0.3, -1.0, 2.0], device=device).reshape(1, 1, 3)
        results = []
        for name, dtype in ((backend, torch.float32), ("reference", torch.float64)):
            leaf = x.to(dtype).requires_grad_()
            with use_backend(name):
                y = mish_instance_norm(leaf)
                results.append((y.double(), torch.autograd.grad(y, leaf, grad.to(dtype))[0].double()))
        for mine, theirs in zip(*results, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=2e-5, atol=2e-6)


def test_parameters_change_the_result():
    """Negative controls: every argument reaches the kernel."""
    x = values(2, 6, 5, 7, dtype=torch.float32)
    weight, bias = values(6, seed=1, dtype=torch.float32), values(6, seed=2, dtype=torch.float32)
    base = group_norm_silu(x, 3, weight, bias)
    others = [
        group_norm_silu(x, 2, weight, bias),
        group_norm_silu(x, 3, bias, weight),
        group_norm_silu(x, 3, weight),
        group_norm_silu(x, 3, None, bias),
        group_norm_silu(x, 3, weight, bias, 0.1),
        group_norm_silu(x, 3, weight, bias, activation=False),
        layer_norm2d(x, weight, bias),
    ]
    assert all((other - base).abs().max() > 1e-2 for other in others)
    assert (mish_instance_norm(x, 0.1) - mish_instance_norm(x)).abs().max() > 1e-2
    # mish comes first: the other order is another function
    assert (F.mish(F.instance_norm(x)) - mish_instance_norm(x)).abs().max() > 0.1
    assert (simple_gate(x.flip(1)) - simple_gate(x)).abs().max() > 0.1


PICTURE = torch.zeros(2, 6, 4, 4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: group_norm_silu(np.zeros((1, 2)), 1), TypeError, "group_norm_silu: x must be a tensor, got ndarray"),
        (lambda: group_norm_silu(PICTURE, 4), ValueError, "groups must be a divisor of the .* channels 6, got 4"),
        (lambda: group_norm_silu(PICTURE, 0), ValueError, "groups must be a divisor"),
        (lambda: group_norm_silu(PICTURE, 2, torch.ones(5)), ValueError, r"weight must be .* \(6,\), .*got \(5,\)"),
        (lambda: group_norm_silu(PICTURE, 2, bias=torch.ones(6, 1)), ValueError, r"bias must be of shape \(6,\)"),
        (lambda: group_norm_silu(PICTURE, 2, torch.ones(6).half()), ValueError, "weight must be of x's dtype"),
        (lambda: group_norm_silu(PICTURE, 2, eps=-1.0), ValueError, "eps must be .* not below 0, got -1.0"),
        (lambda: group_norm_silu(PICTURE, 2, eps=float("nan")), ValueError, "eps must be"),
        (lambda: group_norm_silu(PICTURE, 2, torch.ones(6, device="meta")), ValueError, "weight must be on x's device"),
        (lambda: mish_instance_norm(torch.zeros(4)), ValueError, r"mish_instance_norm: x must be .* \[B, C, ...\]"),
        (lambda: mish_instance_norm(PICTURE.int()), ValueError, "x must be float32, .* got torch.int32"),
        (lambda: layer_norm2d([1.0]), TypeError, "layer_norm2d: x must be a tensor, got list"),
        (lambda: layer_norm2d(PICTURE, torch.ones(4)), ValueError, r"layer_norm2d: weight must be of shape \(6,\)"),
        (lambda: layer_norm2d(PICTURE.to_sparse()), ValueError, "dense"),
        (lambda: simple_gate(torch.zeros(1, 3, 2, 2)), ValueError, "simple_gate: x must be of an even number"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.slow
@pytest.mark.parametrize("op", NORMS)
def test_more_than_two_gigabytes(implementation, op):
    backend, device = implementation
    if testing.interpreted(backend):
        pytest.skip("triton's interpreter would take an hour")
    # byte offsets leave 32 bits; one group of 2^30 numbers and more
    x = torch.zeros(1, 2, (1 << 15) + 2, 1 << 14, dtype=torch.float16, device=device)
    x[0, :, -1, -2:] = torch.tensor([[1.0, 2.0], [3.0, 8.0]])
    function = {"group_norm_silu": lambda x: group_norm_silu(x, 2, eps=1.0)}.get(op, getattr(lowlight_ext, op))
    with use_backend(backend):
        end = function(x)[0, :, -1, -2:].float()
    expected = {
        "group_norm_silu": F.silu(torch.tensor([[1.0, 2.0], [3.0, 8.0]])),
        "layer_norm2d": torch.tensor([[-1.0, -1.0], [1.0, 1.0]]),
        "simple_gate": torch.tensor([[3.0, 16.0]]),
    }
    if op in expected:
        torch.testing.assert_close(end.cpu(), expected[op], rtol=2e-3, atol=2e-3)
    else:
        assert end.isfinite().all()
