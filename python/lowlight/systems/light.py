"""sRGB and linear light (IEC 61966-2-1), and saturation; torch."""

from __future__ import annotations

import torch
from torch import Tensor


def to_linear(srgb: Tensor) -> Tensor:
    """sRGB in [0, 1] to linear light."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def from_linear(linear: Tensor) -> Tensor:
    """Linear light in [0, 1] to sRGB."""
    # clamped below: the power's slope at 0 would make a gradient NaN
    curved = 1.055 * linear.clamp(min=1e-6) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, linear * 12.92, curved)


def exposed(picture: Tensor, stops: Tensor) -> Tensor:
    """sRGB pictures [B, 3, H, W] in [0, 1] after a gain of 2^stops in linear light, clipped; stops: a number or [B]."""
    return from_linear((to_linear(picture) * 2 ** stops.reshape(-1, 1, 1, 1)).clamp(0, 1))


def saturated(picture: Tensor, factor: float) -> Tensor:
    """sRGB pictures [B, 3, H, W] in [0, 1] with `factor` times the HSL saturation, as far as clipping allows."""
    lightness = (picture.amax(dim=1, keepdim=True) + picture.amin(dim=1, keepdim=True)) / 2
    return torch.lerp(lightness, picture, factor).clamp(0, 1)
