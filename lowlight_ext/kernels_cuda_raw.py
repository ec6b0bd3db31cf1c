"""The raw-space operators on CUDA tensors: tensors -> addresses, as in kernels_cuda.py, and as there without waiting.

What only a look at values would find gives NaN: a mean that is none, parameters beyond their ranges.
"""

import math

import torch
from torch import Tensor

from lowlight_ext import kernels_cuda
from lowlight_ext.kernels_cpp import CODES, _address, _contiguous, _same
from lowlight_ext.kernels_cuda import _results, _source


def poisson(mean, seeds, stream, y0, x0, plane) -> Tensor:
    """Poisson counts of means [B, C, H, W], in their dtype; NaN where a mean is not in [0, 1e7]."""
    _same("poisson", mean, kernels_cuda.DEVICE_TYPE)
    (mean,) = _contiguous(mean)
    seeds, source = _source(seeds, mean, stream, y0, x0, plane)
    (out,) = _results(mean, (True,))
    addresses = (mean.data_ptr(), out.data_ptr())
    kernels_cuda._launch(
        kernels_cuda._C.cuda_poisson, mean.device, *addresses, CODES[mean.dtype], tuple(mean.shape), source
    )
    return out


def tukey_lambda(shape, seeds, lam, stream, y0, x0, plane, dtype, device) -> Tensor:
    """Tukey-lambda noise of shape [B, C, H, W]."""
    out = torch.empty(shape, dtype=dtype, device=device)
    _same("tukey_lambda", out, kernels_cuda.DEVICE_TYPE)
    seeds, source = _source(seeds, out, stream, y0, x0, plane)
    place = (out.data_ptr(), CODES[dtype], tuple(shape), source)
    kernels_cuda._launch(kernels_cuda._C.cuda_tukey_lambda, out.device, *place, lam)
    return out


def _rows(op: str, rows: Tensor, width: int, like: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """-> (float64 rows, to be kept until the launch; their address and the step from one sample's row to the next)."""
    if rows.dim() != 2 or rows.shape[0] not in (1, like.shape[0]) or rows.shape[1] != width:
        raise ValueError(f"{op}: rows must be [1 or {like.shape[0]}, {width}], got {tuple(rows.shape)}")
    if rows.device != like.device:
        raise ValueError(f"{op}: rows must be on {like.device}, got {rows.device}")
    rows = rows.double().contiguous()
    return rows, (rows.data_ptr(), 0 if rows.shape[0] == 1 else 1)


def raw_noise(clean, rows, parts, saturation, clip, seeds, stream, y0, x0, plane) -> Tensor:
    """Clean raw [B, 4, H, W] -> noisy raw; rows (K, ratio, g_scale, G_scale, G_shape, R_scale)."""
    _same("raw_noise", clean, kernels_cuda.DEVICE_TYPE)
    (clean,) = _contiguous(clean)
    rows, table = _rows("raw_noise", rows, 6, clean)
    seeds, source = _source(seeds, clean, stream, y0, x0, plane)
    (out,) = _results(clean, (True,))
    place = (clean.data_ptr(), out.data_ptr(), CODES[clean.dtype], tuple(clean.shape), source)
    kernels_cuda._launch(kernels_cuda._C.cuda_raw_noise, clean.device, *place, table, saturation, parts, clip)
    return out


def exposure_step(output, original, rows, counts, seeds, stream, y0, x0, plane) -> Tensor:
    """c (b clamp(original) + n), n ~ Poisson(a clamp(output)), or the counts given, or with neither the mean."""
    _same("exposure_step", output, kernels_cuda.DEVICE_TYPE, original=original, counts=counts)
    inputs = _contiguous(output, original, counts)
    rows, table = _rows("exposure_step", rows, 3, output)
    seeds, source = (None, None) if seeds is None else _source(seeds, output, stream, y0, x0, plane)
    (out,) = _results(output, (True,))
    tensors = [_address(x) for x in (*inputs, out)]
    sizes = (CODES[output.dtype], tuple(output.shape))
    kernels_cuda._launch(kernels_cuda._C.cuda_exposure_step, output.device, tensors, *sizes, table, source)
    return out


def exposure_step_backward(grad, output, original, rows, needed=(True, True)) -> tuple[Tensor | None, ...]:
    """Gradients to output and original where `needed`."""
    _same("exposure_step", grad, kernels_cuda.DEVICE_TYPE, output=output, original=original)
    inputs = _contiguous(grad, output, original)
    rows, table = _rows("exposure_step", rows, 3, grad)
    results = _results(grad, needed)
    tensors = [_address(x) for x in (*inputs, *results)]
    sizes = (CODES[grad.dtype], grad.shape[0], math.prod(grad.shape[1:]))
    kernels_cuda._launch(kernels_cuda._C.cuda_exposure_step_backward, grad.device, tensors, *sizes, table)
    return results
