"""Normalisations fused with the activations beside them, and the gate of the NAF block.

Each keeps x's memory format: a channels_last x gives a channels_last result, any other layout a contiguous one.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lowlight_ext import checks, reference
from lowlight_ext.common import accumulator, empty_statistics, memory_format
from lowlight_ext.registry import asked, register


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
        if value.dtype != x.dtype and value.dtype != accumulator(x.dtype):
            raise checks.fail(op, name, f"of x's dtype {x.dtype} or float32", value.dtype)
        if value.device != x.device:
            raise checks.fail(op, name, f"on x's device {x.device}", value.device)


def _check_groups(op: str, x: Tensor, groups: int) -> None:
    if groups < 1 or x.shape[1] % groups:
        raise checks.fail(op, "groups", f"a divisor of the number of channels {x.shape[1]}", groups)


def _check_gradient(op: str, grad: Tensor, x: Tensor, stats: Tensor, count: int) -> None:
    checks.matching(op, "x", x, grad=grad)
    checks.exactly(op, "stats", stats, (2, x.shape[0], count), accumulator(x.dtype), "x", x)


def _check_needed(op: str, weight: Tensor | None, bias: Tensor | None, needed: Sequence[bool]) -> None:
    checks.needed(op, needed, 3)
    if (needed[1] and weight is None) or (needed[2] and bias is None):
        raise checks.fail(op, "needed", "False for a weight or bias that is absent", tuple(needed))


def _pixels(x: Tensor) -> int:
    return math.prod(x.shape[2:])


def _like(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=memory_format(x))


def _affine_fake(grad: Tensor, x: Tensor, stats: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    """Gradients to x, weight and bias; an empty one for what is not needed."""
    weight, bias, *_, needed = rest
    empty = grad.new_empty(0)
    others = (torch.empty_like(v) if wanted else empty for v, wanted in zip((weight, bias), needed[1:], strict=True))
    return _like(x) if needed[0] else empty, *others


def _saved(ctx: Any, output: tuple[Tensor, Tensor], *inputs: Tensor | None) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(output[1], *inputs)


# group norm


def _check_group(
    x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float, activation: bool
) -> None:
    op = "group_norm_silu"
    _check_picture(op, x, eps)
    _check_groups(op, x, groups)
    _check_parameters(op, x, weight, bias)


def _group_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, ctx.groups, weight, bias, ctx.eps, ctx.activation = inputs
    _saved(ctx, output, x, weight, bias)


def _group_backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    stats, x, weight, bias = ctx.saved_tensors
    to_x, _, to_weight, to_bias, *_ = ctx.needs_input_grad
    needed = (to_x, to_weight, to_bias)
    call: Callable = _group_backward_op
    # a second derivative goes through the definition, and through the statistics as well
    if torch.is_grad_enabled():
        call, stats = reference.group_norm_silu_backward, reference.group_statistics(x, ctx.groups, ctx.eps)
    gradients = call(grad, x, stats, weight, bias, ctx.groups, ctx.activation, needed)
    to_x, to_weight, to_bias = asked(gradients, needed)
    return to_x, None, to_weight, to_bias, None, None


def _check_group_backward(
    grad: Tensor,
    x: Tensor,
    stats: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    groups: int,
    activation: bool,
    needed: Sequence[bool],
) -> None:
    op = "group_norm_silu_backward"
    _check_picture(op, x, 0.0)
    _check_groups(op, x, groups)
    _check_gradient(op, grad, x, stats, groups)
    _check_parameters(op, x, weight, bias)
    _check_needed(op, weight, bias, needed)


_group_op = register(
    "group_norm_silu(Tensor x, SymInt groups, Tensor? weight, Tensor? bias, float eps, bool activation) "
    "-> (Tensor, Tensor)",
    _check_group,
    lambda x, groups, *rest: (_like(x), empty_statistics(x, groups)),
    backward=_group_backward,
    context=_group_context,
)
_group_backward_op = register(
    "group_norm_silu_backward(Tensor grad, Tensor x, Tensor stats, Tensor? weight, Tensor? bias, SymInt groups, "
    "bool activation, bool[] needed) -> (Tensor, Tensor, Tensor)",
    _check_group_backward,
    _affine_fake,
)

# mish, then instance norm


def _check_mish(x: Tensor, eps: float) -> None:
    _check_picture("mish_instance_norm", x, eps)


def _mish_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, ctx.eps = inputs
    _saved(ctx, output, x)


def _mish_backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, None]:
    stats, x = ctx.saved_tensors
    if torch.is_grad_enabled():
        return reference.mish_instance_norm_backward(grad, x, reference.mish_statistics(x, ctx.eps)), None
    return _mish_backward_op(grad, x, stats), None


def _check_mish_backward(grad: Tensor, x: Tensor, stats: Tensor) -> None:
    op = "mish_instance_norm_backward"
    _check_picture(op, x, 0.0)
    _check_gradient(op, grad, x, stats, x.shape[1])


_mish_op = register(
    "mish_instance_norm(Tensor x, float eps) -> (Tensor, Tensor)",
    _check_mish,
    lambda x, eps: (_like(x), empty_statistics(x, x.shape[1])),
    backward=_mish_backward,
    context=_mish_context,
)
_mish_backward_op = register(
    "mish_instance_norm_backward(Tensor grad, Tensor x, Tensor stats) -> Tensor",
    _check_mish_backward,
    lambda grad, x, stats: _like(x),
)

# layer norm over channels


def _check_layer(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> None:
    _check_picture("layer_norm2d", x, eps)
    _check_parameters("layer_norm2d", x, weight, bias)


def _layer_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, weight, bias, ctx.eps = inputs
    _saved(ctx, output, x, weight, bias)


def _layer_backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    stats, x, weight, bias = ctx.saved_tensors
    needed = ctx.needs_input_grad[:3]
    call: Callable = _layer_backward_op
    if torch.is_grad_enabled():
        call, stats = reference.layer_norm2d_backward, reference.layer_statistics(x, ctx.eps)
    return *asked(call(grad, x, stats, weight, bias, needed), needed), None


def _check_layer_backward(
    grad: Tensor,
    x: Tensor,
    stats: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    needed: Sequence[bool],
) -> None:
    op = "layer_norm2d_backward"
    _check_picture(op, x, 0.0)
    _check_gradient(op, grad, x, stats, _pixels(x))
    _check_parameters(op, x, weight, bias)
    _check_needed(op, weight, bias, needed)


_layer_op = register(
    "layer_norm2d(Tensor x, Tensor? weight, Tensor? bias, float eps) -> (Tensor, Tensor)",
    _check_layer,
    lambda x, *rest: (_like(x), empty_statistics(x, _pixels(x))),
    backward=_layer_backward,
    context=_layer_context,
)
_layer_backward_op = register(
    "layer_norm2d_backward(Tensor grad, Tensor x, Tensor stats, Tensor? weight, Tensor? bias, bool[] needed) "
    "-> (Tensor, Tensor, Tensor)",
    _check_layer_backward,
    _affine_fake,
)

# the gate


def _check_gate(x: Tensor, op: str = "simple_gate") -> None:
    _check_picture(op, x, 0.0)
    if x.shape[1] % 2:
        raise checks.fail(op, "x", "of an even number of channels", tuple(x.shape))


def _gate_fake(x: Tensor) -> Tensor:
    return torch.empty_like(x[:, : x.shape[1] // 2], memory_format=memory_format(x))


def _gate_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs)


def _gate_backward(ctx: Any, grad: Tensor) -> Tensor:
    (x,) = ctx.saved_tensors
    return (reference.simple_gate_backward if torch.is_grad_enabled() else _gate_backward_op)(grad, x)


def _check_gate_backward(grad: Tensor, x: Tensor) -> None:
    op = "simple_gate_backward"
    _check_gate(x, op)
    batch, channels, *sizes = x.shape
    checks.exactly(op, "grad", grad, (batch, channels // 2, *sizes), x.dtype, "x", x)


_gate_op = register(
    "simple_gate(Tensor x) -> Tensor", _check_gate, _gate_fake, backward=_gate_backward, context=_gate_context
)
_gate_backward_op = register(
    "simple_gate_backward(Tensor grad, Tensor x) -> Tensor", _check_gate_backward, lambda grad, x: _like(x)
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
