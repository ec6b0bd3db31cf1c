"""The compiled normalisations and the gate. Signatures are those of lowlight_ext.reference.

A channels_last x is read and its results are written as it is; any other layout is made contiguous.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lowlight_ext.common import accumulator, empty_statistics, memory_format
from lowlight_ext.kernels_compiled.call import CODES, call, empty, like, table, workspace

# as in csrc/core/norm.h
NONE, SILU, MISH = 0, 1, 2


def _parameters(x: Tensor, *values: Tensor | None) -> list[Tensor | None]:
    return [None if v is None else table(v, accumulator(x.dtype)) for v in values]


def _sizes(x: Tensor, layout: torch.memory_format, activation: int, groups: int) -> tuple[int | bool, ...]:
    batch, channels = x.shape[:2]
    inner = x.numel() // (batch * channels)
    return CODES[x.dtype], layout is not torch.contiguous_format, activation, batch, channels, inner, groups or 1


def _run(name: str, x: Tensor, *arguments: object) -> None:
    call(name, x, *arguments, workspace(name, x, *arguments))


def _forward(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, stats: Tensor, groups: int, activation: int
) -> tuple[Tensor, Tensor]:
    """groups 0: a layer norm over the channels."""
    layout = memory_format(x)
    out = like(x, layout)
    if x.numel():
        tensors = (x.contiguous(memory_format=layout), *_parameters(x, weight, bias), out, stats)
        _run("norm" if groups else "layer_norm", x, *tensors, *_sizes(x, layout, activation, groups), float(eps))
    return out, stats


def _backward(
    grad: Tensor,
    x: Tensor,
    stats: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    groups: int,
    activation: int,
    needed: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    layout = memory_format(x)
    to_x = like(x, layout) if needed[0] else None
    # of an empty x they are 0, otherwise written
    allocated = x.new_empty if x.numel() else x.new_zeros
    others = [allocated(x.shape[1], dtype=stats.dtype) if wanted else None for wanted in needed[1:]]
    if x.numel():
        pictures = (v.contiguous(memory_format=layout) for v in (grad, x))
        tensors = (*pictures, stats.contiguous(), *_parameters(x, weight, bias), to_x, *others)
        name = "norm_backward" if groups else "layer_norm_backward"
        _run(name, x, *tensors, *_sizes(x, layout, activation, groups))
    affine = zip(others, (weight, bias), strict=True)
    return to_x, *(None if g is None or v is None else g.to(v.dtype) for g, v in affine)


def group_norm_silu(
    x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float, activation: bool
) -> tuple[Tensor, Tensor]:
    """silu(xhat weight + bias), without silu where not `activation`; -> (the result, statistics [2, B, groups])."""
    return _forward(x, weight, bias, eps, empty_statistics(x, groups), groups, SILU if activation else NONE)


def group_norm_silu_backward(
    grad: Tensor,
    x: Tensor,
    stats: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    groups: int,
    activation: bool,
    needed: Sequence[bool] = (True, True, True),
) -> tuple[Tensor | None, ...]:
    """Gradients to x, weight and bias where `needed`."""
    return _backward(grad, x, stats, weight, bias, groups, SILU if activation else NONE, needed)


def mish_instance_norm(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """mish(x) normalised over each channel of each sample; -> (the result, statistics [2, B, C])."""
    return _forward(x, None, None, eps, empty_statistics(x, x.shape[1]), x.shape[1], MISH)


def mish_instance_norm_backward(grad: Tensor, x: Tensor, stats: Tensor) -> Tensor | None:
    """The gradient to x."""
    return _backward(grad, x, stats, None, None, x.shape[1], MISH, (True, False, False))[0]


def layer_norm2d(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, Tensor]:
    """Normalised over the channels of each pixel, times weight plus bias; -> (the result, statistics [2, B, n])."""
    return _forward(x, weight, bias, eps, empty_statistics(x, x.shape[2:].numel()), 0, NONE)


def layer_norm2d_backward(
    grad: Tensor,
    x: Tensor,
    stats: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    needed: Sequence[bool] = (True, True, True),
) -> tuple[Tensor | None, ...]:
    """Gradients to x, weight and bias where `needed`."""
    return _backward(grad, x, stats, weight, bias, 0, NONE, needed)


def _rows(x: Tensor, layout: torch.memory_format) -> tuple[int, int, int]:
    """Of x [B, 2 C, ...] in memory: dtype, rows of two halves, and the numbers in a half."""
    halves = x.shape[1] // 2 if layout is not torch.contiguous_format else x[0].numel() // 2
    return CODES[x.dtype], x.numel() // (2 * halves), halves


def simple_gate(x: Tensor) -> Tensor:
    """The first half of the channels times the second."""
    layout = memory_format(x)
    batch, channels, *sizes = x.shape
    if layout is torch.contiguous_format:
        out = empty((batch, channels // 2, *sizes), x.dtype, x.device)
    else:
        out = like(x[:, : channels // 2], layout)
    if x.numel():
        call("gate", x, x.contiguous(memory_format=layout), None, out, *_rows(x, layout))
    return out


def simple_gate_backward(grad: Tensor, x: Tensor) -> Tensor:
    """The gradient to x."""
    layout = memory_format(x)
    to_x = like(x, layout)
    if x.numel():
        pictures = (v.contiguous(memory_format=layout) for v in (x, grad))
        call("gate_backward", x, *pictures, to_x, *_rows(x, layout))
    return to_x
