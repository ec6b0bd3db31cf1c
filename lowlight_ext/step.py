"""One kernel for every sampler.

| paper | code | meaning |
|---|---|---|
| x_t, x' | x_t, result | the noisy picture before and after the step |
| eps | eps | the network's estimate of the noise |
| x_0 | x0 | the clean picture, here as estimated from x_t and eps |
| phi | 2 center - 1 | the anchor of AnlightenDiff (DRDS) in [-1, 1] |
| alpha_bar_t | alpha_bar[t] | product of 1 - beta up to step t |
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lowlight_ext import checks, reference
from lowlight_ext.common import Source, accumulator
from lowlight_ext.noise import source_of
from lowlight_ext.pictures import arranged, check_noise, check_picture
from lowlight_ext.registry import PLACE, asked, gradients_fake, register

COLUMNS = 8


def _check_table(
    op: str, argument: str, x: Tensor, rows: Tensor, t: Tensor | None, lo: float | None, hi: float | None
) -> None:
    checks.table(op, argument, rows, x.device)
    shape = rows.shape
    if len(shape) != 2 or shape[1] != COLUMNS:
        raise checks.fail(op, argument, f"rows of {COLUMNS}, (p, q, a, b, c, d, e, s)", tuple(shape))
    if t is not None:
        checks.steps(op, t, x)
    elif shape[0] not in (1, x.shape[0]):
        raise checks.fail(op, argument, f"[8], [{x.shape[0]}, 8] or a table with t", tuple(shape))
    if (lo is None) != (hi is None) or (lo is not None and hi is not None and not lo <= hi):
        raise checks.fail(op, "clip", "None or (lo, hi) with lo <= hi", (lo, hi))


def _check_step(
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
) -> None:
    op = "diffusion_step"
    check_picture(op, "x_t", x_t)
    checks.matching(op, "x_t", x_t, eps=eps, center=center, x0_previous=x0_previous, noise=noise)
    _check_table(op, "coefficients", x_t, rows, t, lo, hi)
    check_noise(op, x_t, noise, source)


def _check_step_values(rows: Tensor, t: Tensor | None, no_noise: bool) -> None:
    checks.finite("diffusion_step", "coefficients", rows)
    if t is not None:
        checks.steps_in_table("diffusion_step", t, rows.shape[0], 0)
    # a table of steps without noise is known as such at a glance
    if no_noise and checks.readable(rows) and not checks.within(rows[:, -1].contiguous(), 0.0, 0.0):
        s = rows[:, -1] if t is None else rows[t.to(rows.device), -1]
        if s.any().item():
            raise ValueError("diffusion_step: noise or seed must be given, for s is not 0 in the coefficients")


def _brought(rows: Tensor, t: Tensor | None, like: Tensor) -> tuple[Tensor, Tensor | None]:
    if like.is_cpu:
        return rows, t
    rows = checks.brought("diffusion_step", "coefficients", rows, like.device)
    return rows, None if t is None else checks.brought("diffusion_step", "t", t, like.device)


def _prepared(x_t: Tensor, eps: Tensor, rows: Tensor, t: Tensor | None, *rest: Any) -> tuple[Any, ...]:
    _check_step_values(rows, t, rest[2] is None and rest[3] is None)
    return x_t, eps, *_brought(rows, t, x_t), *rest


def _step_fake(x_t: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    return x_t.new_empty(x_t.shape), x_t.new_empty(x_t.shape if rest[-1] else 0)


def _step_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    x_t, eps, rows, t, *_, lo, hi, return_x0 = inputs
    if rows.requires_grad:
        raise ValueError("diffusion_step: coefficients must not require a gradient, none is computed")
    # x_t and eps are read only to see where the clamp acted
    ctx.save_for_backward(*((x_t, eps) if lo is not None else (None, None)), rows, t)
    ctx.clip, ctx.return_x0 = (lo, hi), return_x0


def _step_backward(ctx: Any, grad: Tensor, grad_x0: Tensor) -> tuple[Tensor | None, ...]:
    x_t, eps, rows, t = ctx.saved_tensors
    rows, t = _brought(rows, t, grad)
    x_t, eps = (grad, grad) if x_t is None else (x_t, eps)
    to_x_t, to_eps, _, _, to_center, to_previous, to_noise, *_ = ctx.needs_input_grad
    needed = (to_x_t, to_eps, to_center, to_previous)
    # a second derivative goes through the definition, whose PyTorch operators have one
    call: Callable = reference.diffusion_step_backward if torch.is_grad_enabled() else _step_backward_op
    gradients = call(grad, grad_x0 if ctx.return_x0 else None, x_t, eps, rows, t, *ctx.clip, needed)
    to_x_t, to_eps, to_center, to_previous = asked(gradients, needed)
    noise_gradient = None
    if to_noise:
        s = (rows if t is None else rows[t])[:, -1].to(accumulator(grad.dtype))
        noise_gradient = (s.reshape(-1, 1, 1, 1) * grad).to(grad.dtype)
    return to_x_t, to_eps, None, None, to_center, to_previous, noise_gradient, *(None,) * 4


def _check_step_backward(
    grad: Tensor,
    grad_x0: Tensor | None,
    x_t: Tensor,
    eps: Tensor,
    rows: Tensor,
    t: Tensor | None,
    lo: float | None,
    hi: float | None,
    needed: Sequence[bool],
) -> None:
    op = "diffusion_step_backward"
    check_picture(op, "grad", grad)
    checks.matching(op, "grad", grad, grad_x0=grad_x0, x_t=x_t, eps=eps)
    _check_table(op, "rows", grad, rows, t, lo, hi)
    checks.beside(op, "grad", grad, rows=rows, t=t)
    checks.needed(op, needed, 4)


_step_op = register(
    "diffusion_step(Tensor x_t, Tensor eps, Tensor rows, Tensor? t, Tensor? center, Tensor? x0_previous, "
    f"Tensor? noise, {PLACE}, float? lo, float? hi, bool return_x0) -> (Tensor, Tensor)",
    _check_step,
    _step_fake,
    prepare=_prepared,
    backward=_step_backward,
    context=_step_context,
)
_step_backward_op = register(
    "diffusion_step_backward(Tensor grad, Tensor? grad_x0, Tensor x_t, Tensor eps, Tensor rows, Tensor? t, "
    "float? lo, float? hi, bool[] needed) -> (Tensor, Tensor, Tensor, Tensor)",
    _check_step_backward,
    gradients_fake,
)


def diffusion_step(
    x_t: Tensor,
    eps: Tensor,
    coefficients: Tensor,
    *,
    t: Tensor | None = None,
    center: Tensor | None = None,
    x0_previous: Tensor | None = None,
    noise: Tensor | None = None,
    seed: int | Tensor | None = None,
    stream: int = 0,
    origin: tuple[int, int] = (0, 0),
    plane: int = 0,
    clip: tuple[float, float] | None = None,
    return_x0: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """One step of any sampler, x' = a x0 + b x_t + c phi + d eps + e x0_previous + s z, in one pass over memory.

    x0 = clamp(p x_t + q eps, lo, hi) with `clip` = (lo, hi), else unclamped; phi = 2 center - 1; an absent term is 0.
    x_t, eps, center (in [0, 1]), x0_previous, noise: [B, C, H, W], all float32, float64, float16 or bfloat16 (under
    autocast the widest of them is taken); [C, H, W] is one sample, any other shape has samples on its first axis.
    coefficients: rows (p, q, a, b, c, d, e, s), float32 or float64, [8], [B, 8], or with t (int64 [B]) a table [T, 8];
    both on the pictures' device or on the CPU: from there a GPU gets them after their values were checked, while those
    of a GPU are read back, which waits for it.
    z is `noise`, or drawn inside from `seed`, stream, origin and plane as `normal` would; neither: s must be 0.
    Returns x', or (x', x0) with `return_x0`, contiguous. Computes in float32 (float64 for float64).
    Gradients: x_t, eps, center, x0_previous, noise. Deterministic; with a seed the same in every batch and tile.
    Raises TypeError on an argument that is no tensor; ValueError, naming the argument, on a shape, dtype, device, t or
    clip that does not fit, on coefficients that are not finite and on noise that is missing or given twice. While a
    CUDA graph is recorded values cannot be looked at: a t outside the table and missing noise then give NaN.
    """
    op = "diffusion_step"
    checks.tensor(op, "coefficients", coefficients)
    if t is not None:
        checks.tensor(op, "t", t)
    lo, hi = (None, None) if clip is None else clip
    source = source_of(op, seed, stream, origin, plane)
    pictures = {"x_t": x_t, "eps": eps, "center": center, "x0_previous": x0_previous, "noise": noise}
    (x_t, eps, center, x0_previous, noise), source, shape = arranged(op, pictures, source)
    rows = coefficients[None] if coefficients.dim() == 1 else coefficients
    out, x0 = _step_op(x_t, eps, rows, t, center, x0_previous, noise, source, lo, hi, return_x0)
    if shape is not None:
        out, x0 = out.reshape(shape), x0.reshape(shape) if return_x0 else x0
    return (out, x0) if return_x0 else out
