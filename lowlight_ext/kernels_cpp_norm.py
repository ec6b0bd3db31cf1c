"""Tensors -> addresses for the compiled normalisations. Signatures are those of lowlight_ext.reference.

A channels_last x is read and its results are written as it is; any other layout is made contiguous.
"""

import torch
from torch import Tensor

from lowlight_ext.kernels_cpp import _C, CODES, HUGE_BYTES, _address, _same
from lowlight_ext.layouts import memory_format

# as in csrc/core/norm.h
NONE, SILU, MISH = 0, 1, 2


def _accumulator(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _prepared(op: str, device_type: str, x: Tensor, *same: Tensor) -> tuple[torch.memory_format, list[Tensor]]:
    """-> (the memory format of x, x and the tensors of its kind, dense in it)."""
    _same(op, x, device_type, **{f"tensor {i}": y for i, y in enumerate(same)})
    if x.dim() < 2:
        raise ValueError(f"{op}: takes [B, C, ...], got {tuple(x.shape)}")
    layout = memory_format(x)
    return layout, [y.contiguous(memory_format=layout) for y in (x, *same)]


def _parameters(op: str, x: Tensor, *values: Tensor | None) -> list[Tensor | None]:
    """Weight and bias as the kernels take them: [C] of the accumulator's type."""
    for v in values:
        if v is not None and (v.shape != x.shape[1:2] or v.device != x.device):
            raise ValueError(f"{op}: takes [{x.shape[1]}] on {x.device} as weight and bias, got {tuple(v.shape)}")
    return [None if v is None else v.to(_accumulator(x.dtype)).contiguous() for v in values]


def _statistics(op: str, x: Tensor, stats: Tensor, groups: int) -> Tensor:
    """Those of the forward pass, [2, B, groups], or [2, B, n] of the n pixels of a layer norm (groups 0)."""
    pixels = x[0, 0].numel() if x.shape[0] and x.shape[1] else 0
    width, expected = _accumulator(x.dtype), (2, x.shape[0], groups or pixels)
    if tuple(stats.shape) != expected or stats.dtype != width or stats.device != x.device:
        raise ValueError(f"{op}: takes statistics {expected} {width}, got {tuple(stats.shape)} {stats.dtype}")
    return stats.contiguous()


def _empty_like(x: Tensor, layout: torch.memory_format) -> Tensor:
    out = torch.empty_like(x, memory_format=layout)
    if out.nbytes >= HUGE_BYTES:
        _C.advise_huge_pages(out.data_ptr(), out.nbytes)
    return out


def _sizes(x: Tensor, groups: int) -> tuple[int, int, int, int]:
    return x.shape[0], x.shape[1], x.numel() // (x.shape[0] * x.shape[1]), groups


def _forward(op: str, x: Tensor, weight, bias, eps: float, stats: Tensor, groups: int, activation: int):
    """groups 0: a layer norm over the channels."""
    layout, (x,) = _prepared(op, "cpu", x)
    parameters = _parameters(op, x, weight, bias)
    out = _empty_like(x, layout)
    if x.numel():
        tensors = [_address(v) for v in (x, *parameters, out, stats)]
        last = layout is not torch.contiguous_format
        call = _C.norm if groups else _C.layer_norm
        call(tensors, CODES[x.dtype], last, activation, _sizes(x, groups or 1), eps)
    return out, stats


def _backward(op: str, grad, x, stats: Tensor, weight, bias, groups: int, activation: int, needed):
    layout, (x, grad) = _prepared(op, "cpu", x, grad)
    stats, parameters = _statistics(op, x, stats, groups), _parameters(op, x, weight, bias)
    to_x = _empty_like(x, layout) if needed[0] else None
    others = [x.new_zeros(x.shape[1], dtype=stats.dtype) if wanted else None for wanted in needed[1:]]
    if x.numel():
        tensors = [_address(v) for v in (grad, x, stats, *parameters, to_x, *others)]
        last = layout is not torch.contiguous_format
        call = _C.norm_backward if groups else _C.layer_norm_backward
        call(tensors, CODES[x.dtype], last, activation, _sizes(x, groups or 1))
    return to_x, *(None if g is None else g.to(v.dtype) for g, v in zip(others, (weight, bias), strict=True))


def group_norm_silu(x, groups, weight, bias, eps, activation) -> tuple[Tensor, Tensor]:
    """silu(xhat weight + bias), without silu where not `activation`; -> (the result, statistics [2, B, groups])."""
    stats = x.new_zeros(2, x.shape[0], groups, dtype=_accumulator(x.dtype))
    return _forward("group_norm_silu", x, weight, bias, eps, stats, groups, SILU if activation else NONE)


def group_norm_silu_backward(
    grad, x, stats, weight, bias, groups, activation, needed=(True, True, True)
) -> tuple[Tensor | None, ...]:
    """Gradients to x, weight and bias where `needed`."""
    kind = SILU if activation else NONE
    return _backward("group_norm_silu", grad, x, stats, weight, bias, groups, kind, needed)


def mish_instance_norm(x, eps) -> tuple[Tensor, Tensor]:
    """mish(x) normalised over each channel of each sample; -> (the result, statistics [2, B, C])."""
    stats = x.new_zeros(2, *x.shape[:2], dtype=_accumulator(x.dtype))
    return _forward("mish_instance_norm", x, None, None, eps, stats, x.shape[1], MISH)


def mish_instance_norm_backward(grad, x, stats) -> Tensor:
    """The gradient to x."""
    needed = (True, False, False)
    return _backward("mish_instance_norm", grad, x, stats, None, None, x.shape[1], MISH, needed)[0]


def layer_norm2d(x, weight, bias, eps) -> tuple[Tensor, Tensor]:
    """Normalised over the channels of each pixel, times weight plus bias; -> (the result, statistics [2, B, n])."""
    stats = x.new_zeros(2, x.shape[0], x[:1, :1].numel(), dtype=_accumulator(x.dtype))
    return _forward("layer_norm2d", x, weight, bias, eps, stats, 0, NONE)


def layer_norm2d_backward(grad, x, stats, weight, bias, needed=(True, True, True)) -> tuple[Tensor | None, ...]:
    """Gradients to x, weight and bias where `needed`."""
    return _backward("layer_norm2d", grad, x, stats, weight, bias, 0, NONE, needed)


def _rows(x: Tensor, layout: torch.memory_format) -> tuple[int, int]:
    """Of x [B, 2 C, ...] in memory: rows of two halves, and the numbers in a half."""
    halves = x.shape[1] // 2 if layout is not torch.contiguous_format else x[0].numel() // 2
    return x.numel() // (2 * halves), halves


def _halves(x: Tensor) -> None:
    if x.shape[1] % 2:
        raise ValueError(f"simple_gate: takes an even number of channels, got {tuple(x.shape)}")


def simple_gate(x) -> Tensor:
    """The first half of the channels times the second."""
    layout, (x,) = _prepared("simple_gate", "cpu", x)
    _halves(x)
    out = _empty_like(x[:, : x.shape[1] // 2], layout)
    if x.numel():
        _C.gate(x.data_ptr(), out.data_ptr(), CODES[x.dtype], *_rows(x, layout))
    return out


def simple_gate_backward(grad, x) -> Tensor:
    """The gradient to x."""
    layout, (x,) = _prepared("simple_gate", "cpu", x)
    _halves(x)
    _same("simple_gate", x[:, : x.shape[1] // 2], "cpu", grad=grad)
    grad, to_x = grad.contiguous(memory_format=layout), _empty_like(x, layout)
    if x.numel():
        _C.gate_backward(grad.data_ptr(), x.data_ptr(), to_x.data_ptr(), CODES[x.dtype], *_rows(x, layout))
    return to_x
