"""Haar wavelets in plain PyTorch. The order of the additions is part of the definition."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lowlight_ext.common import accumulator


def haar_dwt2d(x: Tensor, normalise: bool = False) -> Tensor:
    """[..., H, W] -> [4, ..., H/2, W/2]: the bands LL, HL, LH, HH of x, or of 2x - 1."""
    v = x.to(accumulator(x.dtype))
    if normalise:
        v = 2 * v - 1
    even, odd = v[..., 0::2, :], v[..., 1::2, :]
    total, difference = even + odd, even - odd
    left_total, right_total = total[..., 0::2], total[..., 1::2]
    left_difference, right_difference = difference[..., 0::2], difference[..., 1::2]
    ll = left_total + right_total
    hl = right_total - left_total
    lh = -(left_difference + right_difference)
    hh = left_difference - right_difference
    return (0.5 * torch.stack((ll, hl, lh, hh))).to(x.dtype).contiguous()


def haar_idwt2d(bands: Tensor, denormalise: bool = False) -> Tensor:
    """[4, ..., h, w] -> [..., 2h, 2w]: the inverse y, or clamp((y + 1) / 2, 0, 1)."""
    ll, hl, lh, hh = bands.to(accumulator(bands.dtype)).unbind(0)
    left_total, right_total = ll - hl, ll + hl
    left_difference, right_difference = hh - lh, -(lh + hh)
    even = torch.stack((left_total + left_difference, right_total + right_difference), dim=-1).flatten(-2)
    odd = torch.stack((left_total - left_difference, right_total - right_difference), dim=-1).flatten(-2)
    y = 0.5 * torch.stack((even, odd), dim=-2).flatten(-3, -2)
    if denormalise:
        y = ((y + 1) * 0.5).clamp(0, 1)
    return y.to(bands.dtype).contiguous()


def haar_wavedec2d(x: Tensor, levels: int, normalise: bool = False, dwt: Callable = haar_dwt2d) -> list[Tensor]:
    """[LL, details coarsest .. finest] of x [..., H, W], or of 2x - 1; no result shares memory with another."""
    details: list[Tensor] = []
    for level in range(levels):
        x, *bands = dwt(x, normalise and level == 0).unbind(0)
        details.append(torch.stack(bands))
    return [x.clone(), *reversed(details)]


def haar_waverec2d(coefficients: Sequence[Tensor], denormalise: bool = False, idwt: Callable = haar_idwt2d) -> Tensor:
    """The inverse of haar_wavedec2d, or clamp((y + 1) / 2, 0, 1) of it."""
    x, *details = coefficients
    for index, bands in enumerate(details, 1):
        x = idwt(torch.cat((x[None], bands)), denormalise and index == len(details))
    return x
