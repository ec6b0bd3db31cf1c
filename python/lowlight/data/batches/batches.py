"""Training batches from pairs of pictures; every draw is a function of (seed, epoch, position in the epoch)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..sets.matching import Pair
from .cutting import area_average, cut_out, draw_cut, generator
from .epochs import EpochBatches
from .picture_cache import PairCache
from .prefetch import Request

# statistics of a whole picture are taken from every n-th pixel, so that no more than this many a side are left
GRID = 256


@dataclass
class Batch:
    """low, high: [B, 3, h, w] float32 in [0, 1], the same crop, flip and turn of both.

    statistics: [B, n] of the whole dark pictures, where PairBatches was told how. Where not, grids: of every whole
    dark picture (uncropped, shrunk as the crops) every n-th pixel, at most 256 x 256 of them, [3, gh, gw] each.
    """

    low: Tensor
    high: Tensor
    grids: Sequence[Tensor] = ()
    statistics: Tensor | None = None

    @property
    def whole(self) -> Tensor:
        """The grids as one tensor [B, 3, gh, gw]: enough for `log_quantiles`, which takes no other pixels.

        Raises ValueError if the whole pictures differ in size, and where `statistics` took the grids' place.
        """
        shapes = sorted({tuple(grid.shape[-2:]) for grid in self.grids})
        if len(shapes) != 1:
            why = f"differ in size (grids of {' and '.join(map(str, shapes))})" if shapes else "were not kept"
            raise ValueError(f"Batch.whole: the dark pictures {why}; PairBatches with `statistics` gives those instead")
        return torch.stack(list(self.grids))


class PairBatches(EpochBatches):
    """Batches from pairs of pictures; those coming are made meanwhile in the background.

    Order: a permutation an epoch, drawn from (seed, epoch). Crop, flips and turn of a sample: from (seed, its number),
    the number being epoch * len(self) + position. `batch` is a pure function: neither `memory` nor `ahead` shows.

    memory: bytes of decoded pictures kept (LOL-v1 takes 0.7 GB); pictures beyond it are decoded when needed.
    ahead: batches made in background threads before they are asked for; 0: none.
    turn: quarter turns too, where what is cut out is square.
    statistics: [1, 3, h, w] -> [1, n] of a dark picture's grid (`log_quantiles`); called once a picture.
    Raises ValueError without pairs and where a pair's two sizes differ, PictureError (a ValueError) for a file that
    cannot be opened.
    """

    def __init__(
        self,
        pairs: list[Pair],
        seed: int = 0,
        *,
        memory: int = 2 << 30,
        ahead: int = 4,
        turn: bool = False,
        statistics: Callable[[Tensor], Tensor] | None = None,
    ):
        if not pairs:
            raise ValueError("PairBatches: no pairs of pictures were given")
        super().__init__(seed, len(pairs), ahead)
        self.turn, self.statistics = turn, statistics
        self._pictures = PairCache(list(pairs), memory)
        self._statistics: dict[tuple[int, int], Tensor] = {}

    def batch(self, first: int, count: int, *, shrink: int = 1, crop: int | None = None) -> Batch:
        """Samples first .. first + count - 1, shrunk by an integer (area average), cropped to crop x crop or whole.

        A picture smaller than the crop is continued to the right and downwards by reflection.
        Whole pictures of a batch have the first one's size: where one has another, the next of that size in the epoch's
        order takes its place. So does the next of any where one does not decode (`skipped`).
        Raises ValueError if a picture is smaller than `shrink`, and for arguments out of range; PictureError where none
        decodes.
        """
        if first < 0 or count < 1 or shrink < 1 or (crop is not None and crop < 1):
            raise ValueError(
                "PairBatches.batch: first must be 0 or more, count, shrink and crop 1 or more, "
                f"got {first}, {count}, {shrink}, {crop}"
            )
        self.check(shrink, crop)
        return self._prefetch.get(Request(first, count, shrink, crop))

    # below: numpy only, as torch would start its threads a second time beside those of the training

    def _make(self, request: Request) -> Batch:
        first, count, shrink, crop = request
        whole = (lambda index: self._size(index, shrink)) if crop is None else None
        chosen, pictures = self._read(first, count, lambda index, _: self._pictures[index], whole)
        sizes = [self._size(index, shrink) for index in chosen]
        cut = sizes[0] if crop is None else (crop, crop)
        both = np.empty((2, count, 3, *cut), np.float32)
        for k, (n, picture, size) in enumerate(zip(range(first, first + count), pictures, sizes, strict=True)):
            cut_out(picture, draw_cut(generator(self.seed, 2, n), size, crop, self.turn), shrink, both[:, k])
        low, high = torch.from_numpy(both)
        if self.statistics is None:
            return Batch(low, high, [torch.from_numpy(_grid(picture[0], shrink)) for picture in pictures])
        rows = [self._statistics_of(index, picture, shrink) for index, picture in zip(chosen, pictures, strict=True)]
        return Batch(low, high, statistics=torch.cat(rows))

    def check(self, shrink: int, crop: int | None) -> None:
        index = self._pictures.smallest
        height, width = self._pictures.sizes[index]
        if min(height, width) < shrink:
            low = self._pictures.pairs[index].low
            raise ValueError(f"PairBatches: {low} is smaller than shrink = {shrink}: {width} x {height}")

    def _size(self, index: int, shrink: int) -> tuple[int, int]:
        height, width = self._pictures.sizes[index]
        return height // shrink, width // shrink

    def _statistics_of(self, index: int, picture: np.ndarray, shrink: int) -> Tensor:
        if (index, shrink) not in self._statistics:
            assert self.statistics is not None
            grid = torch.from_numpy(_grid(picture[0], shrink))
            self._statistics[index, shrink] = self.statistics(grid[None])
        return self._statistics[index, shrink]


def _grid(low: np.ndarray, shrink: int) -> np.ndarray:
    """[3, H, W] uint8 -> every n-th pixel of the shrunk picture, at most GRID a side, float32 in [0, 1]."""
    rows, columns = (max(1, math.ceil(side // shrink / GRID)) for side in low.shape[-2:])
    return area_average(low, shrink, rows, columns)
