"""Work on a picture in strips of rows, so that memory follows the strip and not the picture."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def in_strips(function: Callable[[Tensor], Tensor], x: Tensor, rows: int, halo: int) -> Tensor:
    """function(x) for x [..., H, W] and a function that keeps the shape, computed on strips of `rows` rows.

    Every strip sees `halo` more rows above and below (fewer at the edges). Exact where no output row depends on input
    rows further away than that; output columns may depend on whole rows.
    """
    height = x.shape[-2]
    if height <= rows:
        return function(x)
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    for start in range(0, height, rows):
        stop = min(start + rows, height)
        top, bottom = max(0, start - halo), min(height, stop + halo)
        strip = function(x[..., top:bottom, :])
        out[..., start:stop, :] = strip[..., start - top : stop - top, :]
    return out


def pad_to_multiple(x: Tensor, multiple: int, margin: int = 0, least: int = 0) -> Tensor:
    """Pad by reflection: `margin` on every side, then right and bottom to a multiple; a tiny picture reflects often.

    least: a multiple that the sides reach at least.
    """
    for dim in (-2, -1):
        size = x.shape[dim]
        total = max(math.ceil((size + 2 * margin) / multiple) * multiple, least)
        period = max(1, 2 * size - 2)
        positions = torch.arange(-margin, total - margin, device=x.device) % period
        x = x.index_select(dim, torch.minimum(positions, period - positions).clamp(max=size - 1))
    return x
