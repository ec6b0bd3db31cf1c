"""The gain of a camera that nobody calibrated: from the file's own noise profile, from the picture, or from its ISO."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..raw.files import RawPicture, levelled
from ..raw.packing import layout, pack
from .cameras import SATURATION, CameraError, shipped_cameras

_PATCH = 8  # pixels of one colour a side
_BINS = 16
_MOST = 6 * 10**6  # pixels a colour that are looked at, from the middle
_SURE = 0.1  # relative error of a slope that is believed
_ELECTRONS = 10  # that the brightest patches must have


class Gain(NamedTuple):
    """K in numbers of a sensor whose white is 15583 above black, and where it is from, for the user."""

    K: float
    source: str


def generic_gain(raw: RawPicture, iso: float | None = None) -> Gain:
    """The gain by the DNG's NoiseProfile; else by the noise of the picture's flat patches (`picture_gain`); else the
    mean (of logarithms) of the shipped cameras at the ISO. iso: in the place of the picture's.

    Raises CameraError where not even the ISO is known.
    """
    if raw.noise is not None and raw.noise[:, 0].mean() > 0:
        return Gain(float(raw.noise[:, 0].mean()) * SATURATION, "the file's noise profile")
    K = picture_gain(raw)
    if K is not None:
        return Gain(K, "estimated from the picture's noise")
    iso = raw.iso if iso is None else iso
    if iso is None:
        raise CameraError(
            "neither its camera nor its ISO is known, and its noise does not tell the gain: say whose noise to take "
            f"(--camera): {', '.join(shipped_cameras())}, or a file of `lowlight calibrate`; or its ISO (--iso)"
        )
    logs = [math.log(camera.K(iso)) for camera in shipped_cameras().values()]
    return Gain(math.exp(sum(logs) / len(logs)), f"mean of {len(logs)} cameras at ISO {iso:g}")


def picture_gain(raw: RawPicture) -> float | None:
    """K of one picture by photon transfer: the slope of variance against mean over its flat patches.

    Variance is that of a second difference in both directions, so that slopes of the scene do not count; patches with
    more structure than such noise has, and clipped ones, are left out. None where too little light or too much texture
    leaves the slope unsure by more than a tenth.
    """
    black = raw.black[list(layout(raw.pattern).colours)]
    span = float(raw.white - raw.black.mean())
    planes = zip(pack(levelled(raw), raw.pattern), black, strict=True)
    found = [_patches(_middle(plane), float(level), span) for plane, level in planes]
    means, variances = (np.concatenate(values) for values in zip(*found, strict=True))
    slope = _slope(means, variances)
    return None if slope is None else slope * SATURATION / span


def _middle(plane: np.ndarray) -> np.ndarray:
    rows, columns = plane.shape
    keep = min(1.0, math.sqrt(_MOST / plane.size))
    height, width = (int(size * keep) // _PATCH * _PATCH for size in (rows, columns))
    top, left = (rows - height) // 2, (columns - width) // 2
    return plane[top : top + height, left : left + width].astype(np.float64)


def _patches(plane: np.ndarray, black: float, span: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean above black and variance of each patch of one colour that is flat and not clipped."""
    rows, columns = (size // _PATCH for size in plane.shape)
    blocks = plane.reshape(rows, _PATCH, columns, _PATCH).swapaxes(1, 2).reshape(-1, _PATCH, _PATCH)
    # second differences within the patch, 6 x 6, of white noise's own variance
    across = blocks[:, :, :-2] - 2 * blocks[:, :, 1:-1] + blocks[:, :, 2:]
    both = (across[:, :-2] - 2 * across[:, 1:-1] + across[:, 2:]) / 6
    variance = (both**2).mean(axis=(1, 2))
    mean = blocks.mean(axis=(1, 2)) - black
    # what bends, not what slopes: of such noise its square is a sixteenth of the variance
    quarters = blocks.reshape(-1, 2, _PATCH // 2, 2, _PATCH // 2).mean(axis=(2, 4))
    bend = (quarters[:, 0, 0] - quarters[:, 0, 1] - quarters[:, 1, 0] + quarters[:, 1, 1]) / 2
    whole = (blocks.max(axis=(1, 2)) < black + 0.9 * span) & (blocks.min(axis=(1, 2)) > 0)
    flat = (variance > 0) & (bend**2 * (_PATCH / 2) ** 2 < 4 * variance) & whole & (mean > 0)
    return mean[flat], variance[flat]


def _slope(mean: np.ndarray, variance: np.ndarray) -> float | None:
    """Of a line through the medians of bins of equally many patches, weighted by their errors; None if unsure."""
    if len(mean) < 20 * _BINS:
        return None
    order = np.array_split(np.argsort(mean), _BINS)
    x = np.array([mean[bin_].mean() for bin_ in order])
    y = np.array([np.median(variance[bin_]) for bin_ in order])
    design, weight = np.stack([x, np.ones_like(x)], axis=1), 1 / y
    normal = design.T @ (weight[:, None] ** 2 * design)
    slope, rest = np.linalg.solve(normal, design.T @ (weight**2 * y))
    error = math.sqrt(np.linalg.inv(normal)[0, 0] * float((((y - design @ [slope, rest]) * weight) ** 2).mean()))
    # most of the brightest bin's noise must be light's, and of enough electrons to be nearly normal
    sure = slope > 0 and error < _SURE * slope and slope * x[-1] > 0.5 * y[-1] and x[-1] > _ELECTRONS * slope
    return float(slope) if sure else None
