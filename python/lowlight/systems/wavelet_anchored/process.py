"""A diffusion anchored in the wavelet domain: an exposure that can be asked for, colours of the dark picture, any size.

The anchor phi (AnlightenDiff's DRDA center) is a tone curve of the dark picture; a few network calls of an anchored
diffusion add what it lacks in the deepest low band, which has about the same size for every picture; one restoration
module then goes from band to band up to the picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lowlight_ext import brought, haar_dwt2d, haar_idwt2d

from ...diffusion.sampling import iterate
from ...diffusion.schedules import alpha_bars, linear_betas, sampling_times
from ..anlightendiff.schedules import SAMPLERS, anchored_sampler_rows
from ..base import PictureSystem
from ..diffll.network import DiffLLConfig, UNet
from ..rows import strips
from ..tiling import pad_to_multiple
from .anchor import Anchor, Curve, band_statistics, stretch_of
from .exposure import ExposureHead
from .network import UNET_INPUTS, UNET_STATISTICS, Restorer, WaveletAnchoredConfig, condition_vector
from .pyramid import halved

SCALE = 4.0  # of the low band of a picture in [-1, 1], as after two Haar levels, whatever their number
MARGIN = 2  # positions reflected around the deepest band, whose outermost ones zero padding would mark
_STRIP_BYTES = 64 << 20  # of one map inside the restoration module; a few live at once


class Analysis(NamedTuple):
    """What sampling and restoring need of whole dark pictures."""

    curve: Curve
    mean: Tensor  # [B], wanted
    change: Tensor  # [B, 1, 1, 1] in [0, 1], 0 where the picture is to stay as it is
    phi: (
        Tensor  # [B, 3, h, w], the anchor's deepest low band, SCALE times that in [-1, 1]; reflected by MARGIN and more
    )
    condition: Tensor  # [B, 9, h, w] that the U-Net sees beside x_t - phi, phi among it
    vector: Tensor  # [B, UNET_STATISTICS]
    told: list[Tensor]  # [B, 3] a level, finest first: what the restoration module is told
    size: tuple[int, int]  # of the deepest band without what was reflected around it
    seen: tuple[int, int]  # of its part that shows the picture and not what it was padded with


class WaveletProcess(PictureSystem):
    """The networks and what is made of their outputs: the deepest band, then level for level up to the picture."""

    samplers = tuple(SAMPLERS)

    def __init__(self, config: WaveletAnchoredConfig | None = None):
        super().__init__()
        self.config = config = config or WaveletAnchoredConfig()
        self.anchor = Anchor()
        shared = ("ch", "ch_mult", "num_res_blocks", "attention_level", "norm_groups")
        unet = DiffLLConfig(**{name: getattr(config, name) for name in shared}, statistics=True)
        self.unet = UNet(unet, UNET_INPUTS, UNET_STATISTICS)
        for parameter in self.unet.conv_out.parameters():
            torch.nn.init.zeros_(parameter)
        self.restorer = Restorer(config.width, config.blocks)
        self.exposure = ExposureHead(config.exposure) if config.exposure else None
        self.alpha_bar = alpha_bars(linear_betas(config.timesteps, config.beta_start, config.beta_end))

    def levels(self, height: int, width: int) -> int:
        """Wavelet levels of a picture of this size, at least 1: the deepest band has about base x base positions."""
        return max(1, round(math.log2(math.sqrt(height * width) / self.config.base)))

    def multiple(self, levels: int) -> int:
        """Sides of pictures with so many levels are padded to a multiple of this: bands of even sides."""
        return 2 ** (levels + 1)

    def analyse(self, band: Tensor, noise: list[Tensor], mean: Tensor, seen: tuple[int, int] | None = None) -> Analysis:
        """band: [B, 3, h, w] deepest means of whole dark pictures in [0, 1]. noise: of `noise_levels`, finest first.

        mean: [B], wanted of the bright pictures. seen: size of the band's part that counts, where the rest is padding.
        """
        seen = seen or (band.shape[-2], band.shape[-1])
        whole = band[..., : seen[0], : seen[1]]
        statistics, stretch = band_statistics(whole), stretch_of(whole, mean)
        curve = self.anchor(whole, mean, statistics)
        # what it was padded with depends on the picture's size: the band's own reflection does not
        band = pad_to_multiple(whole, 1, least=max(band.shape[-2:]))[..., : band.shape[-2], : band.shape[-1]]
        change = (3 * stretch.abs()).tanh()
        around = pad_to_multiple(band, 2 ** (len(self.config.ch_mult) - 1), MARGIN)
        phi = self.from_picture(curve(band))
        root = SCALE * (2 * around.sqrt() - 1)
        gain = curve.log_gain(around) - 2
        told = [
            torch.stack([torch.full_like(mean, level / 2 - 1), level_noise.log() / 2 + 3, stretch - 1], dim=1)
            for level, level_noise in enumerate(noise)
        ]
        return Analysis(
            curve,
            mean,
            change.view(-1, 1, 1, 1),
            phi,
            torch.cat([phi, root, gain], dim=1),
            condition_vector(statistics, curve.gamma, curve.scale, mean, stretch),
            told,
            (band.shape[-2], band.shape[-1]),
            seen,
        )

    def estimate(self, analysis: Analysis, x_t: Tensor, t: int | Tensor) -> Tensor:
        """x0 as the network sees it in x_t: the anchor and a residual, its mean as wanted; [B, 3, h, w] as phi."""
        if isinstance(t, int):
            t = torch.full((x_t.shape[0],), t, device=x_t.device)
        phi, condition = analysis.phi, analysis.condition
        inputs = torch.cat([condition[:, :6], x_t - phi, condition[:, 6:]], dim=1)
        residual = self.unet(_laid_out(inputs.to(self.dtype), self.unet.conv_in), t, analysis.vector.to(self.dtype))
        picture = self._picture(phi + analysis.change * residual.to(phi.dtype))
        reached = _inner(picture, analysis.seen).clamp(0, 1).mean(dim=(1, 2, 3))
        gain = (analysis.mean / reached.clamp(min=1e-4)).clamp(0.5, 2.0).view(-1, 1, 1, 1)
        return SCALE * (2 * picture * gain - 1)

    def predict(self, analysis: Analysis, x_t: Tensor, t: int | Tensor) -> Tensor:
        """eps*_theta(x_t, t), the anchored noise that belongs to the estimate of x0."""
        # of one time a number, which goes to a GPU with the call
        table = self.alpha_bar if isinstance(t, int) else brought(self.alpha_bar, x_t.device)
        alpha_bar = table[t].to(x_t.dtype)
        alpha_bar = alpha_bar.view(-1, 1, 1, 1) if alpha_bar.dim() else alpha_bar
        return (x_t - alpha_bar.sqrt() * self.estimate(analysis, x_t, t)) / (1 - alpha_bar).sqrt()

    def start(self, analysis: Analysis, noise: Tensor) -> Tensor:
        """x_T of noise of phi's shape: that of a picture which is the anchor."""
        return analysis.phi + (1 - self.alpha_bar[-1]).sqrt().to(noise.dtype) * noise

    def generate(
        self,
        analysis: Analysis,
        x_T: Tensor,
        *,
        steps: int | None = None,
        noise: Callable[[int], Tensor] | None = None,
        seed: int | Tensor | None = None,
        sampler: str = "ddim",
    ) -> Iterator[Tensor]:
        """The deepest low band [B, 3, h, w] in [0, 1] as estimated after each network call."""
        config = self.config
        times = sampling_times(config.timesteps, steps or config.steps, config.spacing)
        rows = anchored_sampler_rows(sampler, self.alpha_bar, times)
        predict = lambda x_t, t: self.predict(analysis, x_t, t)  # noqa: E731
        center, clip = (analysis.phi + 1) / 2, (-SCALE, SCALE)
        for _, x0 in iterate(predict, x_T, times, rows, center=center, clip=clip, noise=noise, seed=seed):
            yield self.band_picture(analysis, x0)

    def band_picture(self, analysis: Analysis, x0: Tensor) -> Tensor:
        """An estimate of x0 as a picture in [0, 1] of the deepest band's size."""
        return _inner(self._picture(x0), analysis.size).clamp(0, 1)

    def from_picture(self, band: Tensor) -> Tensor:
        """x0 of a deepest band [B, 3, h, w] in [0, 1], reflected as phi is."""
        return SCALE * (2 * pad_to_multiple(band, 2 ** (len(self.config.ch_mult) - 1), MARGIN) - 1)

    @staticmethod
    def _picture(x: Tensor) -> Tensor:
        return (x / SCALE + 1) / 2

    def restore(self, analysis: Analysis, dark: Tensor, bright: Tensor, level: int) -> Tensor:
        """One level up: [B, 3, 2h, 2w], as bright as `bright` [B, 3, h, w], with the detail of `dark` [B, 3, 2h, 2w].

        level: 0 for the finest. Both may be parts of whole pictures that begin at a multiple of 4 pixels.
        """
        bands = haar_dwt2d(analysis.curve(dark), normalise=True)
        details = bands[1:].permute(1, 0, 2, 3, 4).flatten(1, 2)
        gain = analysis.curve.log_gain(halved(dark))
        inputs = torch.cat([4 * details, bands[0], 4 * bright - 2, gain / 2 - 1], dim=1)
        out = self.restorer(_laid_out(inputs.to(self.dtype), self.restorer.head), analysis.told[level].to(self.dtype))
        gates, residuals = out.to(dark.dtype).chunk(2, dim=1)
        details = details + analysis.change * (details * gates + residuals / 4)
        details = details.unflatten(1, (3, 3)).permute(1, 0, 2, 3, 4)
        low = (4 * bright - 2)[None].to(details.dtype)
        return haar_idwt2d(torch.cat([low, details]).contiguous(), denormalise=True)

    def decode(self, analysis: Analysis, pyramid: list[Tensor], band: Tensor) -> Tensor:
        """From the deepest bright band to the finest level of `pyramid`.

        pyramid: dark means from the finest wanted level down to the one above the band.
        """
        picture, finest = band, len(analysis.told) - len(pyramid)
        for level in reversed(range(len(pyramid))):
            dark = pyramid[level]
            if torch.is_grad_enabled():
                picture = self.restore(analysis, dark, picture, finest + level)
                continue
            below, picture = picture, torch.empty_like(dark, memory_format=torch.contiguous_format)
            read = lambda first, last, dark=dark: dark[..., first:last, :]  # noqa: E731
            for first, strip in self._restored(analysis, read, below, finest + level):
                picture[..., first : first + strip.shape[-2], :] = strip
        return picture

    def _restored(
        self, analysis: Analysis, read: Callable[[int, int], Tensor], bright: Tensor, level: int
    ) -> Iterator[tuple[int, Tensor]]:
        """`restore` a strip of rows after the other, with its first row: exact, as nothing reaches further than halo.

        read(first, last): rows of the dark means of this level.
        """
        count, _, height, width = bright.shape
        row_bytes = count * width * self.config.width * bright.element_size()
        rows = max(32, _STRIP_BYTES // row_bytes) // 2 * 2
        for first, last, top, bottom in strips(height, rows, self.restorer.reach):
            strip = self.restore(analysis, read(2 * top, 2 * bottom), bright[..., top:bottom, :], level)
            yield 2 * first, strip[..., 2 * (first - top) : 2 * (last - top), :]


def _inner(band: Tensor, size: tuple[int, int]) -> Tensor:
    """Without the positions that were reflected around it."""
    return band[..., MARGIN : MARGIN + size[0], MARGIN : MARGIN + size[1]]


def _laid_out(x: Tensor, convolution: nn.Conv2d) -> Tensor:
    """As its weights are, which a convolution of another layout would copy in every call."""
    last = convolution.weight.is_contiguous(memory_format=torch.channels_last)
    return x.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
