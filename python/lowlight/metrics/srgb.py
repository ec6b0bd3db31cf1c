"""Scores of brightened pictures against their ground truth, with the recipes in one place.

Every picture here is [B, 3, H, W] in [0, 1], RGB, any float type; every score is [B] float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .losses import ssim as structural_similarity

if TYPE_CHECKING:
    from .lpips import Lpips

GREY_WEIGHTS = (0.299, 0.587, 0.114)  # BT.601, as OpenCV's RGB2GRAY

RECIPE = (
    "PSNR: 8-bit RGB, data range 255, mean over pictures. "
    "SSIM: 8-bit, Gaussian window 11 x 11, sigma 1.5, no padding, mean of R, G and B; "
    "grey: of 0.299 R + 0.587 G + 0.114 B. "
    "GT-mean: the 8-bit result times mean(grey(truth)) / mean(grey(result)), clipped, to 8 bit again. "
    "LS gain: times <result, truth> / <result, result> over entries with truth < 1 instead."
)

# what is measured, the smaller the better for lpips alone, on which version of the result
MEASURES = ("psnr", "ssim_rgb", "ssim_grey", "lpips")
VARIANTS = ("", "_gt_mean", "_ls_gain")
SCORES = tuple(measure + variant for variant in VARIANTS for measure in MEASURES)


def eight_bit(picture: Tensor) -> Tensor:
    """The picture as an 8-bit file would hold it: clipped to [0, 1], rounded to k / 255, float64."""
    return picture.double().clamp(0, 1).mul(255).round().div(255)


def grey(picture: Tensor) -> Tensor:
    """0.299 R + 0.587 G + 0.114 B, [B, 3, H, W] -> [B, 1, H, W]."""
    weights = torch.tensor(GREY_WEIGHTS, dtype=picture.dtype, device=picture.device).view(1, 3, 1, 1)
    return (picture * weights).sum(dim=1, keepdim=True)


def psnr(result: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of the 8-bit pictures, -10 log10 mean (x - y)^2; infinite for equal ones."""
    result, truth = _checked("psnr", result, truth)
    return -10 * (result - truth).square().mean(dim=(1, 2, 3)).log10()


def ssim(result: Tensor, truth: Tensor, *, channels: str = "rgb") -> Tensor:
    """Structural similarity of the 8-bit pictures: channels "rgb" (mean of three) or "grey"; H and W at least 11.

    Computed in float32, which moves no score by more than 1e-5 and takes half the time of float64.
    """
    if channels not in ("rgb", "grey"):
        raise ValueError(f"ssim: channels must be 'rgb' or 'grey', got {channels!r}")
    result, truth = _checked("ssim", result, truth)
    if channels == "grey":
        result, truth = grey(result), grey(truth)
    return structural_similarity(result.float(), truth.float(), data_range=1.0, reduction="none").double()


def gt_mean(result: Tensor, truth: Tensor) -> Tensor:
    """The 8-bit result with the truth's mean grey: times mean(grey(truth)) / mean(grey(result)), clipped to [0, 1].

    Retinexformer's and HVI-CIDNet's correction; it uses the ground truth. A black result stays black.
    """
    result, truth = _checked("gt_mean", result, truth)
    return _gain(result, grey(truth).mean(dim=(1, 2, 3)), grey(result).mean(dim=(1, 2, 3)))


def least_squares_gain(result: Tensor, truth: Tensor) -> Tensor:
    """The 8-bit result times <result, truth> / <result, result>, one gain a picture, clipped to [0, 1].

    ExposureDiffusion's illuminance correction, whose sums leave out saturated entries (truth = 1); it uses the
    ground truth. A black result stays black.
    """
    result, truth = _checked("least_squares_gain", result, truth)
    seen = result * (truth != 1)
    return _gain(result, (seen * truth).sum(dim=(1, 2, 3)), (seen * result).sum(dim=(1, 2, 3)))


def score(result: Tensor, truth: Tensor, lpips: Lpips | None = None) -> dict[str, Tensor]:
    """Every one of SCORES, [B] each; lpips and its variants only where a network for them is given."""
    versions = (result, gt_mean(result, truth), least_squares_gain(result, truth))
    reference = lpips and lpips.features(eight_bit(truth))
    scores = {}
    for variant, picture in zip(VARIANTS, versions, strict=True):
        scores[f"psnr{variant}"] = psnr(picture, truth)
        scores[f"ssim_rgb{variant}"] = ssim(picture, truth)
        scores[f"ssim_grey{variant}"] = ssim(picture, truth, channels="grey")
        if lpips:
            distance = lpips.distance(lpips.features(eight_bit(picture)), reference)
            scores[f"lpips{variant}"] = distance.double().cpu()
    return scores


def _gain(picture: Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
    gain = torch.where(denominator > 0, numerator / denominator, torch.ones_like(numerator))
    return (picture * gain.view(-1, 1, 1, 1)).clamp(0, 1)


def _checked(name: str, result: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Both as 8-bit pictures; the one place that looks at their shapes."""
    if result.shape != truth.shape or result.dim() != 4 or result.shape[1] != 3:
        shapes = f"{tuple(result.shape)} and {tuple(truth.shape)}"
        raise ValueError(f"{name}: result and truth must share a shape [B, 3, H, W], got {shapes}")
    if not (result.is_floating_point() and truth.is_floating_point()):
        raise TypeError(f"{name}: result and truth must be floating point, got {result.dtype} and {truth.dtype}")
    for label, picture in (("result", result), ("truth", truth)):
        if picture.isnan().any():
            raise ValueError(f"{name}: {label} holds NaN")
    return eight_bit(result), eight_bit(truth)
