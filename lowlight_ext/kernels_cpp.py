"""Tensors -> addresses for the CPU kernels of the compiled module `_C` (kernels_cuda.py: the CUDA kernels).

Signatures are those of lowlight_ext.reference. Inputs of any layout are made contiguous, outputs are fresh and
contiguous.
"""

import functools
import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lowlight_ext.unbuilt import warn_of_unbuilt_sources

try:
    from lowlight_ext import _C
except ImportError as error:
    # not built (then the record below says why), or built for another Python or machine
    _C, _import_error = None, str(error)
    warn_of_unbuilt_sources(Path(__file__).parent)

CODES = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 3}
NORMS = ("group_norm_silu", "mish_instance_norm", "layer_norm2d", "simple_gate")
_BASIC = ("normal", "uniform", "philox", "haar_dwt2d", "haar_idwt2d", "diffusion_step", "anchored_q_sample")
_RAW = ("poisson", "tukey_lambda", "raw_noise", "exposure_step")
OPERATORS = {
    "cpu": (*_BASIC, *_RAW, *NORMS),
    "cuda": (*_BASIC, *_RAW, *NORMS),
}
# from this size on an output asks for huge pages: 512 times fewer page faults when it is first written
HUGE_BYTES = 1 << 22


@functools.cache
def recorded() -> dict:
    """What setup.py wrote down: the requested build, what was built, and for each part missing the reason."""
    path = Path(__file__).with_name("_build_info.json")
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        reason = "lowlight_ext was not installed by its setup.py, no build is recorded"
        return {"requested": None, "built": [], "reason": {"cpu": reason, "cuda": reason}}


@functools.cache
def available(device_type: str, op: str) -> str | None:
    """None where a compiled kernel of `op` serves tensors on this kind of device, or the reason why none does."""
    if device_type not in OPERATORS:
        return f"there are no compiled kernels for {device_type} tensors"
    if _C is None:
        return recorded()["reason"].get("cpu", f"the compiled module could not be imported: {_import_error}")
    if op not in OPERATORS[device_type]:
        return f"{op} has no compiled {device_type} kernel yet"
    if device_type == "cuda":
        if not hasattr(_C, "cuda_haar_forward"):
            return "built without CUDA: " + recorded()["reason"].get("cuda", "no reason was recorded")
        if not torch.cuda.is_available():
            return "compiled, but torch finds no CUDA device"
    return None


def build_info() -> dict:
    """What was asked for and built, by which compiler, for which CPU levels, and which level is in use."""
    info = dict(recorded())
    if _C is None:
        return info | {"loaded": False, "import_error": _import_error}
    info |= {"loaded": True, **_C.build_info()}
    if hasattr(_C, "cuda_runtime_version"):
        version = _C.cuda_runtime_version()
        info["cuda_runtime"] = f"{version // 1000}.{version % 1000 // 10}"
    return info


def _source(seeds: Tensor, channels: int, stream: int, y0: int, x0: int, plane: int) -> tuple[Tensor, tuple]:
    """-> (int64 seeds on the CPU, to be kept alive; where noise comes from, as _C takes it)."""
    seeds = seeds.to(device="cpu", dtype=torch.int64).contiguous()
    # one seed: planes run over the batch; one a sample: over its channels
    one = seeds.numel() == 1
    return seeds, (seeds.data_ptr(), 0 if one else 1, stream, y0, x0, plane, channels if one else 0)


def _empty(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    out = torch.empty(shape, dtype=dtype, device=device)
    if device.type == "cpu" and out.nbytes >= HUGE_BYTES:
        _C.advise_huge_pages(out.data_ptr(), out.nbytes)
    return out


def _like(x: Tensor) -> Tensor:
    return _empty(x.shape, x.dtype, x.device)


def _address(x: Tensor | None) -> int:
    return 0 if x is None else x.data_ptr()


def _contiguous(*tensors: Tensor | None) -> list[Tensor | None]:
    return [None if x is None else x.contiguous() for x in tensors]


def _same(op: str, like: Tensor, device_type: str, **tensors: Tensor | None) -> None:
    """Every tensor has the shape, dtype and device of `like`: a wrong one would be read beyond its end."""
    if like.dtype not in CODES:
        raise ValueError(f"{op}: takes float32, float64, float16 or bfloat16, got {like.dtype}")
    if like.device.type != device_type:
        raise ValueError(f"{op}: the compiled kernel takes tensors on {device_type}, got {like.device}")
    for name, x in tensors.items():
        if x is not None and (x.shape, x.dtype, x.device) != (like.shape, like.dtype, like.device):
            expected = f"{tuple(like.shape)} {like.dtype} on {like.device}"
            raise ValueError(f"{op}: {name} must be {expected}, got {tuple(x.shape)} {x.dtype} on {x.device}")


def _noise(normal: bool, shape, seeds, stream, y0, x0, plane, dtype, device) -> Tensor:
    op = "normal" if normal else "uniform"
    if len(shape) != 4 or seeds.numel() not in (1, shape[0]):
        raise ValueError(f"{op}: takes [B, C, H, W] and 1 or B seeds, got {tuple(shape)} and {seeds.numel()}")
    out = _empty(shape, dtype, torch.device(device))
    _same(op, out, "cpu")
    seeds, source = _source(seeds, shape[1], stream, y0, x0, plane)
    _C.noise(out.data_ptr(), CODES[dtype], normal, tuple(shape), source)
    return out


def normal(shape, seeds, stream, y0, x0, plane, dtype, device) -> Tensor:
    """Standard normals of shape [B, C, H, W]; seeds int64 [1] (planes run over the batch) or [B]."""
    return _noise(True, shape, seeds, stream, y0, x0, plane, dtype, device)


def uniform(shape, seeds, stream, y0, x0, plane, dtype, device) -> Tensor:
    """Uniforms in (0, 1) of shape [B, C, H, W]; arguments as `normal`."""
    return _noise(False, shape, seeds, stream, y0, x0, plane, dtype, device)


def philox(counter: Tensor, key: Tensor) -> Tensor:
    """Words [..., 4] of counter [..., 4] and key [..., 2]; int64 whose low 32 bits count."""
    shapes = (counter.shape[-1:], key.shape[-1:], counter.shape[:-1])
    if shapes != ((4,), (2,), key.shape[:-1]) or {counter.dtype, key.dtype} != {torch.int64}:
        raise ValueError(f"philox: takes int64 [..., 4] and [..., 2], got {tuple(counter.shape)}, {tuple(key.shape)}")
    counter, key = _contiguous(counter, key)
    words = torch.empty_like(counter)
    _C.philox(counter.data_ptr(), key.data_ptr(), words.data_ptr(), counter.numel() // 4)
    return words


def _haar(inverse: bool, image: Tensor, ll: Tensor, details: Sequence[Tensor], affine: bool) -> None:
    """One pass over `image` [..., H, W] and its bands; the finest details come first."""
    height, width = image.shape[-2:]
    planes = math.prod(image.shape[:-2])
    addresses = [x.data_ptr() for x in details]
    sizes = (CODES[image.dtype], planes, height, width, affine)
    (_C.haar_inverse if inverse else _C.haar_forward)(image.data_ptr(), ll.data_ptr(), addresses, *sizes)


def haar_dwt2d(x: Tensor, normalise: bool = False) -> Tensor:
    """[..., H, W] -> [4, ..., H/2, W/2]: the bands LL, HL, LH, HH of x, or of 2x - 1."""
    _same("haar_dwt2d", x, "cpu")
    *batch, height, width = x.shape
    x = x.contiguous()
    bands = _empty((4, *batch, height // 2, width // 2), x.dtype, x.device)
    _haar(False, x, bands[0], [bands[1:]], normalise)
    return bands


def haar_idwt2d(bands: Tensor, denormalise: bool = False) -> Tensor:
    """[4, ..., h, w] -> [..., 2h, 2w]: the inverse y, or clamp((y + 1) / 2, 0, 1)."""
    _same("haar_idwt2d", bands, "cpu")
    four, *batch, height, width = bands.shape
    if four != 4:
        raise ValueError(f"haar_idwt2d: bands must be [4, ..., h, w], got {tuple(bands.shape)}")
    bands = bands.contiguous()
    image = _empty((*batch, 2 * height, 2 * width), bands.dtype, bands.device)
    _haar(True, image, bands[0], [bands[1:]], denormalise)
    return image


def haar_wavedec2d(x: Tensor, levels: int, normalise: bool = False) -> list[Tensor]:
    """[LL, details coarsest .. finest] of x [..., H, W], or of 2x - 1; up to three levels in one pass over memory."""
    _same("haar_wavedec2d", x, "cpu")
    *batch, height, width = x.shape
    x, details = x.contiguous(), []
    while len(details) < levels:
        now = min(levels - len(details), _C.max_levels)
        depths = range(len(details) + 1, len(details) + now + 1)
        bands = [_empty((3, *batch, height >> d, width >> d), x.dtype, x.device) for d in depths]
        ll = _empty((*batch, height >> depths[-1], width >> depths[-1]), x.dtype, x.device)
        _haar(False, x, ll, bands, normalise and not details)
        x, details = ll, details + bands
    return [x, *reversed(details)]


def haar_waverec2d(coefficients: Sequence[Tensor], denormalise: bool = False) -> Tensor:
    """The inverse of haar_wavedec2d, or clamp((y + 1) / 2, 0, 1) of it; up to three levels in one pass over memory."""
    ll, *details = _contiguous(*coefficients)
    _same("haar_waverec2d", ll, "cpu")
    *batch, height, width = ll.shape
    for level, bands in enumerate(details):
        expected = (3, *batch, height << level, width << level)
        if bands.shape != expected or bands.dtype != ll.dtype:
            raise ValueError(f"haar_waverec2d: details must be {expected} {ll.dtype}, got {tuple(bands.shape)}")
    while details:
        now, details = details[: _C.max_levels], details[_C.max_levels :]
        image = _empty((*batch, ll.shape[-2] << len(now), ll.shape[-1] << len(now)), ll.dtype, ll.device)
        _haar(True, image, ll, now[::-1], denormalise and not details)
        ll = image
    return ll


def _table(rows: Tensor, t: Tensor | None, like: Tensor) -> tuple[Tensor, Tensor | None, tuple[int, int, int]]:
    """-> (rows in the accumulator's dtype, times, (address, count, step from one sample's row to the next))."""
    rows = rows.to(torch.float64 if like.dtype == torch.float64 else torch.float32).contiguous()
    if rows.dim() != 2 or rows.shape[1] != 8 or rows.device.type != "cpu":
        raise ValueError(f"diffusion_step: rows must be [n, 8] on the CPU, got {tuple(rows.shape)} on {rows.device}")
    _times("diffusion_step", t, like)
    if t is None and rows.shape[0] not in (1, like.shape[0]):
        raise ValueError(f"diffusion_step: takes 1 or {like.shape[0]} rows without t, got {rows.shape[0]}")
    t = None if t is None else t.contiguous()
    return rows, t, (rows.data_ptr(), rows.shape[0], 0 if rows.shape[0] == 1 else 1)


def _times(op: str, t: Tensor | None, like: Tensor) -> None:
    if t is not None and (t.dtype, t.shape, t.device.type) != (torch.int64, like.shape[:1], "cpu"):
        raise ValueError(f"{op}: t must be int64 [{like.shape[0]}] on the CPU, got {t.dtype} {tuple(t.shape)}")


def diffusion_step(
    x_t, eps, rows, t, center, x0_previous, noise, seeds, stream, y0, x0, plane, lo, hi, return_x0
) -> tuple[Tensor, Tensor | None]:
    """x0 = clamp(p x_t + q eps), x' = a x0 + b x_t + c phi + d eps + e x0_previous + s z; -> (x', x0 or None)."""
    _same("diffusion_step", x_t, "cpu", eps=eps, center=center, x0_previous=x0_previous, noise=noise)
    inputs = _contiguous(x_t, eps, center, x0_previous, noise)
    rows, t, table = _table(rows, t, x_t)
    seeds, source = (None, None) if seeds is None else _source(seeds, x_t.shape[1], stream, y0, x0, plane)
    out, estimate = _like(x_t), _like(x_t) if return_x0 else None
    tensors = [_address(x) for x in (*inputs, out, estimate)]
    bounds = (-math.inf, math.inf) if lo is None else (lo, hi)
    _C.step(tensors, CODES[x_t.dtype], tuple(x_t.shape), table, _address(t), source, *bounds)
    return out, estimate


def diffusion_step_backward(
    grad, grad_x0, x_t, eps, rows, t, lo, hi, needed=(True, True, True, True)
) -> tuple[Tensor | None, ...]:
    """Gradients to x_t, eps, center and x0_previous where `needed`; the clamp passes them on its bounds."""
    _same("diffusion_step", grad, "cpu", grad_x0=grad_x0, x_t=x_t, eps=eps)
    inputs = _contiguous(grad, grad_x0, x_t, eps)
    rows, t, table = _table(rows, t, grad)
    results = tuple(_like(grad) if wanted else None for wanted in needed)
    tensors = [_address(x) for x in (*inputs, *results)]
    per_sample = math.prod(grad.shape[1:])
    clip = (False, 0.0, 0.0) if lo is None else (True, lo, hi)
    _C.step_backward(tensors, CODES[grad.dtype], grad.shape[0], per_sample, table, _address(t), *clip)
    return results


def _alpha_bar(alpha_bar: Tensor, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    _times("anchored_q_sample", t, like)
    if alpha_bar.dim() != 1 or alpha_bar.device.type != "cpu":
        raise ValueError(f"anchored_q_sample: alpha_bar must be [T] on the CPU, got {tuple(alpha_bar.shape)}")
    return alpha_bar.double().contiguous(), t.contiguous()


def anchored_q_sample(
    x0, t, alpha_bar, center, noise, seeds, stream, y0, x, plane, return_noise
) -> tuple[Tensor, Tensor | None]:
    """x_t = sqrt(ab_t) x0 + sqrt(1 - ab_t) n with n = noise + k_t (2 center - 1); -> (x_t, n or None)."""
    _same("anchored_q_sample", x0, "cpu", center=center, noise=noise)
    alpha_bar, t = _alpha_bar(alpha_bar, t, x0)
    inputs = _contiguous(x0, center, noise)
    seeds, source = (None, None) if seeds is None else _source(seeds, x0.shape[1], stream, y0, x, plane)
    x_t, anchored = _like(x0), _like(x0) if return_noise else None
    tensors = [_address(v) for v in (*inputs, x_t, anchored)]
    table = (alpha_bar.data_ptr(), alpha_bar.shape[0])
    _C.q_sample(tensors, CODES[x0.dtype], tuple(x0.shape), *table, t.data_ptr(), source)
    return x_t, anchored


def anchored_q_sample_backward(grad, grad_noise, t, alpha_bar, needed=(True, True, True)) -> tuple[Tensor | None, ...]:
    """Gradients to x0, noise and center where `needed`."""
    _same("anchored_q_sample", grad, "cpu", grad_noise=grad_noise)
    alpha_bar, t = _alpha_bar(alpha_bar, t, grad)
    inputs = _contiguous(grad, grad_noise)
    results = tuple(_like(grad) if wanted else None for wanted in needed)
    tensors = [_address(v) for v in (*inputs, *results)]
    per_sample = math.prod(grad.shape[1:])
    table = (alpha_bar.data_ptr(), alpha_bar.shape[0])
    _C.q_sample_backward(tensors, CODES[grad.dtype], grad.shape[0], per_sample, *table, t.data_ptr())
    return results
