"""NAFNet: blocks without activation functions on a U of levels.

Chen, Chu, Zhang, Sun, "Simple Baselines for Image Restoration", ECCV 2022; as ExposureDiffusion uses it, whose
published parameter names these are.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from lowlight_ext import NAFBlock, NAFDown, NAFUp


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
            self.downs.append(NAFDown(width))
            width *= 2
        self.middle_blks = _blocks(width, middle)
        for count in decoder:
            self.ups.append(NAFUp(width))
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
            x = blocks(up(x, skips.pop()))
        return self.ending(x)[..., :height, :width]


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(NAFBlock(channels) for _ in range(count)))
