"""The diffusion step in plain PyTorch."""

from collections.abc import Sequence
from typing import overload

import torch
from torch import Tensor

from lowlight_ext.common import Source, accumulator
from lowlight_ext.reference.noise import normal


def columns(values: Tensor, like: Tensor) -> tuple[Tensor, ...]:
    """[B or 1, n] -> n tensors [B or 1, 1, ..., 1] in the accumulator's dtype, to multiply a tensor [B, ...]."""
    shape = (-1,) + (1,) * (like.dim() - 1)
    return tuple(c.reshape(shape) for c in values.to(accumulator(like.dtype)).unbind(-1))


@overload
def wide(x: Tensor) -> Tensor: ...
@overload
def wide(x: None) -> None: ...
def wide(x: Tensor | None) -> Tensor | None:
    """In the dtype that is computed in; none stays none."""
    return None if x is None else x.to(accumulator(x.dtype))


def rounded(value: Tensor, like: Tensor) -> Tensor:
    """A contiguous result in the dtype of `like`, an argument."""
    return value.to(like.dtype).contiguous()


def drawn(like: Tensor, source: Source) -> Tensor:
    return normal(like.shape, source, accumulator(like.dtype), like.device)


def diffusion_step(
    x_t: Tensor,
    eps: Tensor,
    rows: Tensor,
    t: Tensor | None,
    center: Tensor | None,
    x0_previous: Tensor | None,
    noise: Tensor | None,
    source: Source | None,
    lo: float | None,
    hi: float | None,
    return_x0: bool,
) -> tuple[Tensor, Tensor | None]:
    """x0 = clamp(p x_t + q eps), x' = a x0 + b x_t + c phi + d eps + e x0_previous + s z; -> (x', x0 or None)."""
    p, q, a, b, c, d, e, s = columns(rows if t is None else rows[t], x_t)
    x_t_, eps_, center_, previous, z = wide(x_t), wide(eps), wide(center), wide(x0_previous), wide(noise)
    estimate = p * x_t_ + q * eps_
    if lo is not None:
        estimate = estimate.clamp(lo, hi)
    out = a * estimate + b * x_t_
    if center_ is not None:
        out = out + c * (2 * center_ - 1)
    out = out + d * eps_
    if previous is not None:
        out = out + e * previous
    if source is not None:
        z = drawn(x_t, source)
    if z is not None:
        out = out + s * z
    return rounded(out, x_t), rounded(estimate, x_t) if return_x0 else None


def diffusion_step_backward(
    grad: Tensor,
    grad_x0: Tensor | None,
    x_t: Tensor,
    eps: Tensor,
    rows: Tensor,
    t: Tensor | None,
    lo: float | None,
    hi: float | None,
    needed: Sequence[bool] = (True, True, True, True),
) -> tuple[Tensor | None, ...]:
    """Gradients to x_t, eps, center and x0_previous where `needed`; on its bounds the clamp passes the gradient."""
    p, q, a, b, c, d, e, _ = columns(rows if t is None else rows[t], grad)
    g, g_x0 = wide(grad), wide(grad_x0)
    inner = a * g if g_x0 is None else a * g + g_x0
    if lo is not None and hi is not None:
        estimate = p * wide(x_t) + q * wide(eps)
        inner = torch.where((estimate >= lo) & (estimate <= hi), inner, 0)
    formulas = (lambda: p * inner + b * g, lambda: q * inner + d * g, lambda: 2 * c * g, lambda: e * g)
    return tuple(rounded(f(), grad) if wanted else None for f, wanted in zip(formulas, needed, strict=True))
