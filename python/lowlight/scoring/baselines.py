"""Classical brightening, to set scores of networks beside: no learning, no ground truth.

Every baseline takes a picture [3, H, W] in [0, 1], RGB, and returns one of that shape, float32. Those with a target
bring the picture to TARGET_MEAN, the mean of the bright half of LOL-v1's training set; never to the truth's own mean.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ..scenes.srgb import to_linear, to_srgb

TARGET_MEAN = 0.45
LEVELS = 256

# CIE 15: sRGB to XYZ (D65), and the white point
_RGB_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
_WHITE = _RGB_TO_XYZ.sum(axis=1)


def untouched(low: Tensor) -> Tensor:
    """The dark picture itself."""
    return low.float()


def gain(low: Tensor, target: float = TARGET_MEAN) -> Tensor:
    """low * target / mean(low), clipped; a black picture stays black."""
    mean = low.double().mean()
    return (low * (target / mean) if mean > 0 else low).clamp(0, 1).float()


def gamma(low: Tensor, target: float = TARGET_MEAN) -> Tensor:
    """low ** g with the g that gives the mean `target`, as far as exponents from 1/50 to 50 reach."""
    values = low.double().clamp(0, 1)
    low_exponent, high_exponent = np.log(1 / 50), np.log(50)
    # the mean falls as the exponent grows, so that 40 halvings of its logarithm find it to 1e-11
    for _ in range(40):
        middle = (low_exponent + high_exponent) / 2
        if values.pow(np.exp(middle)).mean() > target:
            low_exponent = middle
        else:
            high_exponent = middle
    return values.pow(np.exp(middle)).float()


def histogram_equalisation(low: Tensor) -> Tensor:
    """Each 8-bit channel's histogram made flat: levels map through their cumulated count."""
    picture = ImageOps.equalize(Image.fromarray(np.ascontiguousarray(np.moveaxis(_to_bytes(low), 0, -1))))
    return torch.from_numpy(np.asarray(picture).astype(np.float32) / 255).movedim(-1, 0)


def clahe(low: Tensor, clip_limit: float = 2.0, tiles: int = 8) -> Tensor:
    """Contrast-limited adaptive histogram equalisation of the lightness L* (Zuiderveld 1994; OpenCV's defaults)."""
    lab = _rgb_to_lab(low.double().clamp(0, 1).movedim(0, -1).numpy())
    lightness = np.round(lab[..., 0] * 2.55).astype(np.uint8)
    lab[..., 0] = clahe_bytes(lightness, clip_limit, tiles) / 2.55
    return torch.from_numpy(_lab_to_rgb(lab)).movedim(-1, 0).clamp(0, 1).float()


BASELINES: dict[str, Callable[[Tensor], Tensor]] = {
    "untouched": untouched,
    "gain to mean": gain,
    "gamma to mean": gamma,
    "equalisation": histogram_equalisation,
    "CLAHE": clahe,
}


def clahe_bytes(channel: np.ndarray, clip_limit: float = 2.0, tiles: int = 8) -> np.ndarray:
    """CLAHE of one channel [H, W] uint8; what OpenCV's createCLAHE(clip_limit, (tiles, tiles)) gives, ties apart.

    Each of tiles x tiles tiles has its own equalising table, of a histogram cut at clip_limit times its mean count
    and with the excess spread over all levels; a pixel blends the tables of the four nearest tile centres.
    """
    height, width = channel.shape
    padded = channel
    if height % tiles or width % tiles:
        padding = ((0, tiles - height % tiles), (0, tiles - width % tiles))
        padded = np.pad(channel, padding, mode="reflect")
    tile_height, tile_width = padded.shape[0] // tiles, padded.shape[1] // tiles
    blocks = padded.reshape(tiles, tile_height, tiles, tile_width).swapaxes(1, 2).reshape(tiles, tiles, -1)
    limit = max(int(clip_limit * blocks.shape[-1] / LEVELS), 1)
    tables = np.stack([np.stack([_limited_table(block, limit) for block in row]) for row in blocks])

    above, below, down = _neighbours(height, tile_height, tiles)
    left, right, along = _neighbours(width, tile_width, tiles)
    down, along = down[:, None], along[None, :]
    top = tables[above[:, None], left, channel] * (1 - along) + tables[above[:, None], right, channel] * along
    bottom = tables[below[:, None], left, channel] * (1 - along) + tables[below[:, None], right, channel] * along
    return np.clip(np.rint(top * (1 - down) + bottom * down), 0, 255).astype(np.uint8)


def _limited_table(values: np.ndarray, limit: int) -> np.ndarray:
    """Level -> equalised level (float32) of one tile, its histogram cut at `limit`."""
    counts = np.bincount(values, minlength=LEVELS)
    excess = int(np.maximum(counts - limit, 0).sum())
    counts = np.minimum(counts, limit) + excess // LEVELS
    rest = excess % LEVELS
    if rest:
        step = max(LEVELS // rest, 1)
        counts[: step * rest : step][:rest] += 1
    return np.rint(np.cumsum(counts).astype(np.float32) * np.float32(255 / values.size)).clip(0, 255)


def _neighbours(length: int, tile: int, tiles: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For every position the tiles before and after it, and how far it is from the first's centre to the second's."""
    position = np.arange(length, dtype=np.float32) / np.float32(tile) - np.float32(0.5)
    before = np.floor(position).astype(np.int64)
    return np.maximum(before, 0), np.minimum(before + 1, tiles - 1), position - before.astype(np.float32)


def _to_bytes(picture: Tensor) -> np.ndarray:
    return (picture.double().clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def _rgb_to_lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB [..., 3] in [0, 1] -> CIE L*a*b* (D65), L* in [0, 100]."""
    xyz = to_linear(rgb) @ _RGB_TO_XYZ.T / _WHITE
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def _lab_to_rgb(lab: np.ndarray) -> np.ndarray:
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    return to_srgb((xyz * _WHITE) @ np.linalg.inv(_RGB_TO_XYZ).T)
