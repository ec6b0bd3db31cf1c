"""What an anchored wavelet diffusion is made of, and its restoration module."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lowlight_ext import Conv3x3

from ...diffusion.schedules import SPACINGS
from .anchor import STATISTICS

BANDS = 9  # HL, LH, HH of three channels
RESTORER_INPUTS = BANDS + 9  # and the anchor's low band, the restored one, the logarithm of the gain
TOLD = 3  # numbers a picture and level: its level, its noise, its stretch
UNET_INPUTS = 12  # x_t - phi, the anchor, the root of the dark band, the logarithm of the gain
UNET_STATISTICS = STATISTICS + 8  # and the curve's gamma and scale, the wanted mean, the stretch


@dataclass(frozen=True)
class WaveletAnchoredConfig:
    """Widths and process of an anchored wavelet diffusion.

    ch, ch_mult, num_res_blocks, attention_level, norm_groups: of the U-Net of the deepest low band, as DiffLL's.
    base: side of a square with as many pixels as the deepest low band should have; the number of wavelet levels follows
    from it and the picture. width: of the restoration module at the bands' size, twice that at half of it; blocks: its
    residual blocks at half of it. exposure: width of the exposure head (exposure.py), 0 for none. timesteps,
    beta_start, beta_end, steps, spacing: as DiffLL's.
    """

    ch: int = 32
    ch_mult: tuple[int, ...] = (1, 2, 3, 4)
    num_res_blocks: int = 2
    attention_level: int = 2
    norm_groups: int = 8
    base: int = 61
    width: int = 32
    blocks: int = 2
    exposure: int = 0
    timesteps: int = 200
    beta_start: float = 1e-4
    beta_end: float = 0.02
    steps: int = 2
    spacing: str = "trailing"

    def __post_init__(self):
        object.__setattr__(self, "ch_mult", tuple(self.ch_mult))
        if self.spacing not in SPACINGS:
            raise ValueError(
                f"WaveletAnchoredConfig: spacing must be one of {', '.join(SPACINGS)}, got {self.spacing!r}"
            )
        if self.norm_groups < 1 or self.ch % self.norm_groups or self.ch < 4 or self.ch % 2:
            wanted = f"even and a multiple of norm_groups {self.norm_groups}"
            raise ValueError(f"WaveletAnchoredConfig: ch must be {wanted}, got {self.ch}")
        positive = ("num_res_blocks", "width", "blocks", "timesteps", "base")
        wrong = [f"{name} {getattr(self, name)}" for name in positive if getattr(self, name) < 1]
        if wrong or not self.ch_mult or min(self.ch_mult) < 1:
            got = ", ".join(wrong) or self.ch_mult
            raise ValueError(f"WaveletAnchoredConfig: ch_mult and {', '.join(positive)} must be positive, got {got}")
        if self.exposure < 0:
            raise ValueError(f"WaveletAnchoredConfig: exposure must not be negative, got {self.exposure}")
        if not 1 <= self.steps <= self.timesteps:
            raise ValueError(f"WaveletAnchoredConfig: steps must lie in 1 .. {self.timesteps}, got {self.steps}")


class ResidualBlock(nn.Module):
    """x + conv3x3(ReLU(conv3x3(x) scaled and shifted by what is told)); no norm, so that a part is as the whole."""

    def __init__(self, width: int, told: int):
        super().__init__()
        self.conv1 = Conv3x3(width, width)
        self.conv2 = Conv3x3(width, width)
        self.told = nn.Linear(told, 2 * width)
        nn.init.zeros_(self.told.weight)
        nn.init.zeros_(self.told.bias)

    def forward(self, x: Tensor, told: Tensor, slope: float | None = None) -> Tensor:
        """slope: of a leaky ReLU of the result, where one follows."""
        scale, shift = self.told(told).chunk(2, dim=1)
        return self.conv2(self.conv1(x, scale=1 + scale, shift=shift, slope=0.0), plus=x, slope=slope)


class Restorer(nn.Module):
    """Gates and residuals of the high bands of any level: [B, 18, h, w], [B, 3] -> [B, 18, h, w], zero when untrained.

    Even h and w. An output depends on `reach` rows around it, and on their numbers' parity.
    """

    def __init__(self, width: int = 32, blocks: int = 2, told: int = 32):
        super().__init__()
        self.reach = 8 + 4 * blocks
        self.told = nn.Sequential(nn.Linear(TOLD, told), nn.SiLU(), nn.Linear(told, told), nn.SiLU())
        self.head = Conv3x3(RESTORER_INPUTS, width)
        self.fine1 = ResidualBlock(width, told)
        self.down = nn.Conv2d(width, 2 * width, 2, stride=2)
        self.coarse = nn.ModuleList(ResidualBlock(2 * width, told) for _ in range(blocks))
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.fine2 = ResidualBlock(width, told)
        self.tail = Conv3x3(width, 2 * BANDS)
        for parameter in self.tail.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        told = self.told(told.to(x.dtype))
        x = self.fine1(self.head(x), told)
        h = self.down(x)
        for block in self.coarse:
            h = block(h, told)
        return self.tail(self.fine2(self.up(h).add_(x), told, slope=0.0))


def condition_vector(statistics: Tensor, gamma: Tensor, scale: Tensor, mean: Tensor, stretch: Tensor) -> Tensor:
    """[B, UNET_STATISTICS]: what the U-Net is told of the whole picture."""
    told = [gamma - 0.6, scale.log() / 2, 4 * (mean[:, None] - 0.4), stretch[:, None] - 1]
    return torch.cat([statistics, *told], dim=1)
