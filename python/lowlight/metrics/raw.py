"""Scores of packed raw, and of its rendering, as ELD's and ExposureDiffusion's evaluations take them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

RECIPE = (
    "PSNR and SSIM of values times 255, clipped and not rounded, data range 255, mean over pictures; SSIM: uniform "
    "window 7 x 7, sample covariance, no padding, mean of the channels. Raw: packed R, G1, B, G2. sRGB: both rendered "
    "with the short exposure's white balance and matrix, one colour a packed pixel, gamma 2.2."
)
_WINDOW = 7
_C1, _C2 = 0.01**2, 0.03**2


def psnr(result: Tensor, truth: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of pictures [C, h, w], clipped to [0, 1]; infinite for equal ones.

    Raises ValueError on shapes that differ and on NaN.
    """
    result, truth = _checked("psnr", result, truth)
    return -10 * (result - truth).square().mean().log10().item()


def ssim(result: Tensor, truth: Tensor) -> float:
    """Structural similarity (Wang et al. 2004) of pictures [C, h, w] with a uniform window; h and w at least 7.

    Raises ValueError as psnr does, and for smaller pictures.
    """
    result, truth = _checked("ssim", result, truth)
    if min(result.shape[1:]) < _WINDOW:
        raise ValueError(f"ssim: pictures must be at least {_WINDOW} x {_WINDOW}, got {tuple(result.shape)}")
    mean_x, mean_y, xx, yy, xy = (
        F.avg_pool2d(z[None], _WINDOW, 1)[0] for z in (result, truth, result**2, truth**2, result * truth)
    )
    count = _WINDOW**2
    sample = count / (count - 1)
    variance_x, variance_y = sample * (xx - mean_x**2), sample * (yy - mean_y**2)
    covariance = sample * (xy - mean_x * mean_y)
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    return (luminance * (2 * covariance + _C2) / (variance_x + variance_y + _C2)).mean().item()


def _checked(name: str, result: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """float64 on the CPU, clipped."""
    if result.shape != truth.shape or result.dim() != 3:
        shapes = f"{tuple(result.shape)} and {tuple(truth.shape)}"
        raise ValueError(f"{name}: result and truth must share a shape [C, h, w], got {shapes}")
    if result.isnan().any() or truth.isnan().any():
        raise ValueError(f"{name}: NaN in the {'result' if result.isnan().any() else 'truth'}")
    return result.detach().double().cpu().clamp(0, 1), truth.detach().double().cpu().clamp(0, 1)
