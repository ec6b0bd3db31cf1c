"""Dark pictures at every level: the means that low bands show, and how noisy each level is."""

from __future__ import annotations

import torch
from torch import Tensor

from ..rows import PaddedRows, strips

_GRID = 192  # blocks a side, from which the noise is estimated
_MOST_NOISE = 0.03
_READ = 256  # rows read at a time, about


def halved(x: Tensor) -> Tensor:
    """Means over 2 x 2 pixels of [B, C, H, W], even sides: F.avg_pool2d(x, 2), of float32 bit by bit, in a third of
    the time."""
    first, second, third, fourth = (x[..., row::2, column::2] for row in (0, 1) for column in (0, 1))
    return (first + second + third + fourth) / 4


def dark_pyramid(low: Tensor, levels: int) -> list[Tensor]:
    """[low, its means over 2 x 2 pixels, over 4 x 4, ... 2^levels]: what low bands show, in [0, 1]."""
    pyramid = [low]
    for _ in range(levels):
        pyramid.append(halved(pyramid[-1]))
    return pyramid


def noise_levels(pyramid: list[Tensor]) -> list[Tensor]:
    """[B] each: the mean magnitude of HH, up to 0.03, on a grid of blocks of every level; edges hardly count."""
    return [_noise(_sampled(dark, *_grid(*dark.shape[-2:]))) for dark in pyramid]


def read_pyramid(rows: PaddedRows, levels: int) -> tuple[list[Tensor], list[Tensor]]:
    """The `dark_pyramid` without the pictures themselves, and the `noise_levels` of all but the last; levels >= 1."""
    half: Tensor
    samples: list[Tensor] = []
    grid = _grid(rows.height, rows.width)
    step = grid[0] * max(1, _READ // grid[0])
    for first, last, _, _ in strips(rows.height, step):
        dark = rows.read(first, last)
        if not samples:
            half = dark.new_empty(*dark.shape[:2], rows.height // 2, rows.width // 2)
        samples.append(_sampled(dark, *grid))
        half[..., first // 2 : last // 2, :] = halved(dark)
    means = dark_pyramid(half, levels - 1)
    return means, [_noise(torch.cat(samples, dim=-2)), *noise_levels(means[:-1])]


def _grid(height: int, width: int) -> tuple[int, int]:
    """Rows and columns from one sampled block to the next; even."""
    return 2 * max(1, height // 2 // _GRID), 2 * max(1, width // 2 // _GRID)


def _sampled(dark: Tensor, rows: int, columns: int) -> Tensor:
    """Magnitude of HH of every block sampled, [B, 3, n, m]."""
    a, b, c, d = (dark[..., y::rows, x::columns] for y in (0, 1) for x in (0, 1))
    return (a - b - c + d).abs() / 2


def _noise(samples: Tensor) -> Tensor:
    return samples.clamp(max=_MOST_NOISE).mean(dim=(1, 2, 3)) + 1e-4
