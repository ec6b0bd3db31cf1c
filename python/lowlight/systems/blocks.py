"""Building blocks that more than one network uses."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lowlight_ext import Conv3x3, group_norm_silu, plus

_QUERIES = 512  # of an attention in bfloat16, at a time


def sinusoidal_embedding(t: Tensor, width: int, *, cosine_first: bool = False, shift: int = 1) -> Tensor:
    """[B] times -> [B, width]: sin then cos of t exp(-ln(10000) k / (width/2 - shift)); Ho et al. 2020."""
    half = width // 2
    frequencies = torch.exp(
        torch.arange(half, device=t.device, dtype=torch.float32) * (-math.log(10000) / (half - shift))
    )
    angles = t.float()[:, None] * frequencies[None]
    parts = [angles.sin(), angles.cos()]
    return torch.cat(parts[::-1] if cosine_first else parts, dim=1)


def normalised(norm: nn.GroupNorm, x: Tensor, activation: bool = True) -> Tensor:
    """silu(norm(x)), or without `activation` norm(x), in one pass fewer over memory than the two modules take."""
    return group_norm_silu(x, norm.num_groups, norm.weight, norm.bias, norm.eps, activation=activation)


class ResnetBlock(nn.Module):
    """GroupNorm, SiLU, conv3x3, + time, GroupNorm, SiLU, dropout, conv3x3, plus the input."""

    def __init__(self, in_channels: int, out_channels: int, time_width: int, groups: int, dropout: float = 0.0):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_channels, eps=1e-6)
        self.conv1 = Conv3x3(in_channels, out_channels)
        self.temb_proj = nn.Linear(time_width, out_channels)
        self.norm2 = nn.GroupNorm(groups, out_channels, eps=1e-6)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = Conv3x3(out_channels, out_channels)
        if in_channels != out_channels:
            self.nin_shortcut = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        h = self.conv1(normalised(self.norm1, x), shift=self.temb_proj(F.silu(temb)))
        h = self.dropout(normalised(self.norm2, h))
        return self.conv2(h, plus=self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


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
        three = [(conv.weight, conv.bias) for conv in (self.q, self.k, self.v) if conv.bias is not None]
        weight, bias = (torch.cat(parts) for parts in zip(*three, strict=True))
        h = F.conv2d(normalised(self.norm, x, activation=False), weight, bias)
        # each position's numbers side by side, or PyTorch takes its path that stores the whole N x N matrix
        q, k, v = h.flatten(2).mT.contiguous().unsqueeze(1).chunk(3, dim=-1)
        h = attention(q, k, v)  # scale C^-1/2, as published
        h = h.squeeze(1).transpose(1, 2).reshape(x.shape)
        return plus(self.proj_out(h), x)


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T C^-1/2) v of [..., N, C]."""
    plain = q.dtype != torch.bfloat16 or not q.is_cpu or torch.is_grad_enabled() or torch.compiler.is_compiling()
    if plain:
        return F.scaled_dot_product_attention(q, k, v)
    # on a CPU PyTorch's multiplies at float32's rate; some queries at a time, so that no N x N matrix is stored
    columns, scale = k.mT, q.shape[-1] ** -0.5
    return torch.cat([(rows @ columns).softmax(-1) @ v for rows in (q * scale).split(_QUERIES, dim=-2)], dim=-2)


class Downsample(nn.Module):
    """Stride-2 conv3x3 after zero-padding right and bottom by one."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Nearest x2, then conv3x3, which never sees the larger map."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = Conv3x3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x, twice=True)
