"""AnlightenDiff's networks: one U-Net for the encoders and, with a time, for the denoiser.

Chan, Siu, Chan, Chan, "AnlightenDiff: Anchoring Diffusion Probabilistic Model on Low Light Image Enhancement", IEEE
TIP 2024. Parameter names are those of the published checkpoints with the weight normalisation folded in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lowlight_ext import Conv3x3, mish_instance_norm, plus

from ...diffusion.schedules import SPACINGS
from ..blocks import sinusoidal_embedding
from ..tiling import in_strips
from .conditioning import ABLATED

_STRIP_BYTES = 64 << 20  # of a convolution's input


@dataclass(frozen=True)
class AnlightenDiffConfig:
    """What an AnlightenDiff is made of; the defaults are the published one-step model ("FS").

    two_step: the center is mixed by a second network from the color map and the equalised picture ("TS").
    stronger_cond: the denoiser's down levels see the encoder's features (published: FS yes, TS no).
    widths: channels of the levels, each half the size of the one before. rescale_ratio: r of the residual.
    steps, sampler, spacing: of enhancing where the caller does not say; spacing: see sampling_times.
    start_noise: the chain starts at the anchor with the noise of its first time, as the process has it (published: no).
    The published ablations (SWITCHES), which leave no trace in a file. use_center: the forward process is anchored;
    without, it needs stronger_cond off too, for the denoiser sees nothing of the encoder's. use_center_sampler: the
    chain starts at the anchor and its mean holds phi; without, at N(0, I). on_res: x0 is the residual, else 2 high - 1.
    clip_denoised: x0 is clamped to [-1, 1] in the chain. instance_norm: in the blocks. without: which of
    conditioning.ABLATED the encoder sees as zeros.
    """

    two_step: bool = False
    stronger_cond: bool = True
    widths: tuple[int, ...] = (64, 128, 128, 256, 256, 512)
    timesteps: int = 100
    rescale_ratio: float = 1.0
    steps: int = 100
    sampler: str = "drds"
    spacing: str = "trailing"
    start_noise: bool = False
    use_center: bool = True
    use_center_sampler: bool = True
    on_res: bool = True
    clip_denoised: bool = True
    instance_norm: bool = True
    without: tuple[str, ...] = ()

    def __post_init__(self):
        for name in ("widths", "without"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not set(self.without) <= set(ABLATED):
            raise ValueError(f"AnlightenDiffConfig: without must name some of {', '.join(ABLATED)}, got {self.without}")
        if self.stronger_cond and not self.use_center:
            raise ValueError("AnlightenDiffConfig: use_center=False needs stronger_cond=False")
        if len(self.widths) < 2 or min(self.widths) < 1 or self.widths[0] < 4 or self.widths[0] % 2:
            raise ValueError(
                f"AnlightenDiffConfig: widths must be two or more, the first even and 4 or more, got {self.widths}"
            )
        if self.spacing not in SPACINGS:
            raise ValueError(f"AnlightenDiffConfig: spacing must be one of {', '.join(SPACINGS)}, got {self.spacing!r}")
        if not 1 <= self.steps <= self.timesteps:
            raise ValueError(f"AnlightenDiffConfig: steps must lie in 1 .. {self.timesteps}, got {self.steps}")
        if not self.rescale_ratio > 0:
            raise ValueError(f"AnlightenDiffConfig: rescale_ratio must be above 0, got {self.rescale_ratio}")


SWITCHES = ("use_center", "use_center_sampler", "on_res", "clip_denoised", "instance_norm", "without")


class Block(nn.Module):
    """Reflection pad, conv3x3; the Mish that follows is its caller's, who fuses it with a norm where there is one."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.block = nn.Sequential(nn.Identity(), Conv3x3(in_channels, out_channels, "reflect"))

    def forward(self, *parts: Tensor) -> Tensor:
        """parts: one, or two side by side."""
        return self.block[1](*parts)


def _apply(convolution: Callable[..., Tensor], parts: tuple[Tensor, ...]) -> Tensor:
    """A convolution of the parts side by side, which are never joined whole: large pictures go in strips."""
    if torch.is_grad_enabled():
        return convolution(*parts)
    row_bytes = sum(part.shape[0] * part.shape[1] for part in parts) * parts[0].shape[-1] * parts[0].element_size()
    return in_strips(convolution, parts, max(32, _STRIP_BYTES // max(1, row_bytes)), 1)


class ResidualBlock(nn.Module):
    """Block, Mish, instance norm, + time, Block, Mish, instance norm, plus the input; norm: whether it has those."""

    def __init__(self, in_channels: int, out_channels: int, time_width: int | None, norm: bool = True):
        super().__init__()
        self.activate = mish_instance_norm if norm else F.mish
        if time_width is not None:
            self.mlp = nn.Sequential(nn.Mish(), nn.Linear(time_width, out_channels))
        self.block1 = Block(in_channels, out_channels)
        self.block2 = Block(out_channels, out_channels)
        if in_channels != out_channels:
            self.res_conv = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, *parts: Tensor, temb: Tensor | None = None) -> Tensor:
        """parts: [B, C, H, W] each, side by side the input."""
        h = self.activate(_apply(self.block1, parts))
        if temb is not None:
            h = plus(h, self.mlp(temb)[:, :, None, None])
        # in two lines, so that the first h is gone when the third is made
        h = _apply(self.block2, (h,))
        h = self.activate(h)
        return plus(h, _apply(self._shortcut, parts) if hasattr(self, "res_conv") else parts[0])

    def _shortcut(self, *parts: Tensor) -> Tensor:
        return self.res_conv(torch.cat(parts, dim=1) if len(parts) > 1 else parts[0])


class Downsample(nn.Module):
    """Reflection pad, stride-2 conv3x3."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, stride=2))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Upsample(nn.Module):
    """Transposed conv4x4 of stride 2."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Sequential(nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class FinalConv(nn.Sequential):
    """Block, Mish, conv1x1."""

    def forward(self, x: Tensor) -> Tensor:
        return _apply(self._both, (x,))

    def _both(self, x: Tensor) -> Tensor:
        return self[1](F.mish(self[0](x)))


class UNet(nn.Module):
    """[B, in, H, W] -> [B, 3, H, W]; H and W multiples of `multiple`, at least twice it.

    time: with a time embedding. features: every down level has another network's output of that level beside its own
    between its two residual blocks (both nets of one width). norm: instance norms in the blocks.
    """

    def __init__(
        self, in_channels: int, widths: tuple[int, ...], *, time: bool, features: bool = False, norm: bool = True
    ):
        super().__init__()
        self.ch = widths[0]
        block = partial(ResidualBlock, time_width=self.ch if time else None, norm=norm)
        if time:
            self.mlp = nn.Sequential(nn.Linear(self.ch, 4 * self.ch), nn.Mish(), nn.Linear(4 * self.ch, self.ch))
        self.downs, self.ups = nn.ModuleList(), nn.ModuleList()
        width = in_channels
        for i, w in enumerate(widths):
            level: list[nn.Module] = [
                block(width, w),
                block(2 * w if features else w, w),
            ]
            if i + 1 < len(widths):
                level.append(Downsample(w))
            self.downs.append(nn.ModuleList(level))
            width = w
        self.mid_block1 = block(width, width)
        self.mid_block2 = block(width, width)
        # the skip of an up level is the down output of its size; that of full size is never used
        for w, skip in zip(reversed(widths[:-1]), reversed(widths[1:]), strict=True):
            self.ups.append(nn.ModuleList([block(width + skip, w), block(w, w), Upsample(w)]))
            width = w
        self.final_conv = FinalConv(Block(width, width), nn.Conv2d(width, 3, 1))

    def forward(
        self,
        x: Tensor,
        t: Tensor | None = None,
        features: list[Tensor] | None = None,
        outputs: list[Tensor] | None = None,
    ) -> Tensor:
        """t: [B] times, for a net that has them. features: down outputs of another net, the full size first.

        outputs: a list to append those of the down levels (before downsampling) and up levels (before upsampling) to.
        """
        temb = None if t is None else self.mlp(sinusoidal_embedding(t, self.ch).to(next(self.mlp.parameters()).dtype))
        skips: list[Tensor] = []
        downs: Iterable[Any] = self.downs
        for i, (first, second, *down) in enumerate(downs):
            x = first(x, temb=temb)
            x = second(x, *([] if features is None else [features[i]]), temb=temb)
            if i > 0:
                skips.append(x)
            if outputs is not None:
                outputs.append(x)
            x = down[0](x) if down else x
        x = self.mid_block2(self.mid_block1(x, temb=temb), temb=temb)
        ups: Iterable[Any] = self.ups
        for first, second, up in ups:
            x = second(first(x, skips.pop(), temb=temb), temb=temb)
            if outputs is not None:
                outputs.append(x)
            x = up(x)
        return self.final_conv(x)


def published_two_step() -> AnlightenDiffConfig:
    """The published two-step model ("TS")."""
    return AnlightenDiffConfig(two_step=True, stronger_cond=False)
