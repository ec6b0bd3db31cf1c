"""The U-Net of a DDPM. Parameter names are those of the diffusers library's UNet2DModel, so that weights are shared.

Ho, Jain, Abbeel, "Denoising Diffusion Probabilistic Models", NeurIPS 2020.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lowlight_ext import Conv3x3, group_norm_silu

from ..blocks import Upsample, sinusoidal_embedding
from .config import DDPMConfig


class GroupNormSiLU(nn.GroupNorm):
    """Group norm and SiLU in one pass over memory; without the activation group norm alone."""

    def __init__(self, config: DDPMConfig, channels: int, activation: bool = True):
        super().__init__(config.norm_groups, channels, eps=config.norm_eps)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return group_norm_silu(x, self.num_groups, self.weight, self.bias, self.eps, activation=self.activation)


class ResidualBlock(nn.Module):
    def __init__(self, config: DDPMConfig, inputs: int, outputs: int):
        super().__init__()
        self.norm1 = GroupNormSiLU(config, inputs)
        self.conv1 = Conv3x3(inputs, outputs)
        self.time_emb_proj = nn.Linear(4 * config.widths[0], outputs)
        self.norm2 = GroupNormSiLU(config, outputs)
        self.conv2 = Conv3x3(outputs, outputs)
        if inputs != outputs:
            self.conv_shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        """temb: [B, 4 widths[0]], after its activation."""
        h = self.conv1(self.norm1(x), shift=self.time_emb_proj(temb))
        return self.conv2(self.norm2(h), plus=self.conv_shortcut(x) if hasattr(self, "conv_shortcut") else x)


class Attention(nn.Module):
    """Self-attention over all positions in heads of `head_width` channels, plus the input."""

    def __init__(self, config: DDPMConfig, width: int):
        super().__init__()
        self.heads = 1 if config.head_width is None else width // config.head_width
        self.group_norm = GroupNormSiLU(config, width, activation=False)
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor) -> Tensor:
        h = self.group_norm(x).flatten(2).mT
        q, k, v = (f(h).unflatten(2, (self.heads, -1)).transpose(1, 2) for f in (self.to_q, self.to_k, self.to_v))
        h = F.scaled_dot_product_attention(q.contiguous(), k.contiguous(), v.contiguous())
        h = self.to_out[0](h.transpose(1, 2).flatten(2))
        return x + h.mT.reshape(x.shape)


class Downsample(nn.Module):
    """Stride-2 conv3x3, padded by one all around or by one to the right and below."""

    def __init__(self, width: int, padding: int):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x if self.conv.padding[0] else F.pad(x, (0, 1, 0, 1)))


class Level(nn.Module):
    """Residual blocks of one resolution, attention after each where the level has it, a change of resolution."""

    def __init__(self, config: DDPMConfig, widths: list[tuple[int, int]], attention: bool):
        super().__init__()
        self.resnets = nn.ModuleList(ResidualBlock(config, a, b) for a, b in widths)
        if attention:
            self.attentions = nn.ModuleList(Attention(config, b) for _, b in widths)

    def step(self, i: int, x: Tensor, temb: Tensor) -> Tensor:
        x = self.resnets[i](x, temb)
        return self.attentions[i](x) if hasattr(self, "attentions") else x


class Middle(nn.Module):
    def __init__(self, config: DDPMConfig, width: int):
        super().__init__()
        self.resnets = nn.ModuleList(ResidualBlock(config, width, width) for _ in range(2))
        self.attentions = nn.ModuleList([Attention(config, width)])

    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        return self.resnets[1](self.attentions[0](self.resnets[0](x, temb)), temb)


class TimeEmbedding(nn.Module):
    def __init__(self, config: DDPMConfig):
        super().__init__()
        self.config = config
        width = config.widths[0]
        self.linear_1, self.linear_2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, 4 * width)

    def forward(self, t: Tensor) -> Tensor:
        """[B] -> [B, 4 widths[0]]; every block's projection sees its SiLU, which is taken here once."""
        config = self.config
        waves = sinusoidal_embedding(
            t, config.widths[0], cosine_first=config.cosine_first, shift=config.frequency_shift
        )
        return F.silu(self.linear_2(F.silu(self.linear_1(waves.to(self.linear_1.weight.dtype)))))


class UNet(nn.Module):
    """What the prediction is of x_t and t: [B, 3, H, W], [B] -> [B, 3, H, W]; sides are multiples of the config's."""

    def __init__(self, config: DDPMConfig):
        super().__init__()
        widths, last = config.widths, len(config.widths) - 1
        self.conv_in = nn.Conv2d(3, widths[0], 3, padding=1)
        self.time_embedding = TimeEmbedding(config)
        skips, width = [widths[0]], widths[0]
        self.down_blocks = nn.ModuleList()
        for i, w in enumerate(widths):
            level = Level(config, [(width if j == 0 else w, w) for j in range(config.layers)],
                          i in config.attention_levels)  # fmt: skip
            if i < last:
                level.downsamplers = nn.ModuleList([Downsample(w, config.downsample_padding)])
            skips += [w] * (config.layers + (i < last))
            self.down_blocks.append(level)
            width = w
        self.mid_block = Middle(config, width)
        self.up_blocks = nn.ModuleList()
        for i, w in reversed(list(enumerate(widths))):
            pairs = []
            for _ in range(config.layers + 1):
                pairs.append((width + skips.pop(), w))
                width = w
            level = Level(config, pairs, i in config.attention_levels)
            if i > 0:
                level.upsamplers = nn.ModuleList([Upsample(w)])
            self.up_blocks.append(level)
        self.conv_norm_out = GroupNormSiLU(config, width)
        self.conv_out = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        temb = self.time_embedding(t)
        h = self.conv_in(x)
        skips = [h]
        down: Iterable[Any] = self.down_blocks
        for level in down:
            for i in range(len(level.resnets)):
                h = level.step(i, h, temb)
                skips.append(h)
            if hasattr(level, "downsamplers"):
                h = level.downsamplers[0](h)
                skips.append(h)
        h = self.mid_block(h, temb)
        up: Iterable[Any] = self.up_blocks
        for level in up:
            for i in range(len(level.resnets)):
                h = level.step(i, torch.cat([h, skips.pop()], dim=1), temb)
            if hasattr(level, "upsamplers"):
                h = level.upsamplers[0](h)
        return self.conv_out(self.conv_norm_out(h))
