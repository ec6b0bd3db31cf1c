"""What AnlightenDiff's encoder sees of a dark picture: the picture, its equalised histogram, color map and edges."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

FEATURES = 12  # channels of condition_features
ABLATED = ("histogram", "color", "edges")  # what may be left out of them


def condition_features(low: Tensor, equalised: Tensor | None = None, without: Collection[str] = ()) -> Tensor:
    """[B, 3, H, W] dark pictures in [0, 1] -> [B, 12, H, W]: picture, equalised, color map, edges of the color map.

    equalised: `equalize(low)` where it is known already. without: of ABLATED, zeros in their places.
    """
    color = color_map(low)
    made = dict(zip(ABLATED, (equalize(low) if equalised is None else equalised, color, edges(color)), strict=True))
    return torch.cat([low, *(torch.zeros_like(x) if name in without else x for name, x in made.items())], dim=1)


def color_map(picture: Tensor) -> Tensor:
    """[B, 3, H, W] in [0, 1] -> the same: every pixel's colour at a brightness of one third."""
    return (picture / (picture.mean(dim=1, keepdim=True) + 1e-8) / 3).clamp(0, 1)


def edges(picture: Tensor) -> Tensor:
    """[B, C, H, W] -> the same: the larger of the absolute forward differences; the one beyond the edge is 0."""
    down, right = torch.zeros_like(picture), torch.zeros_like(picture)
    down[..., :-1, :] = (picture[..., 1:, :] - picture[..., :-1, :]).abs()
    right[..., :-1] = (picture[..., 1:] - picture[..., :-1]).abs()
    return torch.maximum(down, right)


def equalize(picture: Tensor) -> Tensor:
    """[B, C, H, W] in [0, 1] -> the same: every channel's histogram equalised as Pillow's ImageOps.equalize does it.

    The pixels are trunc(255 picture), 8-bit numbers; bit-equal to Pillow on them, divided by 255. Nothing is read back
    from a GPU. Values outside [0, 1] are clipped. No gradient.
    """
    real = picture.dtype if picture.dtype in (torch.float32, torch.float64) else torch.float32
    levels = (picture.detach().to(real) * 255).clamp(0, 255).to(torch.uint8)
    out = torch.empty(picture.shape, dtype=picture.dtype, device=picture.device)
    # plane by plane: indices take eight times the memory of the levels
    for plane, equalised in zip(levels.flatten(0, 1), out.flatten(0, 1), strict=True):
        table = (_table(histogram(plane)).to(real) / 255).to(picture.dtype)
        equalised.copy_(table[plane.int()])
    return out


def histogram(levels: Tensor) -> Tensor:
    """[256] int64 counts of a uint8 tensor [..., H, W]; rows are counted apart, for dark pixels fall into few bins."""
    rows = levels.flatten(0, -2)
    counts = torch.zeros(rows.shape[0], 256, dtype=torch.int64, device=levels.device)
    return counts.scatter_add_(
        1, rows.long(), torch.ones((), dtype=torch.int64, device=levels.device).expand(rows.shape)
    ).sum(0)


def _table(counts: Tensor) -> Tensor:
    """[256] counts -> [256] new levels. Integers throughout, and no look at a value: all on the device."""
    level = torch.arange(256, device=counts.device)
    last = torch.where(counts > 0, level, 0).amax(keepdim=True)
    step = (counts.sum() - counts.gather(0, last)) // 255
    before = counts.cumsum(0) - counts
    equalised = ((before + step // 2) // step.clamp(min=1)).clamp(max=255)
    return torch.where(step > 0, equalised, level)
