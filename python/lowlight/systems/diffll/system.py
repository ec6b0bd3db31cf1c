"""DiffLL: a diffusion model generates the deepest low band, HFRMs restore the high bands.

Jiang et al., "Low-Light Image Enhancement with Wavelet-based Diffusion Models", SIGGRAPH Asia 2023.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lowlight_ext import anchored_q_sample, brought, haar_wavedec2d, haar_waverec2d, normal

from ...diffusion.sampling import iterate, sample
from ...diffusion.schedules import BETAS, SAMPLERS, alpha_bars, sampler_rows, sampling_times
from ...metrics.losses import ssim, total_variation
from ..base import Noise, PictureSystem, check_pictures, seeds_of
from ..tiling import in_strips, pad_to_multiple
from .network import HFRM, DiffLLConfig, UNet

SAMPLER = "ddim"  # where the caller does not say
_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_FLOOR = 1 / 255
_GUIDE_LEVEL = 0.4
_STRIP_BYTES = 64 << 20  # of one map inside an HFRM; about ten of them live at once


class Bands(NamedTuple):
    """What sampling and decoding need of dark pictures (all of the padded size)."""

    condition: Tensor  # [B, 3 or 6, h, w] low bands the U-Net sees beside x_t
    low_shape: tuple[int, ...]  # of the deepest low band, [B, 3, h, w]
    high: list[Tensor]  # restored high bands, coarsest first, [3, B, 3, h, w]
    statistics: Tensor | None  # [B, 21]


def log_quantiles(low: Tensor) -> Tensor:
    """[B, 3, H, W] in [0, 1] -> [B, 21]: log of seven quantiles a channel, on a grid of at most 256 x 256 pixels."""
    stride_y, stride_x = (max(1, math.ceil(size / 256)) for size in low.shape[-2:])
    pixels = low[..., ::stride_y, ::stride_x].flatten(2).float()
    levels = brought(torch.tensor(_QUANTILES, dtype=torch.float32, device="cpu"), low.device)
    quantiles = torch.quantile(pixels, levels, dim=2)  # [7, B, 3]
    return ((quantiles + _FLOOR) / (1 + _FLOOR)).log().permute(1, 0, 2).flatten(1)


def gamma_guide(low: Tensor, statistics: Tensor) -> Tensor:
    """The dark picture raised to the power that takes its median (geometric mean of channels) to 0.4; never darker."""
    log_median = statistics.view(-1, len(_QUANTILES), 3)[:, _QUANTILES.index(0.5)].mean(dim=1)
    gamma = (math.log(_GUIDE_LEVEL) / log_median.clamp(max=-1e-3)).clamp(0.1, 1.0)
    return ((low + _FLOOR) / (1 + _FLOOR)) ** gamma.to(low.dtype).view(-1, 1, 1, 1)


class DiffLL(PictureSystem):
    """DiffLL of any width and K; state dict names are those of the published checkpoint."""

    name = "diffll"
    samplers = tuple(SAMPLERS)

    def __init__(self, config: DiffLLConfig | None = None):
        super().__init__()
        self.config = config or DiffLLConfig()
        for i in range(self.config.levels if self.config.hfrm else 0):
            self.add_module(f"high_enhance{i}", HFRM(self.config.hfrm_width))
        self.Unet = UNet(self.config)
        betas = BETAS[self.config.beta_schedule]
        self.alpha_bar = alpha_bars(betas(self.config.timesteps, self.config.beta_start, self.config.beta_end))

    @property
    def multiple(self) -> int:
        """Pictures are padded to a multiple of this."""
        return self.config.multiple

    def analyse(self, low: Tensor, statistics: Tensor | None = None) -> Bands:
        """Bands of dark pictures [B, 3, H, W], H and W multiples of `multiple`.

        statistics: `log_quantiles` of the whole pictures where `low` is a part of them or padded.
        """
        if statistics is None:
            statistics = log_quantiles(low)
        guide = gamma_guide(low, statistics) if self.config.guide == "gamma" else low
        low_band, *details = haar_wavedec2d(guide, self.config.levels, normalise=True)
        condition = low_band
        if self.config.guide == "gamma":
            absolute = haar_wavedec2d(low.sqrt(), self.config.levels, normalise=True)[0]
            condition = torch.cat([low_band, absolute], dim=1)
        return Bands(
            condition,
            tuple(low_band.shape),
            self.restore(details),
            (statistics + 3) / 1.5 if self.config.statistics else None,
        )

    def restore(self, details: list[Tensor]) -> list[Tensor]:
        """High bands of the dark picture -> of the bright one; coarsest first, each [3, B, 3, h, w]."""
        if not self.config.hfrm:
            return details
        restored = []
        for i, bands in zip(reversed(range(len(details))), details, strict=True):
            hfrm, flat = getattr(self, f"high_enhance{i}"), bands.flatten(0, 1).to(self.dtype)
            if torch.is_grad_enabled():
                flat = hfrm(flat)
            else:
                row_bytes = flat.shape[0] * flat.shape[-1] * self.config.hfrm_width * flat.element_size()
                rows = max(32, _STRIP_BYTES // max(1, row_bytes))
                flat = in_strips(hfrm, flat, rows, HFRM.reach)
            restored.append(flat.view_as(bands).to(bands.dtype))
        return restored

    def generate(
        self,
        bands: Bands,
        x_T: Tensor,
        *,
        steps: int | None = None,
        noise: Callable[[int], Tensor] | None = None,
        sampler: str | None = None,
        recompute: bool = False,
    ) -> Tensor:
        """From x_T to the bright picture's deepest low band; sampler: "ddim" (eta = 0, the default) or
        "dpm++" (second order).

        recompute: see training_losses.
        """

        def predict(x_t: Tensor, t: int) -> Tensor:
            if recompute:
                return checkpoint(self.predict, bands, x_t, t, use_reentrant=False)
            return self.predict(bands, x_t, t)

        config = self.config
        times = sampling_times(config.timesteps, steps or config.steps, config.spacing)
        return sample(predict, x_T, times, sampler_rows(sampler or SAMPLER, self.alpha_bar, times), noise=noise)

    def predict(self, bands: Bands, x_t: Tensor, t: int | Tensor) -> Tensor:
        """eps_theta(x_t, t) with the dark picture's low bands beside x_t."""
        if isinstance(t, int):
            t = torch.full((x_t.shape[0],), t, device=x_t.device)
        inputs = torch.cat([bands.condition.to(self.dtype), x_t.to(self.dtype)], dim=1)
        return self.Unet(inputs, t, bands.statistics).to(x_t.dtype)

    def enhance_tensor(
        self,
        low: Tensor,
        *,
        steps: int | None = None,
        noise: Noise | None = None,
        seed: int | Tensor = 0,
        sampler: str | None = None,
    ) -> Tensor:
        """Bright pictures of dark ones.

        low: [B, 3, H, W] in [0, 1], any size. steps: S, the network calls (default: the
        configuration's).
        noise(stream, shape) replaces lowlight_ext's generator: stream T for x_T, t for the step from t.
        seed: an integer, the same noise for every picture, or one a picture [B].
        sampler: "ddim" (eta = 0, the default) or "dpm++" (second-order DPM-Solver++).
        Raises ValueError on another shape or sampler.
        """
        with torch.no_grad():
            bands, x_T = self._start(low, noise, seed)
            step_noise = None if noise is None else lambda t: noise(t, bands.low_shape)
            low_band = self.generate(bands, x_T, steps=steps, noise=step_noise, sampler=sampler)
            picture = self._decode(low_band, bands, low)
        return picture.clone()

    def enhance_steps(
        self,
        low: Tensor,
        *,
        steps: int | None = None,
        noise: Noise | None = None,
        seed: int | Tensor = 0,
        sampler: str | None = None,
    ) -> Iterator[Tensor]:
        """The bright pictures as estimated after each network call, the last as enhance_tensor's; its arguments."""
        times = sampling_times(self.config.timesteps, steps or self.config.steps, self.config.spacing)
        rows = sampler_rows(sampler or SAMPLER, self.alpha_bar, times)
        with torch.no_grad():
            bands, x_T = self._start(low, noise, seed)
        return self._shown(bands, x_T, times, rows, low)

    @torch.no_grad()
    def _shown(self, bands: Bands, x_T: Tensor, times: list[int], rows: Tensor, low: Tensor) -> Iterator[Tensor]:
        for _, x0 in iterate(lambda x, t: self.predict(bands, x, t), x_T, times, rows):
            yield self._decode(x0, bands, low).clone()

    def _start(self, low: Tensor, noise: Noise | None, seed: int | Tensor) -> tuple[Bands, Tensor]:
        """The bands of dark pictures of any size, and x_T."""
        check_pictures(self, low)
        bands = self.analyse(pad_to_multiple(low, self.multiple, self.config.margin), log_quantiles(low))
        stream = self.config.timesteps
        if noise is not None:
            return bands, noise(stream, bands.low_shape)
        seeds = seeds_of(seed, low.shape[0])
        return bands, normal(bands.low_shape, seeds, stream=stream, dtype=low.dtype, device=low.device)

    def _decode(self, low_band: Tensor, bands: Bands, low: Tensor) -> Tensor:
        """The bright pictures of the size of `low`."""
        margin, (height, width) = self.config.margin, low.shape[-2:]
        picture = haar_waverec2d([low_band, *bands.high], denormalise=True)
        return picture[..., margin : margin + height, margin : margin + width]

    def training_losses(
        self,
        low: Tensor,
        high: Tensor,
        *,
        t: Tensor,
        noise: Tensor,
        x_T: Tensor | None = None,
        steps: int | None = None,
        statistics: Tensor | None = None,
        recompute: bool = False,
    ) -> dict[str, Tensor]:
        """The published terms noise, l1, ssim, bands and tv; their sum is the loss (the published weights are in them).

        low, high: [B, 3, H, W] in [0, 1], sizes multiples of `multiple`. t: int64 [B]; noise and x_T: of the deepest
        low band. With x_T the whole sampling runs with gradients (`steps` network calls). Without it there are no l1
        and ssim, and bands and tv are those of the high bands alone (the ablation without the sampling pass).
        statistics: `log_quantiles` of the whole dark pictures where low is a crop.
        recompute: the sampling keeps x_t alone for the backward pass and runs each network call again: the same
        gradients with the memory of one call, for a call's time more.
        """
        bands = self.analyse(low, statistics)
        target_low, *target_details = haar_wavedec2d(high, self.config.levels, normalise=True)
        x_t = anchored_q_sample(target_low, t, self.alpha_bar, noise=noise)
        assert isinstance(x_t, Tensor)
        losses = {"noise": F.mse_loss(self.predict(bands, x_t, t), noise)}
        zero = high.new_zeros(())
        band_error = sum((F.mse_loss(a, b) for a, b in zip(bands.high, target_details, strict=True)), zero)
        smoothness = sum((total_variation(d.flatten(0, 1)) for d in bands.high), zero)
        if x_T is not None:
            coefficients = [self.generate(bands, x_T, steps=steps, recompute=recompute), *bands.high]
            picture = haar_waverec2d(coefficients, denormalise=True)
            losses["l1"] = F.l1_loss(picture, high)
            losses["ssim"] = 1 - ssim(picture, high)
            for level in range(1, self.config.levels):  # the low bands between the deepest and the picture
                band = haar_waverec2d(coefficients[: 1 + self.config.levels - level])
                band_error = band_error + F.mse_loss(band, haar_wavedec2d(high, level, normalise=True)[0])
                smoothness = smoothness + total_variation(band)
        losses["bands"] = 0.1 * band_error
        losses["tv"] = 0.01 * smoothness
        return losses
