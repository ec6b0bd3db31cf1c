"""NAFNet: blocks without activation functions on a U of levels.

Chen, Chu, Zhang, Sun, "Simple Baselines for Image Restoration", ECCV 2022; as ExposureDiffusion uses it, whose
published parameter names these are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lowlight_ext import layer_norm2d, simple_gate

from ..blocks import plus


class LayerNorm2d(nn.Module):
    """Layer norm over the channels of each pixel, with weight and bias [C]."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return layer_norm2d(x, self.weight, self.bias, eps=1e-6)


class GlobalMean(nn.Module):
    """[B, C, H, W] -> [B, C, 1, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3), keepdim=True)


class NAFBlock(nn.Module):
    """Norm, 1x1, depthwise 3x3, gate, channel attention, 1x1, + input; norm, 1x1, gate, 1x1, + that."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm1 = LayerNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, 2 * channels, 1)
        self.conv2 = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.sca = nn.Sequential(GlobalMean(), nn.Conv2d(channels, channels, 1))
        self.conv3 = nn.Conv2d(channels, channels, 1)
        self.norm2 = LayerNorm2d(channels)
        self.conv4 = nn.Conv2d(channels, 2 * channels, 1)
        self.conv5 = nn.Conv2d(channels, channels, 1)
        # zero, so that a new block does nothing
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        h = simple_gate(self.conv2(self.conv1(self.norm1(x))))
        h = h * self.sca(h) if torch.is_grad_enabled() else h.mul_(self.sca(h))
        x = plus(_scaled(self.conv3, h, self.beta), x)
        h = simple_gate(self.conv4(self.norm2(x)))
        return plus(_scaled(self.conv5, h, self.gamma), x)


def _scaled(conv: nn.Conv2d, x: Tensor, scale: Tensor) -> Tensor:
    """conv1x1(x) scale, scale [1, C, 1, 1]: in the weights, which spares a pass over the map."""
    assert conv.bias is not None
    return F.conv2d(x, conv.weight * scale.view(-1, 1, 1, 1), conv.bias * scale.flatten())


class NAFNet(nn.Module):
    """[B, in, H, W] -> [B, out, H, W], any H and W.

    The picture is zero-padded right and bottom to a multiple of 2^levels, over which the channel attention averages
    too, as published. encoder, middle, decoder: blocks of each level, the full size first in encoder and last in
    decoder. The global input skip is the caller's.
    """

    multiple = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int = 16,
        encoder: tuple[int, ...] = (2, 2, 4, 4),
        middle: int = 12,
        decoder: tuple[int, ...] = (2, 2, 2, 2),
    ):
        super().__init__()
        self.intro = nn.Conv2d(in_channels, width, 3, padding=1)
        self.encoders, self.downs = nn.ModuleList(), nn.ModuleList()
        self.ups, self.decoders = nn.ModuleList(), nn.ModuleList()
        for count in encoder:
            self.encoders.append(_blocks(width, count))
            self.downs.append(nn.Conv2d(width, 2 * width, 2, stride=2))
            width *= 2
        self.middle_blks = _blocks(width, middle)
        for count in decoder:
            self.ups.append(nn.Sequential(nn.Conv2d(width, 2 * width, 1, bias=False), nn.PixelShuffle(2)))
            width //= 2
            self.decoders.append(_blocks(width, count))
        self.ending = nn.Conv2d(width, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        multiple = 2 ** len(self.downs)
        x = self.intro(F.pad(x, (0, -width % multiple, 0, -height % multiple)))
        skips = []
        for blocks, down in zip(self.encoders, self.downs, strict=True):
            x = blocks(x)
            skips.append(x)
            x = down(x)
        x = self.middle_blks(x)
        for up, blocks in zip(self.ups, self.decoders, strict=True):
            x = blocks(plus(up(x), skips.pop()))
        return self.ending(x)[..., :height, :width]


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(NAFBlock(channels) for _ in range(count)))
