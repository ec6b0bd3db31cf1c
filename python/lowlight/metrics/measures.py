"""The list of what is measured of a result: a new measure is one entry, and is in every table and file from then on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

from torch import Tensor

from . import scores
from .lpips import RECIPE as LPIPS_RECIPE
from .lpips import Lpips

_RAW_RECIPE = (
    "PSNR and SSIM of values times 255, clipped and not rounded, data range 255, mean over pictures; SSIM: uniform "
    "window 7 x 7, sample covariance, no padding, mean of the channels. Raw: packed R, G1, B, G2. sRGB: both rendered "
    "with the short exposure's white balance and matrix, one colour a packed pixel, gamma 2.2."
)
# a result may be scored in several versions: the end of the measure's name, the version's title, how it is made
VERSIONS = {
    "": ("as it comes", ""),
    "_gt_mean": (
        "GT-mean",
        "GT-mean: the 8-bit result times mean(grey(truth)) / mean(grey(result)), clipped, to 8 bit again.",
    ),
    "_ls_gain": ("LS gain", "LS gain: times <result, truth> / <result, result> over entries with truth < 1 instead."),
    "_told": (
        "told",
        "Told: the model is told the mean of the truth (R, G and B) as the exposure that is wanted, and runs again; "
        "a dash where a method takes no exposure, for a gain on what it gave would be another thing.",
    ),
}


class View(NamedTuple):
    """A result [1, C, H, W] and its truth. space: "srgb", "raw" or "rendered" (of raw); version: of VERSIONS."""

    space: str
    version: str
    result: Tensor
    truth: Tensor


@dataclass(frozen=True)
class Measure:
    """name: in files. title: in tables, with so many digits. better: "higher", "lower" or "one" (nearest to 1).

    function(result, truth), or function(result) where needs_truth is false: [B, C, H, W] -> [B]. space: of the views
    that it is for. recipe: one sentence or more for whoever reads the figures.
    """

    name: str
    title: str
    digits: int
    better: str
    function: Callable[..., Tensor]
    recipe: str
    needs_truth: bool = True
    space: str = "srgb"

    def __call__(self, view: View) -> Tensor:
        return self.function(view.result, view.truth) if self.needs_truth else self.function(view.result)


_raw_psnr = partial(scores.psnr, rounded=False)
_raw_ssim = partial(scores.ssim, rounded=False, window="uniform")

MEASURES = (
    Measure("psnr", "PSNR", 2, "higher", scores.psnr, "PSNR: 8-bit RGB, data range 255, mean over pictures."),
    Measure(
        "ssim_rgb", "SSIM", 3, "higher", scores.ssim,
        "SSIM: 8-bit, Gaussian window 11 x 11, sigma 1.5, no padding, mean of R, G and B.",
    ),
    Measure(
        "ssim_grey", "SSIM grey", 3, "higher", partial(scores.ssim, channels="grey"),
        "SSIM grey: of 0.299 R + 0.587 G + 0.114 B.",
    ),
    Measure(
        "saturation", "saturation", 2, "one", scores.saturation,
        "Saturation: mean over pixels of (max - min) / max(max, 1 / 255) of R, G and B, over the truth's; 1 is right.",
    ),
    Measure("raw_psnr", "raw PSNR", 2, "higher", _raw_psnr, _RAW_RECIPE, space="raw"),
    Measure("raw_ssim", "raw SSIM", 4, "higher", _raw_ssim, _RAW_RECIPE, space="raw"),
    Measure("srgb_psnr", "sRGB PSNR", 2, "higher", _raw_psnr, _RAW_RECIPE, space="rendered"),
    Measure("srgb_ssim", "sRGB SSIM", 4, "higher", _raw_ssim, _RAW_RECIPE, space="rendered"),
)  # fmt: skip


def lpips_measure(lpips: Lpips) -> Measure:
    """LPIPS by a network that was found on the disk; of a truth that comes again its features are known."""
    features_of_truth = lru_cache(maxsize=1)(lambda truth: lpips.features(scores.eight_bit(truth)))

    def distance(result: Tensor, truth: Tensor) -> Tensor:
        return lpips.distance(lpips.features(scores.eight_bit(result)), features_of_truth(truth)).double().cpu()

    recipe = f"{LPIPS_RECIPE} Its AlexNet: {lpips.path.name}, SHA-256 {lpips.sha256[:8]}."
    return Measure("lpips", "LPIPS", 3, "lower", distance, recipe)


def picture_views(result: Tensor, truth: Tensor) -> list[View]:
    """A bright picture as it comes, with GT-mean and with the least-squares gain; [B, 3, H, W] in [0, 1] both."""
    corrected = scores.gt_mean(result, truth), scores.least_squares_gain(result, truth)
    return [View("srgb", v, x, truth) for v, x in zip(VERSIONS, (result, *corrected), strict=False)]


def score(views: Iterable[View], measures: Sequence[Measure] = MEASURES) -> dict[str, tuple[Measure, Tensor]]:
    """name -> measure and its values [B], in every view that it is for; the name is the measure's and the version's."""
    return {m.name + view.version: (m, m(view)) for view in views for m in measures if m.space == view.space}


def recipe_of(scored: Mapping[str, Measure]) -> str:
    """How the scores of these names are made: every measure's sentences, every version's."""
    measures = dict.fromkeys(m.recipe for m in scored.values())
    versions = dict.fromkeys(VERSIONS[name.removeprefix(m.name)][1] for name, m in scored.items())
    return " ".join(text for text in (*measures, *versions) if text)
