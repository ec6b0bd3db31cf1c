"""The compiled raw-space operators. Signatures are those of lowlight_ext.reference.

On CUDA, what only a look at values would find gives NaN: a mean that is none, parameters beyond their ranges.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lowlight_ext.common import Source, contiguous, row_step
from lowlight_ext.kernels_compiled import call as module
from lowlight_ext.kernels_compiled.call import CODES, call, empty, fields, like, results, table


def poisson(mean: Tensor, source: Source) -> Tensor:
    """Poisson counts of means [B, C, H, W], in their dtype; where one is not in [0, 1e7] ValueError, on CUDA NaN."""
    out = like(mean)
    wrong = None if module.on_gpu(mean) else torch.zeros(1, dtype=torch.int64, device="cpu")
    call("poisson", mean, mean.contiguous(), out, CODES[mean.dtype], *mean.shape, *fields(source, mean), wrong)
    if wrong is not None and wrong.item():
        raise ValueError(f"poisson: mean must be in [0, 1e7], got {wrong.item()} values that are not")
    return out


def tukey_lambda(shape: Sequence[int], source: Source, lam: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Tukey-lambda noise of shape [B, C, H, W]."""
    out = empty(shape, dtype, device)
    call("tukey_lambda", out, out, CODES[dtype], *shape, *fields(source, out), float(lam))
    return out


def _lookup(rows: Tensor) -> tuple[Tensor, int]:
    """-> float64 rows, the step from one sample's row to the next."""
    return table(rows, torch.float64), row_step(rows.shape[0])


def raw_noise(clean: Tensor, rows: Tensor, parts: int, saturation: float, clip: bool, source: Source) -> Tensor:
    """Clean raw [B, 4, H, W] -> noisy raw; rows (K, ratio, g_scale, G_scale, G_shape, R_scale)."""
    out = like(clean)
    model = (*_lookup(rows), float(saturation), parts, clip)
    call("raw_noise", clean, clean.contiguous(), out, CODES[clean.dtype], *clean.shape, *fields(source, clean), *model)
    return out


def exposure_step(
    output: Tensor, original: Tensor, rows: Tensor, counts: Tensor | None, source: Source | None
) -> Tensor:
    """c (b clamp(original) + n), n ~ Poisson(a clamp(output)), or the counts given, or with neither the mean."""
    out = like(output)
    inputs, sizes = contiguous(output, original, counts), (CODES[output.dtype], *output.shape)
    drawn = (source is not None, *fields(source, output))
    call("exposure_step", output, *inputs, out, *sizes, *_lookup(rows), *drawn)
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
