"""Training batches in raw space; every draw is a function of (seed, epoch, position in the epoch)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lowlight_ext import RawNoiseParameters, raw_noise

from ...cameras.cameras import Camera
from ...cameras.noise_models import RATIO_RANGE, draw_parameters
from ...raw.files import RawPicture
from .cutting import generator
from .epochs import EpochBatches
from .prefetch import Request
from .raw_sources import CleanPictures, RealPairs

NOISE_STREAM = 1 << 15  # generator's stream of the sensor's noise, apart from those of the exposure process


@dataclass(frozen=True)
class NoiseDraws:
    """Whose noise is added to clean exposures: draw_parameters' arguments."""

    camera: Camera | Sequence[Camera]
    model: str = "P+G+r+u"
    ratio: float | tuple[float, float] = RATIO_RANGE
    K: float | tuple[float, float] | None = None

    def draw(self, generators: Sequence[np.random.Generator]) -> RawNoiseParameters:
        return draw_parameters(self.camera, self.model, generators, K=self.K, ratio=self.ratio)


@dataclass
class RawBatch:
    """clean: long exposures, packed [B, 4, h, w] float32 in [0, 1] (R, G1, B, G2 of RGGB). ratio, K: [B] float64, CPU.

    short: measured, times the ratio, clipped to [0, 1]; or noise: what `measured` adds to clean.
    pictures: what rendering each needs.
    """

    clean: Tensor
    ratio: Tensor
    K: Tensor
    short: Tensor | None
    noise: RawNoiseParameters | None
    pictures: list[RawPicture]

    def measured(self, seeds: Tensor, device: torch.device | str = "cpu") -> Tensor:
        """The short exposures, times the ratio, [B, 4, h, w] in [0, 1]; seeds: [B], of the noise to be added."""
        if self.short is not None:
            return self.short.to(device)
        assert self.noise is not None
        return raw_noise(self.clean.to(device), self.noise, seeds, stream=NOISE_STREAM)


class RawBatches(EpochBatches):
    """Batches from a source of clean exposures or pairs; those coming are made meanwhile in the background.

    Order: a permutation an epoch, drawn from (seed, epoch). Crop, flips, turns, development and noise parameters of a
    sample: from (seed, its number), the number being epoch * len(self) + position. `batch` is a pure function.

    noise: for clean exposures; real pairs have theirs. turn: quarter turns too. ahead: batches made in background
    threads before they are asked for. Raises ValueError where the source and noise do not go together.
    """

    def __init__(
        self,
        source: CleanPictures | RealPairs,
        seed: int = 0,
        *,
        noise: NoiseDraws | None = None,
        turn: bool = False,
        ahead: int = 4,
    ):
        if (noise is None) != isinstance(source, RealPairs):
            raise ValueError("RawBatches: clean exposures need noise, real pairs take none")
        super().__init__(seed, len(source), ahead)
        self.source, self.noise, self.turn = source, noise, turn

    def batch(self, first: int, count: int, *, shrink: int = 1, crop: int | None = None) -> RawBatch:
        """Samples first .. first + count - 1, crops of crop x crop packed pixels; shrink: of sRGB pictures.

        Raises ValueError for arguments out of range, without a crop, and as the source does.
        """
        if first < 0 or count < 1 or shrink < 1 or crop is None or crop < 1:
            raise ValueError(
                "RawBatches.batch: first must be 0 or more, count, shrink and crop 1 or more, "
                f"got {first}, {count}, {shrink}, {crop}"
            )
        return self._prefetch.get(Request(first, count, shrink, crop))

    def _make(self, request: Request) -> RawBatch:
        first, count, shrink, crop = request
        assert crop is not None  # batch asks for one
        cuts = self._read(
            first, count, lambda index, n: self.source.cut(index, generator(self.seed, 2, n), crop, shrink, self.turn)
        )[1]
        clean, pictures = torch.from_numpy(np.stack([cut.clean for cut in cuts])), [cut.picture for cut in cuts]
        if self.noise is not None:
            noise = self.noise.draw([generator(self.seed, 3, n) for n in range(first, first + count)])
            return RawBatch(clean, torch.as_tensor(noise.ratio), torch.as_tensor(noise.K), None, noise, pictures)
        short = torch.from_numpy(np.stack([cut.short for cut in cuts if cut.short is not None]))
        ratio, K = (torch.tensor([getattr(cut, name) for cut in cuts], dtype=torch.float64) for name in ("ratio", "K"))
        return RawBatch(clean, ratio, K, short, None, pictures)
