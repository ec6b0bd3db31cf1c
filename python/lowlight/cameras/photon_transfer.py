"""Photon transfer: the gain of a sensor from flat fields, whose variance grows with their mean by K.

Frames are mosaics [N, H, W] of one gain and one exposure in digital numbers, black included; H and W even.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .cameras import CameraError

# a side of the blocks of one colour in which mean and variance are compared, in sites of that colour
BLOCK = 16
# blocks brighter than this part of the range may hold clipped pixels
BRIGHTEST = 0.9
# more pixels at 0 than this in a bias frame: the camera cuts off what is below black
MOST_ZEROS = 0.01


class CalibrationError(CameraError):
    """Frames that no calibration can be made from; the message is one sentence meant for the user."""


@dataclass(frozen=True)
class Transfer:
    """Blocks of flat or bias frames: [M] mean above black, [M] variance in time, and its degrees of freedom."""

    mean: np.ndarray
    variance: np.ndarray
    freedom: int


def sites(frames: np.ndarray) -> np.ndarray:
    """[..., H, W] -> [..., 2, 2, H/2, W/2]: the four positions of the 2 x 2 cell, a view's copy for reductions."""
    *n, height, width = frames.shape
    return np.moveaxis(frames.reshape(*n, height // 2, 2, width // 2, 2), (-3, -1), (-4, -3))


def black_level(bias: np.ndarray) -> np.ndarray:
    """[2, 2] mean of bias frames by position in the cell. Raises CalibrationError where they are cut off at 0."""
    zeros = float((bias <= 0).mean())
    if zeros > MOST_ZEROS:
        raise CalibrationError(
            f"calibrate: {zeros:.0%} of the bias frames is at 0: this file has lost what was below black, "
            "and with it half of the read noise"
        )
    return sites(bias).mean(axis=(0, -2, -1), dtype=np.float64)


def photon_transfer(frames: np.ndarray, black: np.ndarray) -> Transfer:
    """Mean and variance of every block of BLOCK x BLOCK sites of one colour, over at least 2 frames.

    Frames are brought to one brightness (the lamp flickers) by the median over their blocks. The variance is what is
    left when each pixel's mean over the frames (vignetting, dust, gain of the pixel) and each frame's mean over the
    block are taken out: (N - 1)(n - 1) degrees of freedom a block.
    """
    if len(frames) < 2:
        raise CalibrationError(f"calibrate: {len(frames)} frame of an exposure, photon transfer needs 2 or more")
    planes = sites(frames.astype(np.float64)) - black[..., None, None]
    rows, columns = (side // BLOCK for side in planes.shape[-2:])
    if not (rows and columns):
        raise CalibrationError(f"calibrate: frames must be {2 * BLOCK} x {2 * BLOCK} pixels or more")
    planes = planes[..., : rows * BLOCK, : columns * BLOCK].reshape(*planes.shape[:3], rows, BLOCK, columns, BLOCK)
    blocks = planes.transpose(0, 1, 2, 3, 5, 4, 6).reshape(len(frames), -1, BLOCK * BLOCK)
    mean = blocks.mean(axis=(0, 2))
    # in the dark there is no light that could flicker, and the quotient is one of noise
    if mean.mean() ** 2 > blocks[0].var(axis=1).mean():
        blocks /= np.median(blocks.mean(axis=2) / mean, axis=1)[:, None, None]
    rest = blocks - blocks.mean(axis=0)
    rest -= rest.mean(axis=2, keepdims=True)
    freedom = (len(frames) - 1) * (BLOCK * BLOCK - 1)
    return Transfer(mean, (rest**2).sum(axis=(0, 2)) / freedom, freedom)


def fit_gain(transfers: Sequence[Transfer], white: float) -> float:
    """K of variance = K mean + constant, by weighted least squares; blocks above BRIGHTEST of white are left out.

    white: above black. Weights are the inverse variances of the variances, 2 v^2 / freedom with v of the line itself;
    blocks 4 deviations off it (pixels that jump) are dropped. Raises CalibrationError without light or without a slope.
    """
    mean = np.concatenate([t.mean for t in transfers])
    variance = np.concatenate([t.variance for t in transfers])
    freedom = np.concatenate([np.full(len(t.mean), float(t.freedom)) for t in transfers])
    used = mean < BRIGHTEST * white
    if used.sum() < 3:
        raise CalibrationError(f"calibrate: the flat fields are brighter than {BRIGHTEST:.0%} of white {white:g}")
    mean, variance, freedom = mean[used], variance[used], freedom[used]
    least = max(1e-3 * variance.mean(), 1e-9)
    keep, expected = np.ones(len(mean), bool), np.full(len(mean), max(variance.mean(), least))
    for _ in range(8):
        spread = expected * np.sqrt(2 / freedom)
        K, constant = np.polyfit(mean[keep], variance[keep], 1, w=1 / spread[keep])
        expected = np.maximum(K * mean + constant, least)
        keep = np.abs(variance - expected) < 4 * expected * np.sqrt(2 / freedom)
        if keep.sum() < 3:
            break
    light = mean.max()
    if not (K > 0 and K * light > 0.05 * max(constant, 0)):
        raise CalibrationError(
            f"calibrate: the noise does not grow with the light (up to {light:.3g} above black): no gain to be had; "
            "are the flat fields lit, and of the same gain as the bias frames?"
        )
    return float(K)
