"""Colour profiles: from a picture's own space to sRGB, which the networks know, and back.

Profiles of a matrix and curves, which photographs have, are followed in floating point, because littleCMS comes with
Pillow in 8 bits only; profiles that are tables go through it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Literal, Protocol

import numpy as np
from PIL import Image, ImageCms

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # Rec. 601
D65, _D50 = (0.3127, 0.3290), (0.3457, 0.3585)
Primaries = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
SRGB: Primaries = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
ADOBE: Primaries = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
P3: Primaries = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
BT2020: Primaries = ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
ADOBE_GAMMA = 563 / 256
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
# every 16-bit value has its place on a curve
_GRID = np.linspace(0, 1, 65536)
_ROWS = 256  # converted at a time, so that copies in float64 stay small
_SAME = 1 / 510  # half an 8-bit step


class Space(Protocol):
    """A picture's colours, [H, W, 3] float32 in [0, 1], as stored and in sRGB."""

    def to_srgb(self, rgb: np.ndarray) -> np.ndarray: ...

    def from_srgb(self, rgb: np.ndarray) -> np.ndarray: ...


def linear(srgb: np.ndarray) -> np.ndarray:
    """sRGB in [0, 1] to linear light (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def curved(light: np.ndarray) -> np.ndarray:
    """Linear light, clipped to [0, 1], to sRGB."""
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def to_xyz(primaries: Primaries, white: tuple[float, float] = D65) -> np.ndarray:
    """[3, 3] float64: linear RGB to CIE XYZ under D50, adapted by Bradford, where profiles meet."""
    columns = _xyz(*zip(*primaries, strict=True))
    matrix = columns * np.linalg.solve(columns, _xyz(*white))
    cones = (_BRADFORD @ _xyz(*_D50)) / (_BRADFORD @ _xyz(*white))
    return np.linalg.solve(_BRADFORD, cones[:, None] * _BRADFORD) @ matrix


def _xyz(x, y) -> np.ndarray:
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return np.stack([x / y, np.ones_like(x), (1 - x - y) / y])


@dataclass(frozen=True)
class MatrixSpace:
    """curves: [3, 65536], light at every 16-bit value, rising. matrix: [3, 3], to linear sRGB; None: grey."""

    curves: np.ndarray
    matrix: np.ndarray | None

    def to_srgb(self, rgb: np.ndarray) -> np.ndarray:
        return self._by_rows(rgb, lambda part: curved(self._turned(self._light(part), self.matrix)))

    def from_srgb(self, rgb: np.ndarray) -> np.ndarray:
        if self.matrix is None:
            rgb = np.repeat((rgb @ LUMA)[..., None], 3, axis=2)
            return self._by_rows(rgb, lambda part: self._values(linear(part)))
        back = np.linalg.inv(self.matrix)
        return self._by_rows(rgb, lambda part: self._values(self._turned(linear(part), back)))

    def outside(self, rgb: np.ndarray) -> float:
        """The share of pixels that sRGB does not hold, by more than half an 8-bit step of light at white."""
        if self.matrix is None:
            return 0.0
        found = 0
        for first in range(0, len(rgb), _ROWS):
            light = self._turned(self._light(rgb[first : first + _ROWS]), self.matrix)
            found += int(((light < -_SAME) | (light > 1 + _SAME)).any(axis=2).sum())
        return found / max(1, rgb.shape[0] * rgb.shape[1])

    @staticmethod
    def _by_rows(rgb: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        out = np.empty(rgb.shape, np.float32)
        for first in range(0, len(rgb), _ROWS):
            out[first : first + _ROWS] = function(rgb[first : first + _ROWS])
        return out

    @staticmethod
    def _turned(light: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
        return light if matrix is None else light @ matrix.T

    def _light(self, rgb: np.ndarray) -> np.ndarray:
        return np.stack([np.interp(rgb[..., i], _GRID, self.curves[i]) for i in range(3)], axis=2)

    def _values(self, light: np.ndarray) -> np.ndarray:
        return np.stack([np.interp(light[..., i], self.curves[i], _GRID) for i in range(3)], axis=2)


@dataclass(frozen=True)
class TableSpace:
    """A profile of tables, by littleCMS, in 8 bits."""

    icc: bytes

    def to_srgb(self, rgb: np.ndarray) -> np.ndarray:
        return self._through(rgb, self.icc, None)

    def from_srgb(self, rgb: np.ndarray) -> np.ndarray:
        return self._through(rgb, None, self.icc)

    def _through(self, rgb: np.ndarray, source: bytes | None, target: bytes | None) -> np.ndarray:
        image = Image.fromarray(np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8))
        return np.asarray(converted(image, source, target), np.float32) / np.float32(255)


def converted(image: Image.Image, source: bytes | None, target: bytes | None = None) -> Image.Image:
    """An 8-bit image of any mode, by littleCMS, from one profile to another in RGB; None is sRGB, of LAB images LAB.

    Raises ValueError for a profile that does not open or does not fit the image.
    """
    try:
        first = _opened(source, "LAB" if image.mode == "LAB" else "sRGB")
        made = ImageCms.profileToProfile(image, first, _opened(target, "sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError) as error:
        raise ValueError(f"littleCMS does not take it: {error}") from None
    if made is None:
        raise ValueError("littleCMS does not take it")
    return made


def _opened(icc: bytes | None, name: Literal["LAB", "sRGB"]):
    return ImageCms.createProfile(name) if icc is None else ImageCms.ImageCmsProfile(BytesIO(icc))


def is_grey(icc: bytes) -> bool:
    """Whether a profile is one of grey pictures."""
    return icc[16:20] == b"GRAY"


@lru_cache(maxsize=8)
def space_of(icc: bytes | None) -> Space | None:
    """The colours that a profile stands for; None for sRGB's own, to half an 8-bit step, and without a profile.

    Raises ValueError for one that is damaged, or of neither RGB nor grey.
    """
    if icc is None:
        return None
    if icc[36:40] != b"acsp" or icc[16:20] not in (b"RGB ", b"GRAY"):
        raise ValueError("not a profile of RGB or grey")
    try:
        space = _space(icc, _tags(icc))
    except (struct.error, ZeroDivisionError):
        raise ValueError("a part of it is cut off") from None
    axis = np.linspace(0, 1, 9, dtype=np.float32)
    grid = np.repeat(axis[:, None, None], 3, axis=2) if is_grey(icc) else np.stack(np.meshgrid(axis, axis, axis), -1)
    sample = grid.reshape(-1, 1, 3)
    return None if np.abs(space.to_srgb(sample) - sample).max() < _SAME else space


def _space(icc: bytes, tags: dict[bytes, bytes]) -> Space:
    if b"kTRC" in tags:
        return MatrixSpace(np.tile(_curve(tags[b"kTRC"]), (3, 1)), None)
    if not {b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC"} <= tags.keys() or b"A2B0" in tags:
        return TableSpace(icc)
    columns = [np.array(struct.unpack_from(">3i", tags[name], 8)) / 65536 for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    if abs(np.linalg.det(columns)) < 1e-6:
        raise ValueError("its primaries lie on a line")
    matrix = np.linalg.solve(to_xyz(SRGB), np.stack(columns, axis=1))
    return MatrixSpace(np.stack([_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")]), matrix)


def _tags(icc: bytes) -> dict[bytes, bytes]:
    count = struct.unpack_from(">I", icc, 128)[0]
    entries = [struct.unpack_from(">4sII", icc, 132 + 12 * i) for i in range(count)]
    return {name: icc[start : start + size] for name, start, size in entries}


def _curve(tag: bytes) -> np.ndarray:
    """Light at every 16-bit value, rising; raises ValueError for a curve that is none or falls."""
    light = _parametric(tag) if tag[:4] == b"para" else _tabled(tag)
    if not (np.isfinite(light).all() and light[-1] > light[0]):
        raise ValueError("a curve of it does not rise")
    return np.maximum.accumulate(np.clip(light, 0, 1))


def _tabled(tag: bytes) -> np.ndarray:
    """curveType: nothing is the identity, one number a power, more are a table."""
    count = struct.unpack_from(">I", tag, 8)[0]
    if tag[:4] != b"curv" or len(tag) < 12 + 2 * count:
        raise ValueError("a curve of it is cut off")
    table = np.frombuffer(tag, ">u2", count, 12)
    if count < 2:
        return _GRID ** (table[0] / 256 if count else 1)
    return np.interp(_GRID, np.linspace(0, 1, count), table / 65535)


def _parametric(tag: bytes) -> np.ndarray:
    """parametricCurveType of the ICC specification, 10.18: a power, of kinds 3 and 4 a line below where it starts."""
    kind = struct.unpack_from(">H", tag, 8)[0]
    if kind > 4:
        raise ValueError(f"a curve of it is of the unknown kind {kind}")
    given = [v / 65536 for v in struct.unpack_from(f">{(1, 3, 4, 5, 7)[kind]}i", tag, 12)]
    g, *rest = given
    if kind == 0:
        return _GRID**g
    a, b, *rest = rest
    power = np.maximum(a * _GRID + b, 0) ** g
    if kind in (1, 2):
        offset = rest[0] if rest else 0.0
        return np.where(a * _GRID + b >= 0, power, 0) + offset
    slope, start, above, below = (*rest, 0.0, 0.0)[:4]
    return np.where(start <= _GRID, power + above, slope * _GRID + below)
