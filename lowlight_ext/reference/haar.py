"""Haar wavelets, one level, in plain PyTorch. The order of the additions is part of the definition."""

import torch
from torch import Tensor


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """The dtype an operator computes in: float64 for float64, float32 for all others."""
    return torch.float64 if dtype == torch.float64 else torch.float32


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
