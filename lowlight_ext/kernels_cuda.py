"""Tensors -> addresses for the CUDA kernels of the compiled module `_C`, with the signatures of lowlight_ext.reference.

A call runs on the device of its tensors and on torch's current stream there. Between the launch and the caller there
is no copy to the host and no waiting: rows, times and seeds that lie on the device are read there, an int seed goes
along by value. So a CUDA graph can record every call, after one call outside the graph has loaded the kernel.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lowlight_ext.kernels_cpp import _C, CODES, _address, _contiguous, _same

DEVICE_TYPE = "cuda"


def _launch(kernel: Callable, device: torch.device, *arguments) -> None:
    """Call `kernel` with torch's current stream of `device`, and give the device back that was current."""
    with torch.cuda.device(device):
        kernel(*arguments, (torch.cuda.current_device(), torch.cuda.current_stream().cuda_stream))


def _source(seeds: Tensor, like: Tensor, stream: int, y0: int, x0: int, plane: int) -> tuple[Tensor | None, tuple]:
    """-> (seeds on the device, to be kept until the launch, or None; where noise comes from, as _C takes it)."""
    if seeds.dtype != torch.int64 or seeds.numel() not in (1, like.shape[0]):
        raise ValueError(f"noise: takes 1 or {like.shape[0]} int64 seeds, got {seeds.numel()} {seeds.dtype}")
    # one seed: planes run over the batch; one a sample: over its channels
    one = seeds.numel() == 1
    value = int(seeds[0]) if one and seeds.device.type == "cpu" else 0
    on_device = None if one and seeds.device.type == "cpu" else seeds.to(like.device).contiguous()
    planes = (plane, like.shape[1] if one else 0)
    return on_device, (_address(on_device), 0 if one else 1, stream, y0, x0, *planes, value)


def _noise(normal: bool, shape, seeds, stream, y0, x0, plane, dtype, device) -> Tensor:
    op = "normal" if normal else "uniform"
    if len(shape) != 4:
        raise ValueError(f"{op}: takes [B, C, H, W], got {tuple(shape)}")
    out = torch.empty(shape, dtype=dtype, device=device)
    _same(op, out, DEVICE_TYPE)
    seeds, source = _source(seeds, out, stream, y0, x0, plane)
    _launch(_C.cuda_noise, out.device, out.data_ptr(), CODES[dtype], normal, tuple(shape), source)
    return out


def normal(shape, seeds, stream, y0, x0, plane, dtype, device) -> Tensor:
    """Standard normals of shape [B, C, H, W]; seeds int64 [1] (planes run over the batch) or [B], on any device."""
    return _noise(True, shape, seeds, stream, y0, x0, plane, dtype, device)


def uniform(shape, seeds, stream, y0, x0, plane, dtype, device) -> Tensor:
    """Uniforms in (0, 1) of shape [B, C, H, W]; arguments as `normal`."""
    return _noise(False, shape, seeds, stream, y0, x0, plane, dtype, device)


def philox(counter: Tensor, key: Tensor) -> Tensor:
    """Words [..., 4] of counter [..., 4] and key [..., 2]; int64 whose low 32 bits count."""
    shapes = (counter.shape[-1:], key.shape[-1:], counter.shape[:-1], counter.device)
    if shapes != ((4,), (2,), key.shape[:-1], key.device) or {counter.dtype, key.dtype} != {torch.int64}:
        raise ValueError(f"philox: takes int64 [..., 4] and [..., 2], got {tuple(counter.shape)}, {tuple(key.shape)}")
    counter, key = _contiguous(counter, key)
    words = torch.empty_like(counter)
    _launch(_C.cuda_philox, counter.device, *(x.data_ptr() for x in (counter, key, words)), counter.numel() // 4)
    return words


def _haar(kernel: Callable, image: Tensor, bands: Tensor, affine: bool) -> None:
    *batch, height, width = image.shape
    addresses = (image.data_ptr(), bands[0].data_ptr(), bands[1:].data_ptr())
    _launch(kernel, image.device, *addresses, CODES[image.dtype], math.prod(batch), height, width, affine)


def haar_dwt2d(x: Tensor, normalise: bool = False) -> Tensor:
    """[..., H, W] -> [4, ..., H/2, W/2]: the bands LL, HL, LH, HH of x, or of 2x - 1."""
    _same("haar_dwt2d", x, DEVICE_TYPE)
    *batch, height, width = x.shape
    x = x.contiguous()
    bands = x.new_empty((4, *batch, height // 2, width // 2))
    _haar(_C.cuda_haar_forward, x, bands, normalise)
    return bands


def haar_idwt2d(bands: Tensor, denormalise: bool = False) -> Tensor:
    """[4, ..., h, w] -> [..., 2h, 2w]: the inverse y, or clamp((y + 1) / 2, 0, 1)."""
    _same("haar_idwt2d", bands, DEVICE_TYPE)
    four, *batch, height, width = bands.shape
    if four != 4:
        raise ValueError(f"haar_idwt2d: bands must be [4, ..., h, w], got {tuple(bands.shape)}")
    bands = bands.contiguous()
    image = bands.new_empty((*batch, 2 * height, 2 * width))
    _haar(_C.cuda_haar_inverse, image, bands, denormalise)
    return image


def _times(op: str, t: Tensor | None, like: Tensor) -> Tensor | None:
    if t is not None and (t.dtype, t.shape, t.device) != (torch.int64, like.shape[:1], like.device):
        expected = f"int64 [{like.shape[0]}] on {like.device}"
        raise ValueError(f"{op}: t must be {expected}, got {t.dtype} {tuple(t.shape)} on {t.device}")
    return None if t is None else t.contiguous()


def _table(rows: Tensor, t: Tensor | None, like: Tensor) -> tuple[Tensor, Tensor | None, tuple[int, int, int]]:
    """-> (rows in the accumulator's dtype, times, (address, count, step from one sample's row to the next))."""
    if rows.dim() != 2 or rows.shape[1] != 8 or rows.device != like.device:
        shape = tuple(rows.shape)
        raise ValueError(f"diffusion_step: rows must be [n, 8] on {like.device}, got {shape} on {rows.device}")
    if t is None and rows.shape[0] not in (1, like.shape[0]):
        raise ValueError(f"diffusion_step: takes 1 or {like.shape[0]} rows without t, got {rows.shape[0]}")
    rows = rows.to(torch.float64 if like.dtype == torch.float64 else torch.float32).contiguous()
    return rows, _times("diffusion_step", t, like), (rows.data_ptr(), rows.shape[0], 0 if rows.shape[0] == 1 else 1)


def _results(like: Tensor, wanted: Sequence[bool]) -> tuple[Tensor | None, ...]:
    return tuple(torch.empty(like.shape, dtype=like.dtype, device=like.device) if w else None for w in wanted)


def diffusion_step(
    x_t, eps, rows, t, center, x0_previous, noise, seeds, stream, y0, x0, plane, lo, hi, return_x0
) -> tuple[Tensor, Tensor | None]:
    """x0 = clamp(p x_t + q eps), x' = a x0 + b x_t + c phi + d eps + e x0_previous + s z; -> (x', x0 or None).

    A time outside the table, and s that is not 0 without noise, give NaN.
    """
    _same("diffusion_step", x_t, DEVICE_TYPE, eps=eps, center=center, x0_previous=x0_previous, noise=noise)
    inputs = _contiguous(x_t, eps, center, x0_previous, noise)
    rows, t, table = _table(rows, t, x_t)
    seeds, source = (None, None) if seeds is None else _source(seeds, x_t, stream, y0, x0, plane)
    out, estimate = _results(x_t, (True, return_x0))
    tensors = [_address(x) for x in (*inputs, out, estimate)]
    bounds = (-math.inf, math.inf) if lo is None else (lo, hi)
    code, shape = CODES[x_t.dtype], tuple(x_t.shape)
    _launch(_C.cuda_step, x_t.device, tensors, code, shape, table, _address(t), source, *bounds)
    return out, estimate


def diffusion_step_backward(
    grad, grad_x0, x_t, eps, rows, t, lo, hi, needed=(True, True, True, True)
) -> tuple[Tensor | None, ...]:
    """Gradients to x_t, eps, center and x0_previous where `needed`; the clamp passes them on its bounds."""
    _same("diffusion_step", grad, DEVICE_TYPE, grad_x0=grad_x0, x_t=x_t, eps=eps)
    inputs = _contiguous(grad, grad_x0, x_t, eps)
    rows, t, table = _table(rows, t, grad)
    results = _results(grad, needed)
    tensors = [_address(x) for x in (*inputs, *results)]
    sizes = (CODES[grad.dtype], grad.shape[0], math.prod(grad.shape[1:]))
    clip = (False, 0.0, 0.0) if lo is None else (True, lo, hi)
    _launch(_C.cuda_step_backward, grad.device, tensors, *sizes, table, _address(t), *clip)
    return results


def _alpha_bar(alpha_bar: Tensor, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    if alpha_bar.dim() != 1 or alpha_bar.device != like.device:
        got = f"{tuple(alpha_bar.shape)} on {alpha_bar.device}"
        raise ValueError(f"anchored_q_sample: alpha_bar must be [T] on {like.device}, got {got}")
    return alpha_bar.double().contiguous(), _times("anchored_q_sample", t, like)


def anchored_q_sample(
    x0, t, alpha_bar, center, noise, seeds, stream, y0, x, plane, return_noise
) -> tuple[Tensor, Tensor | None]:
    """x_t = sqrt(ab_t) x0 + sqrt(1 - ab_t) n with n = noise + k_t (2 center - 1); -> (x_t, n or None).

    A time beyond the table gives NaN.
    """
    _same("anchored_q_sample", x0, DEVICE_TYPE, center=center, noise=noise)
    alpha_bar, t = _alpha_bar(alpha_bar, t, x0)
    inputs = _contiguous(x0, center, noise)
    seeds, source = (None, None) if seeds is None else _source(seeds, x0, stream, y0, x, plane)
    results = _results(x0, (True, return_noise))
    tensors = [_address(v) for v in (*inputs, *results)]
    table = (alpha_bar.data_ptr(), alpha_bar.shape[0], t.data_ptr())
    _launch(_C.cuda_q_sample, x0.device, tensors, CODES[x0.dtype], tuple(x0.shape), *table, source)
    return results


def anchored_q_sample_backward(grad, grad_noise, t, alpha_bar, needed=(True, True, True)) -> tuple[Tensor | None, ...]:
    """Gradients to x0, noise and center where `needed`."""
    _same("anchored_q_sample", grad, DEVICE_TYPE, grad_noise=grad_noise)
    alpha_bar, t = _alpha_bar(alpha_bar, t, grad)
    inputs = _contiguous(grad, grad_noise)
    results = _results(grad, needed)
    tensors = [_address(v) for v in (*inputs, *results)]
    sizes = (CODES[grad.dtype], grad.shape[0], math.prod(grad.shape[1:]))
    table = (alpha_bar.data_ptr(), alpha_bar.shape[0], t.data_ptr())
    _launch(_C.cuda_q_sample_backward, grad.device, tensors, *sizes, *table)
    return results
