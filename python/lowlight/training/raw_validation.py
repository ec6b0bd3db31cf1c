"""Scores of a training's averaged weights on a few crops of packed raw, in both protocols."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.batches.raw_batches import RawBatches
from ..files.contact_sheet import ContactSheet
from ..metrics.scores import psnr
from ..raw.files import RawPicture
from ..raw.render import render
from ..systems.exposurediffusion.system import ExposureDiffusion

SCORES = ("psnr_blind", "psnr_paper", "psnr_input")


class RawValidator:
    """The first crops that batches give, measured with noise of their numbers: the same at every call."""

    def __init__(self, batches: RawBatches, count: int, crop: int, shrink: int = 1):
        self._batches, self._crop, self._shrink = batches, crop, shrink
        self._count = min(count, len(batches))

    @property
    def better(self) -> dict[str, str]:
        return dict.fromkeys(SCORES, "higher")

    def __len__(self) -> int:
        return self._count

    def sentence(self, scores: dict[str, float]) -> str:
        """The scores in words."""
        return (
            f"PSNR of raw {scores['psnr_blind']:.2f} dB (blind protocol), {scores['psnr_paper']:.2f} dB (paper "
            f"protocol), {scores['psnr_input']:.2f} dB of the input, on {len(self)} crops"
        )

    def __call__(self, system: ExposureDiffusion, sheet: Path, seed: int = 0) -> dict[str, float]:
        """Mean PSNR of the crops, of both protocols and of the input; writes them, rendered, to `sheet`."""
        pictures = ContactSheet(width=400)
        rows = []
        for n in range(self._count):
            batch = self._batches.batch(n, 1, shrink=self._shrink, crop=self._crop)
            clean, low = batch.clean.to(system.device), batch.measured(torch.tensor([n]), system.device)
            settings: dict[str, Any] = {"ratio": batch.ratio, "K": batch.K, "seed": seed}
            blind = system.enhance_tensor(low, **settings)
            paper = system.enhance_tensor(low, protocol="paper", target=clean, **settings)
            rows.append([psnr(x, clean, rounded=False).item() for x in (blind, paper, low)])
            shown = {"input": low, "blind": blind, "truth": clean}
            name = f"{n}: ratio {batch.ratio.item():.0f}, K {batch.K.item():.2g}"
            pictures.add(name, {label: _shown(x, batch.pictures[0]) for label, x in shown.items()})
        pictures.write(sheet)
        return dict(zip(SCORES, map(statistics.fmean, zip(*rows, strict=True)), strict=True))


def _shown(packed: Tensor, picture: RawPicture) -> Tensor:
    return torch.from_numpy(render(packed[0].float().cpu().numpy(), picture, demosaic=False))
