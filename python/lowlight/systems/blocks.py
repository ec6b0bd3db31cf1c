"""Building blocks that more than one network uses."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def sinusoidal_embedding(t: Tensor, width: int, *, cosine_first: bool = False, shift: int = 1) -> Tensor:
    """[B] times -> [B, width]: sin then cos of t exp(-ln(10000) k / (width/2 - shift)); Ho et al. 2020."""
    half = width // 2
    frequencies = torch.exp(
        torch.arange(half, device=t.device, dtype=torch.float32) * (-math.log(10000) / (half - shift))
    )
    angles = t.float()[:, None] * frequencies[None]
    parts = [angles.sin(), angles.cos()]
    return torch.cat(parts[::-1] if cosine_first else parts, dim=1)


class ResnetBlock(nn.Module):
    """GroupNorm, SiLU, conv3x3, + time, GroupNorm, SiLU, dropout, conv3x3, plus the input."""

    def __init__(self, in_channels: int, out_channels: int, time_width: int, groups: int, dropout: float = 0.0):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_channels, eps=1e-6)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.temb_proj = nn.Linear(time_width, out_channels)
        self.norm2 = nn.GroupNorm(groups, out_channels, eps=1e-6)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        if in_channels != out_channels:
            self.nin_shortcut = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.temb_proj(F.silu(temb))[:, :, None, None]
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        return h + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class AttnBlock(nn.Module):
    """Self-attention of one head over all positions, plus the input."""

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        # contiguous, or PyTorch takes its path that stores the whole N x N matrix
        q, k, v = (conv(h).flatten(2).mT.contiguous().unsqueeze(1) for conv in (self.q, self.k, self.v))
        h = F.scaled_dot_product_attention(q, k, v)  # scale C^-1/2, as published
        h = h.squeeze(1).transpose(1, 2).reshape(x.shape)
        return x + self.proj_out(h)


class Downsample(nn.Module):
    """Stride-2 conv3x3 after zero-padding right and bottom by one."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Nearest x2, then conv3x3."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
