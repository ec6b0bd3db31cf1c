"""The diffusion step in plain PyTorch."""

import torch
from torch import Tensor

from lowlight_ext.reference.haar import accumulator
from lowlight_ext.reference.noise import normal


def columns(values: Tensor, like: Tensor) -> tuple[Tensor, ...]:
    """[B or 1, n] -> n tensors [B or 1, 1, ..., 1] in the accumulator's dtype, to multiply a tensor [B, ...]."""
    shape = (-1,) + (1,) * (like.dim() - 1)
    return tuple(c.reshape(shape) for c in values.to(accumulator(like.dtype)).unbind(-1))


def widened(like: Tensor, *tensors: Tensor | None) -> tuple[Tensor | None, ...]:
    dtype = accumulator(like.dtype)
    return tuple(None if x is None else x.to(dtype) for x in tensors)


def rounded(value: Tensor, like: Tensor) -> Tensor:
    """A contiguous result in the dtype of `like`, an argument."""
    return value.to(like.dtype).contiguous()


def drawn(like: Tensor, seeds: Tensor, stream: int, y0: int, x0: int, plane: int) -> Tensor:
    return normal(like.shape, seeds, stream, y0, x0, plane, accumulator(like.dtype), like.device)


def diffusion_step(
    x_t, eps, rows, t, center, x0_previous, noise, seeds, stream, y0, x0, plane, lo, hi, return_x0
) -> tuple[Tensor, Tensor | None]:
    """x0 = clamp(p x_t + q eps), x' = a x0 + b x_t + c phi + d eps + e x0_previous + s z; -> (x', x0 or None)."""
    p, q, a, b, c, d, e, s = columns(rows if t is None else rows[t], x_t)
    x_t_, eps_, center_, previous, z = widened(x_t, x_t, eps, center, x0_previous, noise)
    estimate = p * x_t_ + q * eps_
    if lo is not None:
        estimate = estimate.clamp(lo, hi)
    out = a * estimate + b * x_t_
    if center_ is not None:
        out = out + c * (2 * center_ - 1)
    out = out + d * eps_
    if previous is not None:
        out = out + e * previous
    if seeds is not None:
        z = drawn(x_t, seeds, stream, y0, x0, plane)
    if z is not None:
        out = out + s * z
    return rounded(out, x_t), rounded(estimate, x_t) if return_x0 else None


def diffusion_step_backward(
    grad, grad_x0, x_t, eps, rows, t, lo, hi, needed=(True, True, True, True)
) -> tuple[Tensor | None, ...]:
    """Gradients to x_t, eps, center and x0_previous where `needed`; on its bounds the clamp passes the gradient."""
    p, q, a, b, c, d, e, _ = columns(rows if t is None else rows[t], grad)
    g, g_x0, x_t, eps = widened(grad, grad, grad_x0, x_t, eps)
    inner = a * g if g_x0 is None else a * g + g_x0
    if lo is not None:
        estimate = p * x_t + q * eps
        inner = torch.where((estimate >= lo) & (estimate <= hi), inner, 0)
    formulas = (lambda: p * inner + b * g, lambda: q * inner + d * g, lambda: 2 * c * g, lambda: e * g)
    return tuple(rounded(f(), grad) if wanted else None for f, wanted in zip(formulas, needed, strict=True))
