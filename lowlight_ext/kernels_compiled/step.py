"""The compiled diffusion step. Signatures are those of lowlight_ext.reference."""

import math
from collections.abc import Sequence

from torch import Tensor

from lowlight_ext.common import Source, accumulator, contiguous, row_step
from lowlight_ext.kernels_compiled.call import CODES, call, fields, like, results, table


def _lookup(rows: Tensor, t: Tensor | None, x: Tensor) -> tuple[Tensor, Tensor | None, int, int]:
    """-> rows in the accumulator's dtype, times, the number of rows, the step from one sample's row to the next."""
    count = rows.shape[0]
    return table(rows, accumulator(x.dtype)), None if t is None else t.contiguous(), count, row_step(count)


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
    """x0 = clamp(p x_t + q eps), x' = a x0 + b x_t + c phi + d eps + e x0_previous + s z; -> (x', x0 or None).

    On CUDA a time outside the table, and s that is not 0 without noise, give NaN.
    """
    out, estimate = like(x_t), like(x_t) if return_x0 else None
    inputs = contiguous(x_t, eps, center, x0_previous, noise)
    bounds = (-math.inf, math.inf) if lo is None or hi is None else (float(lo), float(hi))
    sizes, place = (CODES[x_t.dtype], *x_t.shape), fields(source, x_t)
    call("step", x_t, *inputs, out, estimate, *sizes, *_lookup(rows, t, x_t), source is not None, *place, *bounds)
    return out, estimate


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
    """Gradients to x_t, eps, center and x0_previous where `needed`; the clamp passes them on its bounds."""
    gradients = results(grad, needed)
    inputs = contiguous(grad, grad_x0, x_t, eps)
    sizes = (CODES[grad.dtype], grad.shape[0], math.prod(grad.shape[1:]))
    clip = (False, 0.0, 0.0) if lo is None or hi is None else (True, float(lo), float(hi))
    call("step_backward", grad, *inputs, *gradients, *sizes, *_lookup(rows, t, grad), *clip)
    return gradients
