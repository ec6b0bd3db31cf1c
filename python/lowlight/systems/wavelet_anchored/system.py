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
import torch.nn.functional as F
from torch import Tensor

from lowlight_ext import haar_dwt2d, haar_idwt2d, normal

from ...diffusion.sampling import iterate
from ...diffusion.schedules import alpha_bars, linear_betas, sampling_times
from ..anlightendiff.schedules import SAMPLERS, anchored_sampler_rows
from ..base import Noise, PictureSystem, check_pictures, seeds_of
from ..diffll.network import DiffLLConfig, UNet
from ..tiling import pad_to_multiple
from .anchor import Anchor, Curve, automatic_mean, band_statistics, stops_to_mean, stretch_of
from .network import UNET_INPUTS, UNET_STATISTICS, Restorer, WaveletAnchoredConfig, condition_vector

SCALE = 4.0  # of the low band of a picture in [-1, 1], as after two Haar levels, whatever their number
MARGIN = 2  # positions reflected around the deepest band, whose outermost ones zero padding would mark
_STRIP_BYTES = 48 << 20  # of one map inside the restoration module; a few live at once
_GRID = 192  # blocks a side, from which the noise is estimated
_MOST_NOISE = 0.03


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


class WaveletAnchored(PictureSystem):
    """See the module; `WaveletAnchoredConfig` says of which widths."""

    name = "wavelet_anchored"
    samplers = tuple(SAMPLERS)

    def __init__(self, config: WaveletAnchoredConfig | None = None):
        super().__init__()
        self.config = config = config or WaveletAnchoredConfig()
        self.anchor = Anchor()
        shared = ("ch", "ch_mult", "num_res_blocks", "attention_level", "norm_groups")
        unet = DiffLLConfig(**{name: getattr(config, name) for name in shared}, statistics=True)
        self.unet = UNet(unet, UNET_INPUTS, UNET_STATISTICS)
        torch.nn.init.zeros_(self.unet.conv_out.weight)
        torch.nn.init.zeros_(self.unet.conv_out.bias)
        self.restorer = Restorer(config.width, config.blocks)
        self.alpha_bar = alpha_bars(linear_betas(config.timesteps, config.beta_start, config.beta_end))

    def levels(self, height: int, width: int) -> int:
        """Wavelet levels of a picture of this size: the deepest low band has about base x base positions; at least 1."""
        return max(1, round(math.log2(math.sqrt(height * width) / self.config.base)))

    def multiple(self, levels: int) -> int:
        """Sides of pictures with so many levels are padded to a multiple of this: bands of even sides."""
        return 2 ** (levels + 1)

    def analyse(self, band: Tensor, noise: list[Tensor], mean: Tensor, seen: tuple[int, int] | None = None) -> Analysis:
        """band: [B, 3, h, w] deepest means of whole dark pictures in [0, 1]. noise: of `noise_levels`, finest first.

        mean: [B], wanted of the bright pictures. seen: size of the band's part that counts, where the rest is padding.
        """
        seen = seen or tuple(band.shape[-2:])
        whole = band[..., : seen[0], : seen[1]]
        statistics, stretch = band_statistics(whole), stretch_of(whole, mean)
        curve = self.anchor(whole, mean, statistics)
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
            tuple(band.shape[-2:]),
            seen,
        )

    def estimate(self, analysis: Analysis, x_t: Tensor, t: int | Tensor) -> Tensor:
        """x0 as the network sees it in x_t: the anchor and a residual, its mean as wanted; [B, 3, h, w] as phi."""
        if isinstance(t, int):
            t = torch.full((x_t.shape[0],), t, device=x_t.device)
        phi, condition = analysis.phi, analysis.condition
        inputs = torch.cat([condition[:, :6], x_t - phi, condition[:, 6:]], dim=1)
        residual = self.unet(_channels_last(inputs.to(self.dtype)), t, analysis.vector.to(self.dtype))
        picture = self._picture(phi + analysis.change * residual.to(phi.dtype))
        reached = _inner(picture, analysis.seen).clamp(0, 1).mean(dim=(1, 2, 3))
        gain = (analysis.mean / reached.clamp(min=1e-4)).clamp(0.5, 2).view(-1, 1, 1, 1)
        return SCALE * (2 * picture * gain - 1)

    def predict(self, analysis: Analysis, x_t: Tensor, t: int | Tensor) -> Tensor:
        """eps*_theta(x_t, t), the anchored noise that belongs to the estimate of x0."""
        alpha_bar = self.alpha_bar.to(x_t.device)[t].to(x_t.dtype)
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
        """One level up: [B, 3, 2h, 2w], as bright as `bright` [B, 3, h, w] and with the detail of `dark` [B, 3, 2h, 2w].

        level: 0 for the finest. Both may be parts of whole pictures that begin at a multiple of 4 pixels.
        """
        bands = haar_dwt2d(analysis.curve(dark), normalise=True)
        details = bands[1:].permute(1, 0, 2, 3, 4).flatten(1, 2)
        gain = analysis.curve.log_gain(F.avg_pool2d(dark, 2))
        inputs = torch.cat([4 * details, bands[0], 4 * bright - 2, gain / 2 - 1], dim=1)
        out = self.restorer(_channels_last(inputs.to(self.dtype)), analysis.told[level].to(self.dtype)).to(dark.dtype)
        gates, residuals = out.chunk(2, dim=1)
        details = details + analysis.change * (details * gates + residuals / 4)
        details = details.unflatten(1, (3, 3)).permute(1, 0, 2, 3, 4)
        low = (4 * bright - 2)[None].to(details.dtype)
        return haar_idwt2d(torch.cat([low, details]).contiguous(), denormalise=True)

    def decode(self, analysis: Analysis, pyramid: list[Tensor], band: Tensor) -> Tensor:
        """From the deepest bright band to the picture; pyramid: dark means, finest first, down to the level above it."""
        picture = band
        for level in reversed(range(len(pyramid))):
            picture = self._restore_in_strips(analysis, pyramid[level], picture, level)
        return picture

    def _restore_in_strips(self, analysis: Analysis, dark: Tensor, bright: Tensor, level: int) -> Tensor:
        """`restore`, without gradients a strip of rows after the other: exact, as nothing reaches further than halo."""
        height, width = bright.shape[-2:]
        row_bytes = dark.shape[0] * width * self.config.width * dark.element_size()
        rows = max(32, _STRIP_BYTES // max(1, row_bytes)) // 2 * 2
        if torch.is_grad_enabled() or height <= rows:
            return self.restore(analysis, dark, bright, level)
        out = torch.empty_like(dark)
        halo = self.restorer.reach
        for first in range(0, height, rows):
            last = min(first + rows, height)
            top, bottom = max(0, first - halo), min(height, last + halo)
            strip = self.restore(analysis, dark[..., 2 * top : 2 * bottom, :], bright[..., top:bottom, :], level)
            out[..., 2 * first : 2 * last, :] = strip[..., 2 * (first - top) : 2 * (last - top), :]
        return out

    def enhance_tensor(
        self,
        low: Tensor,
        *,
        brightness: float | Tensor = 0.0,
        mean: Tensor | None = None,
        strength: float = 1.0,
        steps: int | None = None,
        noise: Noise | None = None,
        seed: int | Tensor = 0,
        sampler: str = "ddim",
    ) -> Tensor:
        """Bright pictures of dark ones.

        low: [B, 3, H, W] in [0, 1], any size. brightness: stops against the automatic exposure, a number or [B]. mean:
        [B], the wanted mean of the bright pictures in (0, 1), instead. strength: from 0, the dark picture, to 1.
        steps: network calls S (default: the configuration's). noise(stream, shape) replaces lowlight_ext's generator:
        stream T for x_T, t for the step from t. seed: an integer, the same noise for every picture, or one a picture
        [B]. sampler: "ddim" (eta = 0), "drds" (the anchored posterior) or "dpm++".
        Raises ValueError on another shape, sampler or number of steps, for a mean outside (0, 1) and a strength
        outside [0, 1].
        """
        with torch.no_grad():
            pyramid, analysis, estimates = self._begin(low, brightness, mean, strength, steps, noise, seed, sampler)
            for band in estimates:
                last = band
            return self._finish(analysis, pyramid, last, low, strength)

    def enhance_steps(self, low: Tensor, *, strength: float = 1.0, **options) -> Iterator[Tensor]:
        """The bright pictures as estimated after each network call, the last as enhance_tensor's; its arguments."""
        defaults = {"brightness": 0.0, "mean": None, "steps": None, "noise": None, "seed": 0, "sampler": "ddim"}
        unknown = options.keys() - defaults.keys()
        if unknown:
            raise TypeError(f"enhance_steps: unknown argument {', '.join(sorted(unknown))}")
        options = defaults | options
        with torch.no_grad():
            pyramid, analysis, estimates = self._begin(low, strength=strength, **options)
        return self._shown(analysis, pyramid, estimates, low, strength)

    @torch.no_grad()
    def _shown(
        self, analysis: Analysis, pyramid: list[Tensor], bands: Iterator[Tensor], low: Tensor, strength: float
    ) -> Iterator[Tensor]:
        for band in bands:
            yield self._finish(analysis, pyramid, band, low, strength)

    def _begin(
        self,
        low: Tensor,
        brightness: float | Tensor,
        mean: Tensor | None,
        strength: float,
        steps: int | None,
        noise: Noise | None,
        seed: int | Tensor,
        sampler: str,
    ) -> tuple[list[Tensor], Analysis, Iterator[Tensor]]:
        """The pyramid of dark pictures, what is known of them, and the deepest bright band after each network call."""
        check_pictures(self, low)
        if not 0 <= strength <= 1:
            raise ValueError(f"{type(self).__name__}: strength must lie in [0, 1], got {strength}")
        levels = self.levels(*low.shape[-2:])
        pyramid = dark_pyramid(pad_to_multiple(low, self.multiple(levels)), levels)
        band = pyramid.pop()
        seen = tuple(math.ceil(side / 2**levels) for side in low.shape[-2:])
        wanted = self.wanted_mean(band[..., : seen[0], : seen[1]], brightness, mean)
        analysis = self.analyse(band, noise_levels(pyramid), wanted, seen)
        shape, stream = tuple(analysis.phi.shape), self.config.timesteps
        seeds = seeds_of(seed, low.shape[0])
        x_T = noise(stream, shape) if noise else normal(shape, seeds, stream=stream, dtype=low.dtype, device=low.device)
        step_noise = noise and (lambda t: noise(t, shape))
        estimates = self.generate(
            analysis, self.start(analysis, x_T), steps=steps, noise=step_noise, seed=seeds, sampler=sampler
        )
        return pyramid, analysis, estimates

    def wanted_mean(self, band: Tensor, brightness: float | Tensor = 0.0, mean: Tensor | None = None) -> Tensor:
        """[B]: the mean of the bright pictures of dark means `band`; brightness in stops against automatic, or `mean`.

        Raises ValueError for a mean outside (0, 1), and for numbers of them that are not one or one a picture.
        """
        count = band.shape[0]
        if mean is not None:
            mean = torch.as_tensor(mean, dtype=band.dtype, device=band.device)
            if mean.dim() > 1 or mean.numel() not in (1, count) or not ((mean > 0) & (mean < 1)).all():
                raise ValueError(f"{type(self).__name__}: mean must be [B] between 0 and 1, got {mean.tolist()}")
            return mean.expand(count).contiguous()
        automatic = automatic_mean(band)
        stops = torch.as_tensor(brightness, dtype=band.dtype, device=band.device).expand(count)
        if not stops.any():
            return automatic
        curve = self.anchor(band, automatic, band_statistics(band))
        return stops_to_mean(curve(band), stops)

    def _finish(self, analysis: Analysis, pyramid: list[Tensor], band: Tensor, low: Tensor, strength: float) -> Tensor:
        """The bright pictures of the size of `low`."""
        height, width = low.shape[-2:]
        picture = self.decode(analysis, pyramid, band)[..., :height, :width]
        if strength < 1:
            return torch.lerp(low, picture, strength)
        return picture.clone() if picture.shape != pyramid[0].shape else picture


def dark_pyramid(low: Tensor, levels: int) -> list[Tensor]:
    """[low, its means over 2 x 2 pixels, over 4 x 4, ... 2^levels]: what low bands show, in [0, 1]."""
    pyramid = [low]
    for _ in range(levels):
        pyramid.append(F.avg_pool2d(pyramid[-1], 2))
    return pyramid


def noise_levels(pyramid: list[Tensor]) -> list[Tensor]:
    """[B] each: the mean magnitude of HH, up to 0.03, on a grid of blocks of every level; edges hardly count."""
    levels = []
    for dark in pyramid:
        rows, columns = (2 * max(1, side // 2 // _GRID) for side in dark.shape[-2:])
        corners = [dark[..., y::rows, x::columns] for y in (0, 1) for x in (0, 1)]
        hh = (corners[0] - corners[1] - corners[2] + corners[3]).abs() / 2
        levels.append(hh.clamp(max=_MOST_NOISE).mean(dim=(1, 2, 3)) + 1e-4)
    return levels


def _inner(band: Tensor, size: tuple[int, int]) -> Tensor:
    """Without the positions that were reflected around it."""
    return band[..., MARGIN : MARGIN + size[0], MARGIN : MARGIN + size[1]]


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)
