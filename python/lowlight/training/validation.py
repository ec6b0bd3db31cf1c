"""Scores of a training's averaged weights on a few pairs, with the pictures to look at."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ..data.sets.pairs import Pair
from ..files.contact_sheet import ContactSheet
from ..files.pictures import read_picture
from ..metrics.scores import gt_mean, psnr, ssim
from ..systems.base import PictureSystem

SCORES = ("psnr", "psnr_gt_mean", "ssim")


class Validates(Protocol):
    """What a training asks of a validator. system: of the class that its objective trains."""

    def __call__(self, system: Any, sheet: Path) -> dict[str, float]: ...

    def sentence(self, scores: dict[str, float]) -> str: ...


class Validator:
    """A few pairs, evenly spread over those given and held in memory; every call scores a system on them."""

    def __init__(self, pairs: list[Pair], count: int):
        """Raises ValueError where there is no pair or the sizes of one differ."""
        if not pairs:
            raise ValueError("Validator: no pairs of pictures were given")
        count = min(count, len(pairs))
        self._pictures = [_read(pairs[i * len(pairs) // count]) for i in range(count)]

    def __len__(self) -> int:
        return len(self._pictures)

    def sentence(self, scores: dict[str, float]) -> str:
        """The scores in words."""
        return (
            f"PSNR {scores['psnr']:.2f} dB, GT-mean {scores['psnr_gt_mean']:.2f} dB, "
            f"SSIM {scores['ssim']:.3f} on {len(self)} pairs"
        )

    def _enhanced(self, system: PictureSystem, low: Tensor, truth: Tensor, seed: int) -> Tensor:
        return system.enhance_tensor(low, seed=seed)

    def __call__(self, system: PictureSystem, sheet: Path, seed: int = 0) -> dict[str, float]:
        """Mean psnr, psnr_gt_mean and ssim (RGB); writes dark, result and truth side by side to `sheet`."""
        pictures = ContactSheet(width=600)
        rows = []
        for name, low, truth in self._pictures:
            target = truth[None]
            result = self._enhanced(system, low[None].to(system.device), target, seed).float().cpu()
            rows.append((psnr(result, target), psnr(gt_mean(result, target), target), ssim(result, target)))
            pictures.add(name, {"dark": low, "result": result[0], "truth": truth})
        pictures.write(sheet)
        means = (statistics.fmean(value.item() for value in column) for column in zip(*rows, strict=True))
        return dict(zip(SCORES, means, strict=True))


class ToldValidator(Validator):
    """Scores of a system that is told how bright the truth is: its mean over all pixels and channels."""

    def _enhanced(self, system: Any, low: Tensor, truth: Tensor, seed: int) -> Tensor:
        # not every system of pictures has the keyword
        return system.enhance_tensor(low, mean=truth.mean(dim=(1, 2, 3)).to(low), seed=seed)


def _read(pair: Pair) -> tuple[str, Tensor, Tensor]:
    low, high = (torch.from_numpy(read_picture(path).rgb).movedim(-1, 0) for path in (pair.low, pair.high))
    if low.shape != high.shape:
        sizes = f"{tuple(low.shape)}, {tuple(high.shape)}"
        raise ValueError(f"Validator: {pair.low} and {pair.high} differ in size: {sizes}")
    return pair.name, low, high
