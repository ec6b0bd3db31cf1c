"""The normalisations on CUDA tensors: tensors -> addresses, as in kernels_cuda.py, and as there without waiting.

A channels_last x is read and its results are written as it is; any other layout is made contiguous. What the kernels
need beside their tensors torch allocates here, so that a launch allocates nothing.
"""

import torch
from torch import Tensor

from lowlight_ext import kernels_cuda
from lowlight_ext.kernels_cpp import CODES, _address, _same
from lowlight_ext.kernels_cpp_norm import (
    MISH,
    NONE,
    SILU,
    _accumulator,
    _halves,
    _parameters,
    _prepared,
    _rows,
    _sizes,
    _statistics,
)


def _run(kernel: str, x: Tensor, *arguments) -> None:
    """Launch with a workspace of the size that the compiled module asks for; the stream keeps its memory until then."""
    numbers = getattr(kernels_cuda._C, f"{kernel}_workspace")(*arguments)
    workspace = x.new_empty(numbers, dtype=_accumulator(x.dtype))
    kernels_cuda._launch(getattr(kernels_cuda._C, kernel), x.device, *arguments, workspace.data_ptr())


def _forward(op: str, x: Tensor, weight, bias, eps: float, stats: Tensor, groups: int, activation: int):
    """groups 0: a layer norm over the channels."""
    layout, (x,) = _prepared(op, kernels_cuda.DEVICE_TYPE, x)
    parameters = _parameters(op, x, weight, bias)
    out = torch.empty_like(x, memory_format=layout)
    if x.numel():
        tensors = [_address(v) for v in (x, *parameters, out, stats)]
        sizes = (CODES[x.dtype], layout is not torch.contiguous_format, activation, _sizes(x, groups or 1))
        _run("cuda_norm" if groups else "cuda_layer_norm", x, tensors, *sizes, eps)
    return out, stats


def _backward(op: str, grad, x, stats: Tensor, weight, bias, groups: int, activation: int, needed):
    layout, (x, grad) = _prepared(op, kernels_cuda.DEVICE_TYPE, x, grad)
    stats, parameters = _statistics(op, x, stats, groups), _parameters(op, x, weight, bias)
    to_x = torch.empty_like(x, memory_format=layout) if needed[0] else None
    # of an empty x they are 0, otherwise written
    allocated = x.new_empty if x.numel() else x.new_zeros
    others = [allocated(x.shape[1], dtype=stats.dtype) if wanted else None for wanted in needed[1:]]
    if x.numel():
        tensors = [_address(v) for v in (grad, x, stats, *parameters, to_x, *others)]
        sizes = (CODES[x.dtype], layout is not torch.contiguous_format, activation, _sizes(x, groups or 1))
        _run("cuda_norm_backward" if groups else "cuda_layer_norm_backward", x, tensors, *sizes)
    return to_x, *(None if g is None else g.to(v.dtype) for g, v in zip(others, (weight, bias), strict=True))


def _moments(x: Tensor, *shape: int) -> Tensor:
    """Room for statistics [2, ...]; of an empty x they are 0."""
    return (x.new_empty if x.numel() else x.new_zeros)((2, *shape), dtype=_accumulator(x.dtype))


def group_norm_silu(x, groups, weight, bias, eps, activation) -> tuple[Tensor, Tensor]:
    """silu(xhat weight + bias), without silu where not `activation`; -> (the result, statistics [2, B, groups])."""
    stats = _moments(x, x.shape[0], groups)
    return _forward("group_norm_silu", x, weight, bias, eps, stats, groups, SILU if activation else NONE)


def group_norm_silu_backward(
    grad, x, stats, weight, bias, groups, activation, needed=(True, True, True)
) -> tuple[Tensor | None, ...]:
    """Gradients to x, weight and bias where `needed`."""
    kind = SILU if activation else NONE
    return _backward("group_norm_silu", grad, x, stats, weight, bias, groups, kind, needed)


def mish_instance_norm(x, eps) -> tuple[Tensor, Tensor]:
    """mish(x) normalised over each channel of each sample; -> (the result, statistics [2, B, C])."""
    return _forward("mish_instance_norm", x, None, None, eps, _moments(x, *x.shape[:2]), x.shape[1], MISH)


def mish_instance_norm_backward(grad, x, stats) -> Tensor:
    """The gradient to x."""
    needed = (True, False, False)
    return _backward("mish_instance_norm", grad, x, stats, None, None, x.shape[1], MISH, needed)[0]


def layer_norm2d(x, weight, bias, eps) -> tuple[Tensor, Tensor]:
    """Normalised over the channels of each pixel, times weight plus bias; -> (the result, statistics [2, B, n])."""
    stats = _moments(x, x.shape[0], x[:1, :1].numel())
    return _forward("layer_norm2d", x, weight, bias, eps, stats, 0, NONE)


def layer_norm2d_backward(grad, x, stats, weight, bias, needed=(True, True, True)) -> tuple[Tensor | None, ...]:
    """Gradients to x, weight and bias where `needed`."""
    return _backward("layer_norm2d", grad, x, stats, weight, bias, 0, NONE, needed)


def simple_gate(x) -> Tensor:
    """The first half of the channels times the second."""
    layout, (x,) = _prepared("simple_gate", kernels_cuda.DEVICE_TYPE, x)
    _halves(x)
    out = torch.empty_like(x[:, : x.shape[1] // 2], memory_format=layout)
    if x.numel():
        addresses = (x.data_ptr(), out.data_ptr())
        kernels_cuda._launch(kernels_cuda._C.cuda_gate, x.device, *addresses, CODES[x.dtype], *_rows(x, layout))
    return out


def simple_gate_backward(grad, x) -> Tensor:
    """The gradient to x."""
    layout, (x,) = _prepared("simple_gate", kernels_cuda.DEVICE_TYPE, x)
    _halves(x)
    _same("simple_gate", x[:, : x.shape[1] // 2], kernels_cuda.DEVICE_TYPE, grad=grad)
    grad, to_x = grad.contiguous(memory_format=layout), torch.empty_like(x, memory_format=layout)
    if x.numel():
        addresses = (grad.data_ptr(), x.data_ptr(), to_x.data_ptr())
        sizes = (CODES[x.dtype], *_rows(x, layout))
        kernels_cuda._launch(kernels_cuda._C.cuda_gate_backward, x.device, *addresses, *sizes)
    return to_x
