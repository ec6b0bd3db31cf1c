"""Pairs decoded when first asked for, as 8-bit arrays, and kept while a memory budget lasts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL.TiffImagePlugin import TiffImageFile

from ...files.eight_bit import decode_rgb
from ...files.metadata import orientation_of
from ...files.pictures import PictureError, open_image
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
        self.sizes: list[tuple[int, int]] = []  # height and width of each
        for pair in pairs:
            width, height = _header_size(pair.low)
            _check_sizes(pair, (width, height), _header_size(pair.high))
            self.sizes.append((height, width))
        self.smallest = min(range(len(pairs)), key=lambda index: min(self.sizes[index]))

    def __getitem__(self, index: int) -> np.ndarray:
        """[2, 3, H, W] uint8, dark and bright; not to be written to."""
        return self._kept[index]

    def _decode(self, index: int) -> np.ndarray:
        pair = self.pairs[index]
        low, high = decode_rgb(pair.low), decode_rgb(pair.high)
        if not low.shape[:2] == high.shape[:2] == self.sizes[index]:
            # headers may say other than what is there
            sizes = f"{low.shape[:2]} and {high.shape[:2]}, not {self.sizes[index]}"
            raise PictureError(f"{pair.low} and {pair.high} are {sizes} as their headers say")
        return np.ascontiguousarray(np.stack([low, high]).transpose(0, 3, 1, 2))


def _header_size(path: Path) -> tuple[int, int]:
    """Upright."""
    with open_image(path) as image:
        # asked for EXIF that is not in its header, a PNG decodes the picture, lest it stand behind that
        turned = (image.format != "PNG" or "exif" in image.info) and orientation_of(image) >= 5
        # newer Pillows turn the size of a TIFF themselves
        width, height = (image.tag_v2[256], image.tag_v2[257]) if isinstance(image, TiffImageFile) else image.size
        return (height, width) if turned else (width, height)


def _check_sizes(pair: Pair, low: tuple[int, int], high: tuple[int, int]) -> None:
    """Sizes are (width, height)."""
    if low != high:
        raise ValueError(
            f"PairBatches: {pair.low} and {pair.high} differ in size: {low[0]} x {low[1]}, {high[0]} x {high[1]}"
        )
