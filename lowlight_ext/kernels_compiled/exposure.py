"""The compiled raw-space operators. Signatures are those of lowlight_ext.reference.

On CUDA, what only a look at values would find gives NaN: a mean that is none, parameters beyond their ranges.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lowlight_ext.kernels_compiled import call as module
from lowlight_ext.kernels_compiled.call import (
    CODES,
    NO_SOURCE,
    call,
    contiguous,
    empty,
    like,
    results,
    source,
    table,
)


def poisson(mean: Tensor, seeds: Tensor, stream: int, y0: int, x0: int, plane: int) -> Tensor:
    """Poisson counts of means [B, C, H, W], in their dtype; where one is not in [0, 1e7] ValueError, on CUDA NaN."""
    out = like(mean)
    wrong = None if module.on_gpu(mean) else torch.zeros(1, dtype=torch.int64, device="cpu")
    place = (*mean.shape, *source(seeds, mean, stream, y0, x0, plane))
    call("poisson", mean, mean.contiguous(), out, CODES[mean.dtype], *place, wrong)
    if wrong is not None and wrong.item():
        raise ValueError(f"poisson: mean must be in [0, 1e7], got {wrong.item()} values that are not")
    return out


def tukey_lambda(
    shape: Sequence[int],
    seeds: Tensor,
    lam: float,
    stream: int,
    y0: int,
    x0: int,
    plane: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Tukey-lambda noise of shape [B, C, H, W]."""
    out = empty(shape, dtype, device)
    call("tukey_lambda", out, out, CODES[dtype], *shape, *source(seeds, out, stream, y0, x0, plane), float(lam))
    return out


def _lookup(rows: Tensor) -> tuple[Tensor, int]:
    """-> float64 rows, the step from one sample's row to the next."""
    return table(rows, torch.float64), 0 if rows.shape[0] == 1 else 1


def raw_noise(
    clean: Tensor,
    rows: Tensor,
    parts: int,
    saturation: float,
    clip: bool,
    seeds: Tensor,
    stream: int,
    y0: int,
    x0: int,
    plane: int,
) -> Tensor:
    """Clean raw [B, 4, H, W] -> noisy raw; rows (K, ratio, g_scale, G_scale, G_shape, R_scale)."""
    out = like(clean)
    place = (*clean.shape, *source(seeds, clean, stream, y0, x0, plane))
    model = (*_lookup(rows), float(saturation), parts, clip)
    call("raw_noise", clean, clean.contiguous(), out, CODES[clean.dtype], *place, *model)
    return out


def exposure_step(
    output: Tensor,
    original: Tensor,
    rows: Tensor,
    counts: Tensor | None,
    seeds: Tensor | None,
    stream: int,
    y0: int,
    x0: int,
    plane: int,
) -> Tensor:
    """c (b clamp(original) + n), n ~ Poisson(a clamp(output)), or the counts given, or with neither the mean."""
    out = like(output)
    inputs = contiguous(output, original, counts)
    drawn = NO_SOURCE if seeds is None else source(seeds, output, stream, y0, x0, plane)
    sizes = (CODES[output.dtype], *output.shape)
    call("exposure_step", output, *inputs, out, *sizes, *_lookup(rows), seeds is not None, *drawn)
    return out


def exposure_step_backward(
    grad: Tensor, output: Tensor, original: Tensor, rows: Tensor, needed: Sequence[bool] = (True, True)
) -> tuple[Tensor | None, ...]:
    """Gradients to output and original where `needed`."""
    gradients = results(grad, needed)
    inputs = contiguous(grad, output, original)
    sizes = (CODES[grad.dtype], grad.shape[0], math.prod(grad.shape[1:]))
    call("exposure_step_backward", grad, *inputs, *gradients, *sizes, *_lookup(rows))
    return gradients
