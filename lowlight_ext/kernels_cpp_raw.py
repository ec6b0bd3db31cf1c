"""The raw-space operators of the compiled module: tensors -> addresses, as in kernels_cpp.py."""

import math

import torch
from torch import Tensor

from lowlight_ext import kernels_cpp
from lowlight_ext.kernels_cpp import CODES, _address, _contiguous, _empty, _like, _same, _source


def poisson(mean, seeds, stream, y0, x0, plane) -> Tensor:
    """Poisson counts of means [B, C, H, W], in their dtype; ValueError on a mean that is none."""
    _same("poisson", mean, "cpu")
    (mean,) = _contiguous(mean)
    seeds, source = _source(seeds, mean.shape[1], stream, y0, x0, plane)
    out = _like(mean)
    wrong = kernels_cpp._C.poisson(mean.data_ptr(), out.data_ptr(), CODES[mean.dtype], tuple(mean.shape), source)
    if wrong:
        raise ValueError(f"poisson: mean must be in [0, 1e7], got {wrong} values that are not")
    return out


def tukey_lambda(shape, seeds, lam, stream, y0, x0, plane, dtype, device) -> Tensor:
    """Tukey-lambda noise of shape [B, C, H, W]."""
    out = _empty(shape, dtype, torch.device(device))
    _same("tukey_lambda", out, "cpu")
    seeds, source = _source(seeds, shape[1], stream, y0, x0, plane)
    kernels_cpp._C.tukey_lambda(out.data_ptr(), CODES[dtype], tuple(shape), source, lam)
    return out


def _rows(op: str, rows: Tensor, width: int, batch: int) -> tuple[Tensor, tuple[int, int]]:
    """-> (float64 rows, to be kept alive; their address and the step from one sample's row to the next)."""
    rows = rows.to(device="cpu", dtype=torch.float64).contiguous()
    if rows.dim() != 2 or rows.shape[0] not in (1, batch) or rows.shape[1] != width:
        raise ValueError(f"{op}: rows must be [1 or {batch}, {width}], got {tuple(rows.shape)}")
    return rows, (rows.data_ptr(), 0 if rows.shape[0] == 1 else 1)


def raw_noise(clean, rows, parts, saturation, clip, seeds, stream, y0, x0, plane) -> Tensor:
    """Clean raw [B, 4, H, W] -> noisy raw; rows (K, ratio, g_scale, G_scale, G_shape, R_scale)."""
    _same("raw_noise", clean, "cpu")
    (clean,) = _contiguous(clean)
    rows, table = _rows("raw_noise", rows, 6, clean.shape[0])
    seeds, source = _source(seeds, clean.shape[1], stream, y0, x0, plane)
    out = _like(clean)
    place = (clean.data_ptr(), out.data_ptr(), CODES[clean.dtype], tuple(clean.shape), source)
    kernels_cpp._C.raw_noise(*place, table, saturation, parts, clip)
    return out


def exposure_step(output, original, rows, counts, seeds, stream, y0, x0, plane) -> Tensor:
    """c (b clamp(original) + n), n ~ Poisson(a clamp(output)), or the counts given, or with neither the mean."""
    _same("exposure_step", output, "cpu", original=original, counts=counts)
    inputs = _contiguous(output, original, counts)
    rows, table = _rows("exposure_step", rows, 3, output.shape[0])
    seeds, source = (None, None) if seeds is None else _source(seeds, output.shape[1], stream, y0, x0, plane)
    out = _like(output)
    tensors = [_address(x) for x in (*inputs, out)]
    kernels_cpp._C.exposure_step(tensors, CODES[output.dtype], tuple(output.shape), table, source)
    return out


def exposure_step_backward(grad, output, original, rows, needed=(True, True)) -> tuple[Tensor | None, ...]:
    """Gradients to output and original where `needed`."""
    _same("exposure_step", grad, "cpu", output=output, original=original)
    inputs = _contiguous(grad, output, original)
    rows, table = _rows("exposure_step", rows, 3, grad.shape[0])
    results = tuple(_like(grad) if wanted else None for wanted in needed)
    tensors = [_address(x) for x in (*inputs, *results)]
    per_sample = math.prod(grad.shape[1:])
    kernels_cpp._C.exposure_step_backward(tensors, CODES[grad.dtype], grad.shape[0], per_sample, table)
    return results
