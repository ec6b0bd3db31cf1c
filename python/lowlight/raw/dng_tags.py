"""What a DNG file says of its levels and noise, from its own tags: LibRaw keeps whole numbers, and one a colour."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from PIL import TiffImagePlugin as tiff

from .sensors import one_colour_a_place

_SUB_DIRECTORIES, _KIND, _SAMPLES, _DNG_VERSION = 330, 254, 277, 50706
_REPEAT, _BLACK, _DELTA_H, _DELTA_V, _ACTIVE, _NOISE = 50713, 50714, 50715, 50716, 50829, 51041


@dataclass(frozen=True)
class DngTags:
    """black: [rows, columns] float64, repeated over the active area; None where the file does not say it. delta_h,
    delta_v: more of it for each column and row of that area, or empty. top, left: where the area begins. noise:
    [planes, 2], S and O of the noise's variance S x + O for x in [0, 1] (NoiseProfile); None where it is not said."""

    black: np.ndarray | None
    delta_h: np.ndarray
    delta_v: np.ndarray
    top: int
    left: int
    noise: np.ndarray | None

    def black_of(self, rows: int, columns: int, top: int, left: int) -> np.ndarray:
        """[rows, columns] float64 or what broadcasts to it: black at each pixel from (top, left) of the sensor on."""
        if self.black is None:
            raise ValueError("the file does not say its black level")
        y, x = (np.arange(n) + first for n, first in ((rows, top - self.top), (columns, left - self.left)))
        black = self.black[np.ix_(y % self.black.shape[0], x % self.black.shape[1])]
        # beyond the area, where a sensor's margins are read, the outermost of its lines stand for the rest
        for deltas, places, axis in ((self.delta_h, x, 0), (self.delta_v, y, 1)):
            if len(deltas):
                black = black + np.expand_dims(deltas[np.clip(places, 0, len(deltas) - 1)], axis)
        return black


def read_dng_tags(path: str | os.PathLike) -> DngTags | None:
    """The tags of a DNG file's full picture; None for any other file, and for one whose directories are damaged."""
    try:
        with open(path, "rb") as file:
            directories = list(_directories(file))
            if not directories or _DNG_VERSION not in directories[0]:
                return None
            full = next(
                (d for d in directories if d.get(_KIND, 0) == 0 and 262 in d and d[262] in (32803, 34892)), None
            )
            return None if full is None else _tags(directories[0], full)
    # damaged directories make the reader raise nearly anything; LibRaw has its own way to read levels
    except Exception:
        return None


def _tags(first: dict[int, Any], full: dict[int, Any]) -> DngTags:
    black, noise = _numbers(full, _BLACK), _numbers(full, _NOISE)
    rows, columns = (int(n) for n in _numbers(full, _REPEAT)) if _REPEAT in full else (1, 1)
    active = _numbers(full, _ACTIVE)
    noise = noise if len(noise) else _numbers(first, _NOISE)
    fits = len(black) == rows * columns > 0
    if (rows, columns, len(black), full.get(_SAMPLES)) == (1, 1, 3, 3):
        # of three colours a place, which become one
        black, rows, columns, fits = one_colour_a_place(np.broadcast_to(black, (2, 2, 3))), 2, 2, True
    top, left = (int(v) for v in (active[:2] if len(active) == 4 else (0, 0)))
    said = len(noise) > 0 and len(noise) % 2 == 0 and (noise >= 0).all()
    return DngTags(
        black.reshape(rows, columns) if fits else None,
        _numbers(full, _DELTA_H),
        _numbers(full, _DELTA_V),
        top,
        left,
        noise.reshape(-1, 2) if said else None,
    )


def _numbers(tags: dict[int, Any], tag: int) -> np.ndarray:
    value = tags.get(tag, ())
    return np.array([float(v) for v in (value if isinstance(value, tuple) else (value,))], np.float64)


def _directories(file: BinaryIO) -> Iterator[dict[int, Any]]:
    """The first directory of a TIFF file and those below it, tag by number."""
    head = file.read(8)
    if head[:4] not in (b"II*\0", b"MM\0*"):
        return
    starts = [tiff.ImageFileDirectory_v2(head).next]
    for depth in range(2):
        below: list[int] = []
        # a file of a camera has four or five
        for start in starts[:16]:
            directory = tiff.ImageFileDirectory_v2(head)
            file.seek(start)
            directory.load(file)
            tags = dict(directory)
            yield tags
            inside = tags.get(_SUB_DIRECTORIES, ())
            below += [int(v) for v in (inside if isinstance(inside, tuple) else (inside,))]
        starts = below if depth == 0 else []
