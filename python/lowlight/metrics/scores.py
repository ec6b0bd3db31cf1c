"""Scores of results against their ground truth: of sRGB pictures as their 8-bit files hold them, and of packed raw.

Pictures are [B, C, H, W] in [0, 1], any float type (what lies outside is clipped); every score is [B] float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .losses import ssim as structural_similarity

GREY_WEIGHTS = (0.299, 0.587, 0.114)  # BT.601, as OpenCV's RGB2GRAY
_LEVEL = 1 / 255


def eight_bit(picture: Tensor) -> Tensor:
    """The picture as an 8-bit file would hold it: clipped to [0, 1], rounded to k / 255, float64."""
    return picture.double().clamp(0, 1).mul(255).round().div(255)


def grey(picture: Tensor) -> Tensor:
    """0.299 R + 0.587 G + 0.114 B, [B, 3, H, W] -> [B, 1, H, W]."""
    weights = torch.tensor(GREY_WEIGHTS, dtype=picture.dtype, device=picture.device).view(1, 3, 1, 1)
    return (picture * weights).sum(dim=1, keepdim=True)


def psnr(result: Tensor, truth: Tensor, *, rounded: bool = True) -> Tensor:
    """Peak signal-to-noise ratio in dB, -10 log10 mean (x - y)^2, of the 8-bit pictures, or of those that are not
    rounded; infinite for equal ones. Raises ValueError on shapes that differ and on NaN."""
    result, truth = _checked("psnr", result, truth, rounded=rounded)
    return -10 * (result - truth).square().mean(dim=(1, 2, 3)).log10()


def mse(result: Tensor, truth: Tensor) -> Tensor:
    """Mean squared error of the pictures, clipped to [0, 1] and not rounded. Raises ValueError as psnr does."""
    result, truth = _checked("mse", result, truth, rounded=False)
    return (result - truth).square().mean(dim=(1, 2, 3))


def mean_shift(result: Tensor, truth: Tensor) -> Tensor:
    """[B, 3]: the result's mean less the truth's, of R, G and B; clipped to [0, 1] and not rounded."""
    result, truth = _checked("mean_shift", result, truth, rgb=True, rounded=False)
    return (result - truth).mean(dim=(2, 3))


def ssim(
    result: Tensor, truth: Tensor, *, channels: str = "all", rounded: bool = True, window: str = "gaussian"
) -> Tensor:
    """Structural similarity: the mean of the channels, or of the "grey" of RGB; see losses.ssim for the windows.

    Of the 8-bit pictures, or of those that are not rounded. With the Gaussian window computed in float32, which moves
    no score by more than 1e-5 and takes half the time of float64. Raises ValueError as psnr does, and for pictures that
    are smaller than the window.
    """
    if channels not in ("all", "grey"):
        raise ValueError(f"ssim: channels must be 'all' or 'grey', got {channels!r}")
    result, truth = _checked("ssim", result, truth, rgb=channels == "grey", rounded=rounded)
    if channels == "grey":
        result, truth = grey(result), grey(truth)
    if window == "gaussian":
        result, truth = result.float(), truth.float()
    return structural_similarity(result, truth, reduction="none", window=window).double()


def saturation(result: Tensor, truth: Tensor) -> Tensor:
    """The result's saturation over the truth's, 1 where they are alike: 0.6 is too pale, 1.4 too gaudy.

    A picture's saturation is the mean over its pixels of (max - min) / max(max, 1 / 255) of R, G and B in 8 bit, so
    that black has none; where it is below 1 / 255 it counts as that, so that grey against grey is 1.
    """
    ours, theirs = (
        ((x.amax(dim=1) - x.amin(dim=1)) / x.amax(dim=1).clamp(min=_LEVEL)).mean(dim=(1, 2)).clamp(min=_LEVEL)
        for x in _checked("saturation", result, truth, rgb=True)
    )
    return ours / theirs


def gt_mean(result: Tensor, truth: Tensor) -> Tensor:
    """The 8-bit result with the truth's mean grey: times mean(grey(truth)) / mean(grey(result)), clipped to [0, 1].

    Retinexformer's and HVI-CIDNet's correction; it uses the ground truth. A black result stays black.
    """
    result, truth = _checked("gt_mean", result, truth, rgb=True)
    return _gain(result, grey(truth).mean(dim=(1, 2, 3)), grey(result).mean(dim=(1, 2, 3)))


def least_squares_gain(result: Tensor, truth: Tensor) -> Tensor:
    """The 8-bit result times <result, truth> / <result, result>, one gain a picture, clipped to [0, 1].

    ExposureDiffusion's illuminance correction, whose sums leave out saturated entries (truth = 1); it uses the
    ground truth. A black result stays black.
    """
    result, truth = _checked("least_squares_gain", result, truth, rgb=True)
    seen = result * (truth != 1)
    return _gain(result, (seen * truth).sum(dim=(1, 2, 3)), (seen * result).sum(dim=(1, 2, 3)))


def _gain(picture: Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
    gain = torch.where(denominator > 0, numerator / denominator, torch.ones_like(numerator))
    return (picture * gain.view(-1, 1, 1, 1)).clamp(0, 1)


def _checked(
    name: str, result: Tensor, truth: Tensor, *, rgb: bool = False, rounded: bool = True
) -> tuple[Tensor, Tensor]:
    """Both in float64, clipped, and as 8-bit pictures where they are rounded; the one place that looks at them."""
    if result.shape != truth.shape or result.dim() != 4 or (rgb and result.shape[1] != 3):
        shapes = f"{tuple(result.shape)} and {tuple(truth.shape)}"
        wanted = f"[B, {3 if rgb else 'C'}, H, W]"
        raise ValueError(f"{name}: result and truth must share a shape {wanted}, got {shapes}")
    if not (result.is_floating_point() and truth.is_floating_point()):
        raise TypeError(f"{name}: result and truth must be floating point, got {result.dtype} and {truth.dtype}")
    for label, picture in (("result", result), ("truth", truth)):
        if picture.isnan().any():
            raise ValueError(f"{name}: {label} holds NaN")
    if rounded:
        return eight_bit(result), eight_bit(truth)
    return result.double().clamp(0, 1), truth.double().clamp(0, 1)
