"""Normalisations fused with the activations beside them, and the gate of the NAF block.

Each keeps x's memory format: a channels_last x gives a channels_last result, any other layout a contiguous one.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lowlight_ext import checks, reference
from lowlight_ext.backends import implementation
from lowlight_ext.layouts import memory_format
from lowlight_ext.registry import filled, register


def _check_picture(op: str, x: Tensor, eps: float) -> None:
    checks.floating(op, "x", x)
    if x.dim() < 2:
        raise checks.fail(op, "x", "of shape [B, C, ...]", tuple(x.shape))
    if not 0 <= eps < float("inf"):
        raise checks.fail(op, "eps", "a finite number not below 0", eps)


def _check_parameters(op: str, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> None:
    for name, value in (("weight", weight), ("bias", bias)):
        if value is None:
            continue
        checks.strided(op, name, value)
        if value.dim() != 1 or value.shape[0] != x.shape[1]:
            raise checks.fail(op, name, f"of shape ({x.shape[1]},), one number a channel", tuple(value.shape))
        if value.dtype != x.dtype and value.dtype != reference.accumulator(x.dtype):
            raise checks.fail(op, name, f"of x's dtype {x.dtype} or float32", value.dtype)
        if value.device != x.device:
            raise checks.fail(op, name, f"on x's device {x.device}", value.device)


def _check_groups(op: str, x: Tensor, groups: int) -> None:
    if groups < 1 or x.shape[1] % groups:
        raise checks.fail(op, "groups", f"a divisor of the number of channels {x.shape[1]}", groups)


def _check_group(x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float) -> None:
    op = "group_norm_silu"
    _check_picture(op, x, eps)
    _check_groups(op, x, groups)
    _check_parameters(op, x, weight, bias)


def _check_layer(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> None:
    _check_picture("layer_norm2d", x, eps)
    _check_parameters("layer_norm2d", x, weight, bias)


def _check_gate(x: Tensor, op: str = "simple_gate") -> None:
    _check_picture(op, x, 0.0)
    if x.shape[1] % 2:
        raise checks.fail(op, "x", "of an even number of channels", tuple(x.shape))


def _check_gradient(op: str, grad: Tensor, x: Tensor) -> None:
    _check_picture(op, x, 0.0)
    checks.matching(op, "x", x, grad=grad)


def _check_statistics(op: str, x: Tensor, stats: Tensor, groups: int) -> None:
    checks.exactly(op, "stats", stats, (2, x.shape[0], groups), reference.accumulator(x.dtype), "x", x)


def _check_affine(op: str, x: Tensor, weight: Tensor | None, bias: Tensor | None, needed: Sequence[bool]) -> None:
    _check_parameters(op, x, weight, bias)
    checks.needed(op, needed, 3)
    if (needed[1] and weight is None) or (needed[2] and bias is None):
        raise checks.fail(op, "needed", "False for a weight or bias that is absent", tuple(needed))


def _module(op: str, x: Tensor):
    return implementation(op, "cpu" if x.is_cpu else x.device.type)


def _placed(result: Tensor | None, x: Tensor) -> Tensor | None:
    return None if result is None else result.contiguous(memory_format=memory_format(x))


def _pixels(x: Tensor) -> int:
    return math.prod(x.shape[2:])


def _result_fake(x: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Something like x, and statistics [2, B, groups]."""
    stats = x.new_empty((2, x.shape[0], groups), dtype=reference.accumulator(x.dtype))
    return torch.empty_like(x, memory_format=memory_format(x)), stats


def _affine_backward(call, grad, x, stats, weight, bias, arguments: tuple, needed) -> tuple[Tensor, ...]:
    to_x, *others = call(grad, x, stats, weight, bias, *arguments, needed)
    return _placed(to_x, x), *others


def _affine_backward_fake(grad, x, weight, bias, needed) -> tuple[Tensor, ...]:
    to_x = torch.empty_like(x, memory_format=memory_format(x)) if needed[0] else None
    others = (v.new_empty(v.shape) if wanted else None for v, wanted in zip((weight, bias), needed[1:], strict=True))
    return filled(grad, (to_x, *others))


# group norm


def _group(x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float, activation: bool):
    _check_group(x, groups, weight, bias, eps)
    out, stats = _module("group_norm_silu", x).group_norm_silu(x, groups, weight, bias, eps, activation)
    return _placed(out, x), stats


def _group_fake(x, groups, weight, bias, eps, activation):
    _check_group(x, groups, weight, bias, eps)
    return _result_fake(x, groups)


def _group_context(ctx, inputs, output) -> None:
    x, ctx.groups, weight, bias, ctx.eps, ctx.activation = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(x, output[1], weight, bias)


def _group_backward(ctx, grad: Tensor, _):
    x, stats, weight, bias = ctx.saved_tensors
    to_x, _, to_weight, to_bias, *_ = ctx.needs_input_grad
    needed = (to_x, to_weight, to_bias)
    call = _group_backward_op
    # a second derivative goes through the definition, and through the statistics as well
    if torch.is_grad_enabled():
        call, stats = reference.group_norm_silu_backward, reference.group_statistics(x, ctx.groups, ctx.eps)
    gradients = call(grad, x, stats, weight, bias, ctx.groups, ctx.activation, needed)
    to_x, to_weight, to_bias = (g if n else None for g, n in zip(gradients, needed, strict=True))
    return to_x, None, to_weight, to_bias, None, None


def _check_group_backward(grad, x, stats, weight, bias, groups, activation, needed) -> None:
    op = "group_norm_silu_backward"
    _check_gradient(op, grad, x)
    _check_groups(op, x, groups)
    _check_statistics(op, x, stats, groups)
    _check_affine(op, x, weight, bias, needed)


def _group_backward_kernel(grad, x, stats, weight, bias, groups: int, activation: bool, needed):
    _check_group_backward(grad, x, stats, weight, bias, groups, activation, needed)
    call = _module("group_norm_silu", x).group_norm_silu_backward
    return _affine_backward(call, grad, x, stats, weight, bias, (groups, activation), needed)


def _group_backward_fake(grad, x, stats, weight, bias, groups, activation, needed):
    _check_group_backward(grad, x, stats, weight, bias, groups, activation, needed)
    return _affine_backward_fake(grad, x, weight, bias, needed)


_group_op = register(
    "group_norm_silu(Tensor x, SymInt groups, Tensor? weight, Tensor? bias, float eps, bool activation) "
    "-> (Tensor, Tensor)",
    _group,
    _group_fake,
    _group_backward,
    _group_context,
)
_group_backward_op = register(
    "group_norm_silu_backward(Tensor grad, Tensor x, Tensor stats, Tensor? weight, Tensor? bias, SymInt groups, "
    "bool activation, bool[] needed) -> (Tensor, Tensor, Tensor)",
    _group_backward_kernel,
    _group_backward_fake,
)

# mish, then instance norm


def _mish(x: Tensor, eps: float):
    _check_picture("mish_instance_norm", x, eps)
    out, stats = _module("mish_instance_norm", x).mish_instance_norm(x, eps)
    return _placed(out, x), stats


def _mish_fake(x, eps):
    _check_picture("mish_instance_norm", x, eps)
    return _result_fake(x, x.shape[1])


def _mish_context(ctx, inputs, output) -> None:
    x, ctx.eps = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(x, output[1])


def _mish_backward(ctx, grad: Tensor, _):
    x, stats = ctx.saved_tensors
    if torch.is_grad_enabled():
        return reference.mish_instance_norm_backward(grad, x, reference.mish_statistics(x, ctx.eps)), None
    return _mish_backward_op(grad, x, stats), None


def _check_mish_backward(grad: Tensor, x: Tensor, stats: Tensor) -> None:
    op = "mish_instance_norm_backward"
    _check_gradient(op, grad, x)
    _check_statistics(op, x, stats, x.shape[1])


def _mish_backward_kernel(grad: Tensor, x: Tensor, stats: Tensor) -> Tensor:
    _check_mish_backward(grad, x, stats)
    return _placed(_module("mish_instance_norm", x).mish_instance_norm_backward(grad, x, stats), x)


def _mish_backward_fake(grad: Tensor, x: Tensor, stats: Tensor) -> Tensor:
    _check_mish_backward(grad, x, stats)
    return torch.empty_like(x, memory_format=memory_format(x))


_mish_op = register(
    "mish_instance_norm(Tensor x, float eps) -> (Tensor, Tensor)", _mish, _mish_fake, _mish_backward, _mish_context
)
_mish_backward_op = register(
    "mish_instance_norm_backward(Tensor grad, Tensor x, Tensor stats) -> Tensor",
    _mish_backward_kernel,
    _mish_backward_fake,
)

# layer norm over channels


def _layer(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float):
    _check_layer(x, weight, bias, eps)
    out, stats = _module("layer_norm2d", x).layer_norm2d(x, weight, bias, eps)
    return _placed(out, x), stats


def _layer_fake(x, weight, bias, eps):
    _check_layer(x, weight, bias, eps)
    return _result_fake(x, _pixels(x))


def _layer_context(ctx, inputs, output) -> None:
    x, weight, bias, ctx.eps = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(x, output[1], weight, bias)


def _layer_backward(ctx, grad: Tensor, _):
    x, stats, weight, bias = ctx.saved_tensors
    needed = ctx.needs_input_grad[:3]
    call = _layer_backward_op
    if torch.is_grad_enabled():
        call, stats = reference.layer_norm2d_backward, reference.layer_statistics(x, ctx.eps)
    gradients = call(grad, x, stats, weight, bias, needed)
    return *(g if n else None for g, n in zip(gradients, needed, strict=True)), None


def _check_layer_backward(grad, x, stats, weight, bias, needed) -> None:
    op = "layer_norm2d_backward"
    _check_gradient(op, grad, x)
    _check_statistics(op, x, stats, _pixels(x))
    _check_affine(op, x, weight, bias, needed)


def _layer_backward_kernel(grad, x, stats, weight, bias, needed):
    _check_layer_backward(grad, x, stats, weight, bias, needed)
    call = _module("layer_norm2d", x).layer_norm2d_backward
    return _affine_backward(call, grad, x, stats, weight, bias, (), needed)


def _layer_backward_fake(grad, x, stats, weight, bias, needed):
    _check_layer_backward(grad, x, stats, weight, bias, needed)
    return _affine_backward_fake(grad, x, weight, bias, needed)


_layer_op = register(
    "layer_norm2d(Tensor x, Tensor? weight, Tensor? bias, float eps) -> (Tensor, Tensor)",
    _layer,
    _layer_fake,
    _layer_backward,
    _layer_context,
)
_layer_backward_op = register(
    "layer_norm2d_backward(Tensor grad, Tensor x, Tensor stats, Tensor? weight, Tensor? bias, bool[] needed) "
    "-> (Tensor, Tensor, Tensor)",
    _layer_backward_kernel,
    _layer_backward_fake,
)

# the gate


def _gate(x: Tensor) -> Tensor:
    _check_gate(x)
    return _placed(_module("simple_gate", x).simple_gate(x), x)


def _gate_fake(x: Tensor) -> Tensor:
    _check_gate(x)
    return torch.empty_like(x[:, : x.shape[1] // 2], memory_format=memory_format(x))


def _gate_context(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs)


def _gate_backward(ctx, grad: Tensor):
    (x,) = ctx.saved_tensors
    return (reference.simple_gate_backward if torch.is_grad_enabled() else _gate_backward_op)(grad, x)


def _check_gate_backward(grad: Tensor, x: Tensor) -> None:
    op = "simple_gate_backward"
    _check_gate(x, op)
    batch, channels, *sizes = x.shape
    checks.exactly(op, "grad", grad, (batch, channels // 2, *sizes), x.dtype, "x", x)


def _gate_backward_kernel(grad: Tensor, x: Tensor) -> Tensor:
    _check_gate_backward(grad, x)
    return _placed(_module("simple_gate", x).simple_gate_backward(grad, x), x)


def _gate_backward_fake(grad: Tensor, x: Tensor) -> Tensor:
    _check_gate_backward(grad, x)
    return torch.empty_like(x, memory_format=memory_format(x))


_gate_op = register("simple_gate(Tensor x) -> Tensor", _gate, _gate_fake, _gate_backward, _gate_context)
_gate_backward_op = register(
    "simple_gate_backward(Tensor grad, Tensor x) -> Tensor", _gate_backward_kernel, _gate_backward_fake
)


def group_norm_silu(
    x: Tensor,
    groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *,
    activation: bool = True,
) -> Tensor:
    """silu(xhat weight + bias), xhat = (x - mean) / sqrt(var + eps) over each of `groups` runs of channels.

    x: [B, C, ...], C divisible by groups; float32, float64, float16 or bfloat16. weight, bias: [C], of x's dtype or
    float32, or absent. activation: without it the group norm alone. Wu and He 2018; Elfwing et al. 2018.
    Returns x's shape, dtype (under autocast too) and memory format: channels_last stays, any other becomes contiguous.
    Computes in float32 (float64 for float64); the variance is that of deviations from the mean, in two passes.
    Gradients: x, weight, bias; second derivatives through plain PyTorch. The same for every number of threads.
    Raises TypeError where x is no tensor, ValueError on a dtype, shape, device, groups or eps that does not fit.
    """
    checks.tensor("group_norm_silu", "x", x)
    return _group_op(x, groups, weight, bias, eps, activation)[0]


def mish_instance_norm(x: Tensor, eps: float = 1e-5) -> Tensor:
    """(m - mean) / sqrt(var + eps) of m = mish(x) = x tanh(ln(1 + e^x)), over each channel of each sample.

    x: [B, C, ...]; float32, float64, float16 or bfloat16. No weight, no bias, no running statistics; a channel of one
    pixel gives 0. Misra 2019; Ulyanov et al. 2016.
    Returns x's shape, dtype (under autocast too) and memory format: channels_last stays, any other becomes contiguous.
    Computes in float32 (float64 for float64); mish(x) is never rounded to a narrower dtype.
    Gradients: x; second derivatives through plain PyTorch. The same for every number of threads.
    Raises TypeError where x is no tensor, ValueError on a dtype, shape or eps that does not fit.
    """
    checks.tensor("mish_instance_norm", "x", x)
    return _mish_op(x, eps)[0]


def layer_norm2d(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """xhat weight + bias, xhat = (x - mean) / sqrt(var + eps) over the channels of each pixel.

    x: [B, C, ...]; float32, float64, float16 or bfloat16. weight, bias: [C], of x's dtype or float32, or absent.
    Ba et al. 2016, as NAFNet (Chen et al. 2022) applies it to pictures.
    Returns x's shape, dtype (under autocast too) and memory format: channels_last stays, any other becomes contiguous.
    Computes in float32 (float64 for float64); the variance is that of deviations from the mean, in two passes.
    Gradients: x, weight, bias; second derivatives through plain PyTorch. The same for every number of threads.
    Raises TypeError where x is no tensor, ValueError on a dtype, shape, device or eps that does not fit.
    """
    checks.tensor("layer_norm2d", "x", x)
    return _layer_op(x, weight, bias, eps)[0]


def simple_gate(x: Tensor) -> Tensor:
    """The first half of the channels times the second; NAFNet (Chen et al. 2022).

    x: [B, 2 C, ...]; float32, float64, float16 or bfloat16. Returns [B, C, ...], the product rounded once.
    Keeps the dtype (under autocast too) and the memory format: channels_last stays, any other becomes contiguous.
    Gradients: x; second derivatives through plain PyTorch.
    Raises TypeError where x is no tensor, ValueError on a dtype, shape or odd number of channels that does not fit.
    """
    checks.tensor("simple_gate", "x", x)
    return _gate_op(x)
