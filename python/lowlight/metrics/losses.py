"""Loss terms on pictures [B, C, H, W]; SSIM is also the score's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Gaussian of 11 entries, sigma 1.5, sum 1
_BELL = torch.exp(-((torch.arange(11, dtype=torch.float64) - 5) ** 2) / (2 * 1.5**2))
_WINDOW: list[float] = (_BELL / _BELL.sum()).tolist()

_SIDES = {"gaussian": 11, "uniform": 7}  # of SSIM's windows
_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # exponents of MS-SSIM, finest first


def _window_mean(x: Tensor, window: str) -> Tensor:
    """Weighted mean over the window around every valid position.

    The Gaussian's as sums of shifted pictures: 25 times faster on a CPU than matrix products, 15 times faster than a
    convolution.
    """
    if window == "uniform":
        return F.avg_pool2d(x, _SIDES[window], 1)
    for dim in (-1, -2):
        size = x.shape[dim] - 10
        total = x.narrow(dim, 0, size) * _WINDOW[0]
        for k in range(1, 11):
            total = total.add_(x.narrow(dim, k, size), alpha=_WINDOW[k])
        x = total
    return x


def ssim(x: Tensor, y: Tensor, *, data_range: float = 1.0, reduction: str = "mean", window: str = "gaussian") -> Tensor:
    """Structural similarity (Wang et al. 2004), no padding, K1 = 0.01, K2 = 0.03.

    x, y: [B, C, H, W] float, at least as large as the window. reduction "mean" or "none" (one value a picture, mean of
    channels). window: "gaussian", 11 x 11, sigma 1.5, or "uniform", 7 x 7, with sample covariance. Gradients to both.
    Raises ValueError on shapes that differ or are too small.
    """
    if window not in _SIDES:
        raise ValueError(f"ssim: window must be one of {', '.join(_SIDES)}, got {window!r}")
    side = _SIDES[window]
    if x.shape != y.shape or x.dim() != 4 or min(x.shape[-2:]) < side:
        raise ValueError(
            f"ssim: x and y must share a shape [B, C, H, W] of at least {side} x {side}, "
            f"got {tuple(x.shape)} and {tuple(y.shape)}"
        )
    if reduction not in ("mean", "none"):
        raise ValueError(f"ssim: reduction must be 'mean' or 'none', got {reduction!r}")
    luminance, contrast = _luminance_and_contrast(x, y, data_range, window)
    per_picture = (luminance * contrast).mean(dim=(1, 2, 3))
    return per_picture if reduction == "none" else per_picture.mean()


def ms_ssim(x: Tensor, y: Tensor, *, data_range: float = 1.0) -> Tensor:
    """Multi-scale structural similarity (Wang et al. 2003), five scales with 2 x 2 means between; the batch's mean.

    x, y: [B, C, H, W] float, H and W at least 176, which leaves 11 at the coarsest. Its negative factors, of pictures
    that have nothing in common, count as zero. Gradients to both. Raises ValueError as ssim does.
    """
    least = 11 * 2 ** (len(_SCALES) - 1)
    if x.shape != y.shape or x.dim() != 4 or min(x.shape[-2:]) < least:
        raise ValueError(
            f"ms_ssim: x and y must share a shape [B, C, H, W] of at least {least} x {least}, "
            f"got {tuple(x.shape)} and {tuple(y.shape)}"
        )
    total = x.new_ones(())
    for i, exponent in enumerate(_SCALES):
        luminance, contrast = _luminance_and_contrast(x, y, data_range)
        last = i + 1 == len(_SCALES)
        factor = (luminance * contrast if last else contrast).mean(dim=(2, 3))
        # a power below 1 has no gradient at zero
        total = total * factor.clamp(min=1e-6) ** exponent
        if not last:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return total.mean()


def _luminance_and_contrast(x: Tensor, y: Tensor, data_range: float, window: str = "gaussian") -> tuple[Tensor, Tensor]:
    """The two factors of SSIM, its luminance and its contrast with structure, at every position of the window."""
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    with torch.autocast(x.device.type, enabled=False):  # differences of moments need float32
        x, y = (z if z.dtype == torch.float64 else z.float() for z in (x, y))
        mean_x, mean_y, xx, yy, xy = (_window_mean(z, window) for z in (x, y, x * x, y * y, x * y))
    variance_x, variance_y, covariance = xx - mean_x**2, yy - mean_y**2, xy - mean_x * mean_y
    if window == "uniform":
        count = _SIDES[window] ** 2
        variance_x, variance_y, covariance = (z * (count / (count - 1)) for z in (variance_x, variance_y, covariance))
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return luminance, (2 * covariance + c2) / (variance_x + variance_y + c2)


def total_variation(x: Tensor) -> Tensor:
    """2 (sum dx^2 / (C H (W-1)) + sum dy^2 / (C (H-1) W)) / B of [B, C, H, W], as DiffLL's training uses it."""
    dy, dx = x[:, :, 1:] - x[:, :, :-1], x[:, :, :, 1:] - x[:, :, :, :-1]
    return 2 * (dx.square().sum() / dx[0].numel() + dy.square().sum() / dy[0].numel()) / x.shape[0]


def kl_loss(x: Tensor, target: Tensor) -> Tensor:
    """ExposureDiffusion's divergence of Poisson means: x ln(x / g) + g - x where both are at least 0.2, |x - g| else.

    x, target: one shape, in [0, 1]. The mean over all entries. Gradients to both.
    """
    bright = (x >= 0.2) & (target >= 0.2)
    # masked before the logarithm, whose gradient at 0 would be NaN
    p, g = torch.where(bright, x, 1), torch.where(bright, target, 1)
    return torch.where(bright, p * (p / g).log() + g - p, (x - target).abs()).mean()


def psnr_loss(x: Tensor, target: Tensor) -> Tensor:
    """The negative PSNR in dB of data in [0, 1], each picture's by itself, their mean (Chen et al., NAFNet, ECCV 2022).

    x, target: [B, C, h, w]. A picture counts by the factor, not by the amount, that its error falls: where a batch
    spans 30 dB of noise, other losses leave the clean ones to the noisy. Gradients to both; 80 dB is the most.
    """
    return 10 * ((x - target).square().mean(dim=(1, 2, 3)) + 1e-8).log10().mean()


def mixed_loss(out: Tensor, out_by_resid: Tensor, mask: Tensor, target: Tensor) -> Tensor:
    """ExposureDiffusion's auxiliary loss: each part of a mix to the target, weighted as it is mixed.

    out, out_by_resid, target: [B, C, h, w]; mask: [B, 1, h, w], the share of out. The mean over all entries.
    """
    return ((out - target).abs() * mask + (out_by_resid - target).abs() * (1 - mask)).mean()
