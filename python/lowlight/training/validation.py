"""Scores of a training's averaged weights on a few pairs, with the pictures to look at."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ..data.sets.pairs import Pair
from ..files.contact_sheet import ContactSheet
from ..files.pictures import read_srgb
from ..metrics.lpips import Lpips, LpipsUnavailable
from ..metrics.measures import MEASURES, lpips_measure, picture_views, score
from ..systems.base import PictureSystem

SCORE = "score"  # of the published AnlightenDiff's validation


class Validates(Protocol):
    """What a training asks of a validator. system: of the class that its objective trains.

    better: its scores, and which way each is better ("higher", "lower" or "one").
    """

    @property
    def better(self) -> dict[str, str]: ...

    def __call__(self, system: Any, sheet: Path) -> dict[str, float]: ...

    def sentence(self, scores: dict[str, float]) -> str: ...


class Validator:
    """A few pairs, evenly spread over those given and held in memory; every call scores a system on them."""

    def __init__(self, pairs: list[Pair], count: int, lpips: bool = False):
        """lpips: score LPIPS (AlexNet) too, and 0.8 (1 - LPIPS) + 0.1 SSIM of grey + 0.1 PSNR.

        Raises ValueError where there is no pair, the sizes of one differ, or LPIPS is not there.
        """
        if not pairs:
            raise ValueError("Validator: no pairs of pictures were given")
        count = min(count, len(pairs))
        self._pictures = [_read(pairs[i * len(pairs) // count]) for i in range(count)]
        self._measures = [measure for measure in MEASURES if measure.space == "srgb"]
        if lpips:
            try:
                self._measures.append(lpips_measure(Lpips("alex")))
            except (LpipsUnavailable, OSError) as error:
                raise ValueError(f"validate_lpips: {error}") from None

    @property
    def better(self) -> dict[str, str]:
        """Columns of `lowlight evaluate` of a result as it comes, with GT-mean and with the least-squares gain."""
        columns = {m.name + end: m.better for end in ("", "_gt_mean", "_ls_gain") for m in self._measures}
        return columns | ({SCORE: "higher"} if "lpips" in columns else {})

    def __len__(self) -> int:
        return len(self._pictures)

    def sentence(self, scores: dict[str, float]) -> str:
        """The scores in words."""
        lpips = f", LPIPS {scores['lpips']:.3f}" if "lpips" in scores else ""
        return (
            f"PSNR {scores['psnr']:.2f} dB, GT-mean {scores['psnr_gt_mean']:.2f} dB, "
            f"SSIM {scores['ssim_rgb']:.3f}{lpips} on {len(self)} pairs"
        )

    def _enhanced(self, system: PictureSystem, low: Tensor, truth: Tensor, seed: int) -> Tensor:
        return system.enhance_tensor(low, seed=seed)

    def __call__(self, system: PictureSystem, sheet: Path, seed: int = 0) -> dict[str, float]:
        """Means of the scores in `better`; writes dark, result and truth side by side to `sheet`."""
        pictures = ContactSheet(width=600)
        rows = []
        for name, low, truth in self._pictures:
            target = truth[None]
            result = self._enhanced(system, low[None].to(system.device), target, seed).float().cpu()
            scored = score(picture_views(result, target), self._measures)
            rows.append({column: value.item() for column, (_, value) in scored.items()})
            pictures.add(name, {"dark": low, "result": result[0], "truth": truth})
        pictures.write(sheet)
        means = {column: statistics.fmean(row[column] for row in rows) for column in rows[0]}
        if "lpips" in means:
            means[SCORE] = 0.8 * (1 - means["lpips"]) + 0.1 * means["ssim_grey"] + 0.1 * means["psnr"]
        return means


def better_than(value: float, best: float, better: str) -> bool:
    """Whether a score is strictly better than another, by which way is better."""
    if better == "one":
        return abs(value - 1) < abs(best - 1)
    return value < best if better == "lower" else value > best


class ToldValidator(Validator):
    """Scores of a system that is told how bright the truth is: its mean over all pixels and channels."""

    def _enhanced(self, system: Any, low: Tensor, truth: Tensor, seed: int) -> Tensor:
        # not every system of pictures has the keyword
        return system.enhance_tensor(low, mean=truth.mean(dim=(1, 2, 3)).to(low), seed=seed)


def _read(pair: Pair) -> tuple[str, Tensor, Tensor]:
    low, high = (torch.from_numpy(read_srgb(path)).movedim(-1, 0) for path in (pair.low, pair.high))
    if low.shape != high.shape:
        sizes = f"{tuple(low.shape)}, {tuple(high.shape)}"
        raise ValueError(f"Validator: {pair.low} and {pair.high} differ in size: {sizes}")
    return pair.name, low, high
