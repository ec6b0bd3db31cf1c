"""DiffLL's two networks: the denoising U-Net of the low band and the high-frequency restoration module (HFRM).

Jiang et al., "Low-Light Image Enhancement with Wavelet-based Diffusion Models", SIGGRAPH Asia 2023.
Parameter names are those of the published checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lowlight_ext import Conv3x3

from ...diffusion.schedules import BETAS, SPACINGS
from ..blocks import AttnBlock, Downsample, ResnetBlock, Upsample, normalised, sinusoidal_embedding

_SLOPE = 0.01  # of HFRM's LeakyReLU
STATISTICS = 21  # 7 quantiles of 3 channels, see systems/diffll.py


@dataclass(frozen=True)
class DiffLLConfig:
    """What a DiffLL is made of; the defaults are the published one (22.08 M parameters).

    levels is K. hfrm=False is the paper's ablation without HFRM: the dark picture's high bands pass unchanged.
    guide and statistics are this project's additions, off by default: `guide="gamma"` lets the networks
    see a picture brightened to a fixed geometric mean beside the dark one, `statistics` gives the U-Net quantiles of
    the whole dark picture through its time embedding.
    beta_schedule: one of schedules.BETAS, from beta_start to beta_end. spacing: see sampling_times; steps is its S.
    margin: pixels reflected around a picture that is enhanced, and cropped after: the zero padding of the convolutions
    marks the outermost blocks of a low band.
    """

    ch: int = 64
    ch_mult: tuple[int, ...] = (1, 2, 3, 4)
    num_res_blocks: int = 2
    attention_level: int = 2
    norm_groups: int = 32
    hfrm_width: int = 64
    hfrm: bool = True
    levels: int = 2
    guide: str = "none"
    statistics: bool = False
    timesteps: int = 200
    beta_schedule: str = "linear"
    beta_start: float = 1e-4
    beta_end: float = 0.02
    steps: int = 10
    spacing: str = "published"
    margin: int = 0

    def __post_init__(self):
        object.__setattr__(self, "ch_mult", tuple(self.ch_mult))
        if self.guide not in ("none", "gamma"):
            raise ValueError(f"DiffLLConfig: guide must be 'none' or 'gamma', got {self.guide!r}")
        for name, known in (("spacing", SPACINGS), ("beta_schedule", tuple(BETAS))):
            if getattr(self, name) not in known:
                raise ValueError(f"DiffLLConfig: {name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        if self.norm_groups < 1 or self.ch % self.norm_groups:
            raise ValueError(f"DiffLLConfig: ch must be a multiple of norm_groups {self.norm_groups}, got {self.ch}")
        if not 1 <= self.levels <= 3:
            raise ValueError(f"DiffLLConfig: levels must be 1, 2 or 3, got {self.levels}")
        if self.ch < 4 or self.ch % 2:
            raise ValueError(f"DiffLLConfig: ch must be even and at least 4, got {self.ch}")
        positive = ("num_res_blocks", "hfrm_width", "timesteps")
        wrong = [f"{name} {getattr(self, name)}" for name in positive if getattr(self, name) < 1]
        if wrong or not self.ch_mult or min(self.ch_mult) < 1:
            got = ", ".join(wrong) or self.ch_mult
            raise ValueError(f"DiffLLConfig: ch_mult and {', '.join(positive)} must be positive, got {got}")
        if not 1 <= self.steps <= self.timesteps:
            raise ValueError(f"DiffLLConfig: steps must lie in 1 .. {self.timesteps}, got {self.steps}")
        if self.margin < 0:
            raise ValueError(f"DiffLLConfig: margin must not be negative, got {self.margin}")

    @property
    def multiple(self) -> int:
        """Sides of pictures are padded to a multiple of this: 2^K for the wavelets, 2^3 for the U-Net."""
        return 2 ** (self.levels + len(self.ch_mult) - 1)

    @property
    def condition_channels(self) -> int:
        return 6 if self.guide == "gamma" else 3


class TimeEmbedding(nn.Module):
    def __init__(self, ch: int):
        super().__init__()
        self.ch = ch
        self.dense = nn.ModuleList([nn.Linear(ch, 4 * ch), nn.Linear(4 * ch, 4 * ch)])

    def forward(self, t: Tensor) -> Tensor:
        embedding = sinusoidal_embedding(t, self.ch).to(next(self.dense.parameters()).dtype)
        return self.dense[1](F.silu(self.dense[0](embedding)))


class UNetLevel(nn.Module):
    """Residual blocks of one resolution, attention after each where the level has it, and a change of resolution."""

    def __init__(self, widths: list[tuple[int, int]], time_width: int, groups: int, attention: bool):
        super().__init__()
        self.block = nn.ModuleList(ResnetBlock(a, b, time_width, groups) for a, b in widths)
        self.attn = nn.ModuleList(AttnBlock(b, groups) for _, b in widths if attention)

    def step(self, i: int, x: Tensor, temb: Tensor) -> Tensor:
        x = self.block[i](x, temb)
        return self.attn[i](x) if len(self.attn) else x


class Middle(nn.Module):
    def __init__(self, width: int, time_width: int, groups: int):
        super().__init__()
        self.block_1 = ResnetBlock(width, width, time_width, groups)
        self.attn_1 = AttnBlock(width, groups)
        self.block_2 = ResnetBlock(width, width, time_width, groups)

    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x, temb)), temb)


class UNet(nn.Module):
    """Noise prediction eps_theta(x_t, condition, t): [B, condition + 3, h, w] -> [B, 3, h, w]; h, w multiples of 8.

    inputs, statistics: channels and numbers it takes, where a system gives others than DiffLL does.
    """

    def __init__(self, config: DiffLLConfig, inputs: int | None = None, statistics: int = STATISTICS):
        super().__init__()
        ch, groups, count = config.ch, config.norm_groups, config.num_res_blocks
        time_width, widths = 4 * ch, [ch * m for m in config.ch_mult]
        self.temb = TimeEmbedding(ch)
        if config.statistics:
            self.statistics = nn.Sequential(
                nn.Linear(statistics, time_width), nn.SiLU(), nn.Linear(time_width, time_width)
            )
        self.conv_in = nn.Conv2d(inputs or config.condition_channels + 3, ch, 3, padding=1)

        skips, width = [ch], ch
        self.down = nn.ModuleList()
        for i, w in enumerate(widths):
            pairs = [(width if j == 0 else w, w) for j in range(count)]
            level = UNetLevel(pairs, time_width, groups, i == config.attention_level)
            skips += [w] * count
            if i + 1 < len(widths):
                level.downsample = Downsample(w)
                skips.append(w)
            self.down.append(level)
            width = w
        self.mid = Middle(width, time_width, groups)
        up: list[UNetLevel] = []
        for i, w in reversed(list(enumerate(widths))):
            pairs = []
            for _ in range(count + 1):
                pairs.append((width + skips.pop(), w))
                width = w
            level = UNetLevel(pairs, time_width, groups, i == config.attention_level)
            if i > 0:
                level.upsample = Upsample(w)
            up.insert(0, level)
        self.up = nn.ModuleList(up)
        self.norm_out = nn.GroupNorm(groups, width, eps=1e-6)
        self.conv_out = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, statistics: Tensor | None = None) -> Tensor:
        temb = self.temb(t)
        if statistics is not None:
            temb = temb + self.statistics(statistics.to(temb.dtype))
        h = self.conv_in(x)
        skips = [h]
        down: Iterable[Any] = self.down
        for level in down:
            for i in range(len(level.block)):
                h = level.step(i, h, temb)
                skips.append(h)
            if hasattr(level, "downsample"):
                h = level.downsample(h)
                skips.append(h)
        h = self.mid(h, temb)
        up: Iterable[Any] = reversed(self.up)
        for level in up:
            for i in range(len(level.block)):
                h = level.step(i, torch.cat([h, skips.pop()], dim=1), temb)
            if hasattr(level, "upsample"):
                h = level.upsample(h)
        return self.conv_out(normalised(self.norm_out, h))


class DepthConv(nn.Module):
    """Depthwise conv3x3, then pointwise conv1x1."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.depth_conv = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels)
        self.point_conv = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.point_conv(self.depth_conv(x))


class CrossAttention(nn.Module):
    """Attention between the channels of one picture row: softmax(Q K^T / sqrt(8)) V with Q, K, V [B, h, C, w].

    The published code means 8 heads but permutes so that they only set the scale sqrt(C / heads); kept as it runs.
    """

    def __init__(self, width: int, heads: int = 8):
        super().__init__()
        self.scale = (width / heads) ** -0.5
        self.query = DepthConv(width, width)
        self.key = DepthConv(width, width)
        self.value = DepthConv(width, width)

    def forward(self, query: Tensor, context: Tensor) -> Tensor:
        q, k, v = self.query(query), self.key(context), self.value(context)
        q, k, v = (z.permute(0, 2, 1, 3) for z in (q, k, v))
        attention = torch.softmax(q @ k.transpose(-1, -2) * self.scale, dim=-1)
        return (attention @ v).permute(0, 2, 1, 3)


class DilatedBlock(nn.Module):
    """Five conv3x3 with dilations 1, 2, 3, 2, 1 and LeakyReLU between, plus the input."""

    def __init__(self, width: int):
        super().__init__()
        layers: list[nn.Module] = []
        for dilation in (1, 2, 3, 2, 1):
            layers += [Conv3x3(width, width, dilation=dilation), nn.LeakyReLU(_SLOPE)]
        self.model = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        *others, last = [layer for layer in self.model if isinstance(layer, Conv3x3)]
        h = x
        for convolution in others:
            h = convolution(h, slope=_SLOPE)
        return last(h, plus=x)


class HFRM(nn.Module):
    """Restores the three high bands of one level: [3B, 3, h, w] (HL, LH, HH on the batch axis) -> the same shape."""

    reach = 13  # rows above and below that an output row depends on: three depthwise convs, conv_HH, the dilated block

    def __init__(self, width: int = 64):
        super().__init__()
        self.conv_head = DepthConv(3, width)
        self.dilated_block_LH = DilatedBlock(width)
        self.dilated_block_HL = DilatedBlock(width)
        self.cross_attention0 = CrossAttention(width)
        self.dilated_block_HH = DilatedBlock(width)
        self.conv_HH = Conv3x3(2 * width, width)
        self.cross_attention1 = CrossAttention(width)
        self.conv_tail = DepthConv(width, 3)

    def forward(self, bands: Tensor) -> Tensor:
        hl, lh, hh = self.conv_head(bands).chunk(3, dim=0)
        from_lh = self.cross_attention0(lh, hh)
        from_hl = self.cross_attention1(hl, hh)
        hl = self.dilated_block_HL(hl)
        lh = self.dilated_block_LH(lh)
        # as the convolution's weights lie, or it would go PyTorch's way
        last = self.conv_HH.weight.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if last else torch.contiguous_format
        joined = self.conv_HH(*(part.contiguous(memory_format=layout) for part in (from_lh, from_hl)))
        hh = self.dilated_block_HH(joined)
        return self.conv_tail(torch.cat([hl, lh, hh], dim=0)) + bands
