"""Pairs decoded when first asked for, as 8-bit arrays, and kept while a memory budget lasts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ...files.eight_bit import decode_rgb
from ...files.pictures import open_image
from ..sets.matching import Pair


class Kept:
    """Arrays by number, made when first asked for.

    memory: bytes kept; the first ones made stay (every epoch asks for each once, so replacing some by others would win
    nothing), the rest are made whenever they are asked for. Safe to use from several threads.
    """

    def __init__(self, make: Callable[[int], np.ndarray], memory: int):
        self._make, self._memory = make, memory
        self._kept: dict[int, np.ndarray] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def __getitem__(self, index: int) -> np.ndarray:
        """Not to be written to."""
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        made = self._make(index)
        with self._lock:
            if index not in self._kept and self._bytes + made.nbytes <= self._memory:
                self._kept[index] = made
                self._bytes += made.nbytes
        return made


class PairCache:
    """The pictures of pairs by number.

    memory: bytes of decoded pictures kept (`Kept`). Safe to use from several threads. Raises ValueError where the two
    sizes of a pair differ, PictureError for a file that cannot be opened: both at once, from the files' headers; a
    damaged picture shows when it is decoded.
    """

    def __init__(self, pairs: list[Pair], memory: int):
        self.pairs, self._kept = pairs, Kept(self._decode, memory)
        for pair in pairs:
            _check_sizes(pair, *(_header_size(path) for path in (pair.low, pair.high)))

    def __getitem__(self, index: int) -> np.ndarray:
        """[2, 3, H, W] uint8, dark and bright; not to be written to."""
        return self._kept[index]

    def _decode(self, index: int) -> np.ndarray:
        pair = self.pairs[index]
        low, high = decode_rgb(pair.low), decode_rgb(pair.high)
        if low.shape != high.shape:
            _check_sizes(pair, low.shape[1::-1], high.shape[1::-1])
        return np.ascontiguousarray(np.stack([low, high]).transpose(0, 3, 1, 2))


def _header_size(path: Path) -> tuple[int, int]:
    with open_image(path) as image:
        return image.size


def _check_sizes(pair: Pair, low: tuple[int, int], high: tuple[int, int]) -> None:
    """Sizes are (width, height)."""
    if low != high:
        raise ValueError(
            f"PairBatches: {pair.low} and {pair.high} differ in size: {low[0]} x {low[1]}, {high[0]} x {high[1]}"
        )
