"""What becomes of one sample of a batch: the crop, its flips and turns, smaller pictures by area averages; numpy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Draw(NamedTuple):
    """The crop's corner, the flipped axes, quarter turns."""

    y: int
    x: int
    flips: tuple[int, ...]
    turns: int

    def turned(self, picture: np.ndarray) -> np.ndarray:
        """A picture [..., H, W] flipped and turned, as a view."""
        return np.rot90(np.flip(picture, self.flips), self.turns, axes=(-2, -1))


def generator(*key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(key))


def draw_cut(rng: np.random.Generator, size: tuple[int, int], crop: int | None, turn: bool) -> Draw:
    """Of a picture of this size; crop None: whole. turn: quarter turns too, where what is cut out is square."""
    y, x = (0, 0) if crop is None else (int(rng.integers(0, max(1, side - crop + 1))) for side in size)
    flips = tuple(axis for axis, chance in ((-1, 0.5), (-2, 0.25)) if rng.random() < chance)
    square = crop is not None or size[0] == size[1]
    return Draw(y, x, flips, int(rng.integers(0, 4)) if turn and square else 0)


def cut_out(pictures: np.ndarray, draw: Draw, shrink: int, out: np.ndarray) -> None:
    """pictures [..., H, W] uint8 -> out [..., h, w] in [0, 1]: only what is cut out becomes float."""
    height, width = out.shape[-2:]
    ends = [min(start + side, whole // shrink) for start, side, whole in
            zip((draw.y, draw.x), (height, width), pictures.shape[-2:], strict=True)]  # fmt: skip
    region = pictures[..., draw.y * shrink : ends[0] * shrink, draw.x * shrink : ends[1] * shrink]
    if shrink > 1:
        region = area_average(region, shrink)
    region = draw.turned(continued(region, height, width))
    if shrink > 1:
        out[...] = region
    else:
        np.divide(region, np.float32(255), out=out)


def continued(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """[..., H, W] continued to the right and downwards by reflection, where it is smaller."""
    missing = [(0, side - there) for side, there in zip((height, width), picture.shape[-2:], strict=True)]
    if not any(more for _, more in missing):
        return picture
    return np.pad(picture, [(0, 0)] * (picture.ndim - 2) + missing, mode="reflect")


def area_average(samples: np.ndarray, shrink: int, rows: int = 1, columns: int = 1) -> np.ndarray:
    """[..., H, W] uint8 -> [..., H / shrink, W / shrink] float32 in [0, 1], of which every so many rows and columns.

    Bit-equal to avg_pool2d of the picture in float32: adds in its order.
    """
    height, width = (side // shrink for side in samples.shape[-2:])
    blocks = samples[..., : height * shrink, : width * shrink].reshape(
        *samples.shape[:-2], height, shrink, width, shrink
    )
    blocks = blocks[..., ::rows, :, ::columns, :]
    total = blocks[..., 0, :, 0] / np.float32(255)
    for y, x in list(np.ndindex(shrink, shrink))[1:]:
        total += blocks[..., y, :, x] / np.float32(255)
    return total / np.float32(shrink * shrink) if shrink > 1 else total
