"""Work on a picture in strips of rows, so that memory follows the strip and not the picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lowlight_ext import brought

from ..diffusion.schedules import constant


def in_strips(function: Callable[..., Tensor], x: Tensor | Sequence[Tensor], rows: int, halo: int) -> Tensor:
    """function(x) for x [..., H, W], or function(*x) for several, computed on strips of `rows` rows.

    The function keeps H and W. Every strip sees `halo` more rows above and below (fewer at the edges). Exact where no
    output row depends on input rows further away than that; output columns may depend on whole rows.
    """
    parts = (x,) if isinstance(x, Tensor) else x
    height = parts[0].shape[-2]
    if height <= rows:
        return function(*parts)
    out: Tensor
    for start in range(0, height, rows):
        stop = min(start + rows, height)
        top, bottom = max(0, start - halo), min(height, stop + halo)
        strip = function(*(part[..., top:bottom, :] for part in parts))
        if start == 0:
            last = strip.dim() == 4 and strip.is_contiguous(memory_format=torch.channels_last)
            layout = torch.channels_last if last and not strip.is_contiguous() else torch.contiguous_format
            shape = (*strip.shape[:-2], height, strip.shape[-1])
            out = torch.empty(shape, dtype=strip.dtype, device=strip.device, memory_format=layout)
        out[..., start:stop, :] = strip[..., start - top : stop - top, :]
    return out


def pad_to_multiple(x: Tensor, multiple: int, margin: int = 0, least: int = 0) -> Tensor:
    """Pad by reflection: `margin` on every side, then right and bottom to a multiple; a tiny picture reflects often.

    least: a multiple that the sides reach at least.
    """
    for dim in (-2, -1):
        x = x.index_select(dim, brought(reflected(x.shape[dim], multiple, margin, least), x.device))
    return x


@constant
def reflected(size: int, multiple: int, margin: int = 0, least: int = 0) -> Tensor:
    """int64 [n]: which of `size` positions stands where after `pad_to_multiple` with these arguments."""
    total = max(math.ceil((size + 2 * margin) / multiple) * multiple, least)
    period = max(1, 2 * size - 2)
    positions = torch.arange(-margin, total - margin, device="cpu") % period
    return torch.minimum(positions, period - positions).clamp(max=size - 1)
