"""Training batches from pairs of pictures held in memory as 8-bit arrays; every draw is a function of (seed, step)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from .pairs import Pair


@dataclass
class Batch:
    """low, high: [B, 3, h, w] in [0, 1], the same crop and flip of both; whole: the dark pictures uncropped."""

    low: Tensor
    high: Tensor
    whole: Tensor


def _decode(path: Path) -> Tensor:
    with Image.open(path) as picture:
        return torch.from_numpy(np.asarray(picture.convert("RGB")).copy()).permute(2, 0, 1).contiguous()


class PairBatches:
    """All pairs, decoded once (uint8; LOL-v1 takes 0.7 GB). Pictures of one batch are cropped to one size.

    Order: a permutation a epoch, drawn from (seed, epoch). Crop and flips of a sample: from (seed, step, sample).
    Raises ValueError where a pair's two sizes differ.
    """

    def __init__(self, pairs: list[Pair], seed: int = 0):
        if not pairs:
            raise ValueError("PairBatches: no pairs of pictures were given")
        self.seed = seed
        self.pictures = []
        for pair in pairs:
            low, high = _decode(pair.low), _decode(pair.high)
            if low.shape != high.shape:
                raise ValueError(
                    f"PairBatches: {pair.low} and {pair.high} differ in size: {tuple(low.shape)}, {tuple(high.shape)}"
                )
            self.pictures.append((low, high))

    def __len__(self) -> int:
        return len(self.pictures)

    def indices(self, first: int, count: int) -> list[int]:
        """Picture numbers of the samples first .. first + count - 1 of the endless stream of epochs."""
        chosen = []
        for n in range(first, first + count):
            epoch, position = divmod(n, len(self))
            chosen.append(_rng(self.seed, 1, epoch).permutation(len(self))[position])
        return chosen

    def batch(self, first: int, count: int, *, shrink: int = 1, crop: int | None = None) -> Batch:
        """Samples first .. first + count - 1, shrunk by an integer (area average), cropped to crop x crop or whole."""
        lows, highs, wholes = [], [], []
        for n, index in zip(range(first, first + count), self.indices(first, count), strict=True):
            rng = _rng(self.seed, 2, n)
            pair = torch.stack(self.pictures[index]).float() / 255
            if shrink > 1:
                pair = F.avg_pool2d(pair, shrink)
            whole = pair[0]
            if crop is not None:
                y, x = (int(rng.integers(0, max(1, size - crop + 1))) for size in pair.shape[-2:])
                pair = pair[..., y : y + crop, x : x + crop]
            flips = [dim for dim in (-1, -2) if rng.random() < (0.5 if dim == -1 else 0.25)]
            low, high = pair.flip(flips) if flips else pair
            lows.append(low)
            highs.append(high)
            wholes.append(whole)
        return Batch(torch.stack(lows), torch.stack(highs), torch.stack(wholes))


def _rng(*key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(key))
