"""A DDPM of small pictures: it learns how pictures of one kind are, noises and denoises them, and makes new ones.

Ho, Jain, Abbeel, "Denoising Diffusion Probabilistic Models", NeurIPS 2020. With an anchor the forward process ends at a
blurred picture and not at zero, AnlightenDiff's eq. 12-13.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from lowlight_ext import anchored_q_sample, normal

from ...diffusion.sampling import iterate
from ...diffusion.schedules import alpha_bars, ddpm_rows, named_betas, sampling_times, zero_terminal_snr
from ...seeds import first_seed
from ..anlightendiff.schedules import anchored
from ..base import Noise, PictureSystem, check_pictures, seeds_of
from ..tiling import pad_to_multiple
from .config import DDPMConfig
from .network import UNet


class DDPM(PictureSystem):
    """A DDPM of any width and process; it knows no condition, and with an anchor that alone."""

    name = "ddpm"
    samplers = ("ddpm",)

    def __init__(self, config: DDPMConfig | None = None):
        super().__init__()
        self.config = config or DDPMConfig()
        self.unet = UNet(self.config)
        self.alpha_bar = alpha_bar_of(self.config)

    def sampled_with(self, config: DDPMConfig) -> DDPM:
        """A system with these weights and another configuration, whose network must be the same one."""
        other = DDPM(config).to(device=self.device, dtype=self.dtype)
        other.load_state_dict(self.state_dict())
        return other.eval().requires_grad_(False)

    def center(self, pictures: Tensor) -> Tensor | None:
        """The anchors of pictures [B, 3, H, W] in [0, 1], alike: a grid of means, made brighter; or None."""
        side = self.config.anchor
        if not side:
            return None
        means = F.adaptive_avg_pool2d(pictures, (min(side, pictures.shape[-2]), min(side, pictures.shape[-1])))
        blurred = F.interpolate(means, pictures.shape[-2:], mode="bicubic", align_corners=False)
        return (blurred * self.config.anchor_gain).clamp(0, 1)

    def add_noise(self, x0: Tensor, t: Tensor, noise: Tensor, center: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x_t of x0 [B, 3, H, W] in [-1, 1] at times t [B], and the noise in it, which an anchor shifts."""
        x_t = anchored_q_sample(x0, t, self.alpha_bar, noise=noise, center=center, return_noise=True)
        assert isinstance(x_t, tuple)
        return x_t

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the network should give for x_t of this x0 and the noise in it."""
        if self.config.prediction == "epsilon":
            return noise
        if self.config.prediction == "sample":
            return x0
        ab = self.alpha_bar.to(device=x0.device, dtype=x0.dtype)[t].view(-1, 1, 1, 1)
        return ab.sqrt() * noise - (1 - ab).sqrt() * x0

    def predict(self, x_t: Tensor, t: int | Tensor) -> Tensor:
        """The network's output, see `target`."""
        if isinstance(t, int):
            t = torch.full((x_t.shape[0],), t, device=x_t.device)
        return self.unet(x_t.to(self.dtype), t).to(x_t.dtype)

    def rows(self, times: list[int]) -> Tensor:
        """[S, 8] rows of diffusion_step that walk the times downwards."""
        config = self.config
        dtype = torch.float64 if config.tables == "float64" else torch.float32
        rows = ddpm_rows(self.alpha_bar, times, config.variance, config.prediction, dtype)
        return anchored(rows) if config.anchor else rows

    def denoise(
        self,
        x_t: Tensor,
        times: list[int],
        *,
        center: Tensor | None = None,
        noise: Callable[[int], Tensor] | None = None,
        seed: int | Tensor | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """(x of the next time, estimate of x0) after each network call; x_t is of times[0], the rest as `iterate`."""
        clip = None if self.config.clip is None else (-self.config.clip, self.config.clip)
        return iterate(self.predict, x_t, times, self.rows(times), center=center, clip=clip, noise=noise, seed=seed)

    @torch.inference_mode()
    def generate(
        self,
        shape: tuple[int, int, int],
        *,
        steps: int | None = None,
        seed: int | Tensor = 0,
        center: Tensor | None = None,
    ) -> Tensor:
        """New pictures [B, 3, H, W] in [0, 1] from noise, shape = (B, H, W) in multiples of the configuration's.

        steps: network calls, spaced as the configuration says; None: all timesteps. seed: an integer, from which each
        picture gets its own, or one a picture [B]. center: of an anchored process, as `center` makes them.
        Raises ValueError where the shape, the steps or the center do not fit.
        """
        count, *sides = shape
        multiple = self.config.multiple
        if count < 1 or any(side < multiple or side % multiple for side in sides):
            raise ValueError(f"generate: sides must be multiples of {multiple} of 1 or more pictures, got {shape}")
        if (center is None) != (self.config.anchor == 0):
            wanted = "an anchored process needs a center" if center is None else "this process has no center"
            raise ValueError(f"generate: {wanted}")
        times = sampling_times(self.config.timesteps, steps or self.config.timesteps, self.config.spacing)
        seeds = torch.arange(count) + first_seed(seed, 20) if isinstance(seed, int) else seeds_of(seed, count)
        x_t = normal((count, 3, *sides), seeds, stream=self.config.timesteps, device=self.device)
        if center is not None:
            # as the forward process leaves it: what of the pictures is still in the last x_t is not known here
            x_t = x_t + (1 - self.alpha_bar[times[0]].sqrt().item()) * (2 * center - 1)
        for x, _ in self.denoise(x_t, times, center=center, seed=seeds):
            x_t = x
        return ((x_t + 1) / 2).clamp(0, 1).clone()

    def enhance_tensor(
        self,
        low: Tensor,
        *,
        steps: int | None = None,
        noise: Noise | None = None,
        seed: int | Tensor = 0,
        sampler: str | None = None,
    ) -> Tensor:
        """Pictures as the model sees them: noised at the configuration's `start` and denoised, as the study does.

        low: [B, 3, H, W] in [0, 1], any size. steps: network calls, spread over the times up to `start` (default: all).
        noise(stream, shape) replaces lowlight_ext's generator: stream T for what is added, t for the step from t.
        seed: an integer, the same noise for every picture, or one a picture [B]. sampler: "ddpm".
        Raises ValueError on another shape, sampler or number of steps.
        """
        with torch.no_grad():
            for picture in self._estimates(low, steps, noise, seed, sampler):
                last = picture
            return last.clone()

    def enhance_steps(
        self,
        low: Tensor,
        *,
        steps: int | None = None,
        noise: Noise | None = None,
        seed: int | Tensor = 0,
        sampler: str | None = None,
    ) -> Iterator[Tensor]:
        """The estimates of the clean pictures after each network call, the last enhance_tensor's; its arguments."""
        return torch.no_grad()(self._estimates)(low, steps, noise, seed, sampler)

    def _estimates(
        self, low: Tensor, steps: int | None, noise: Noise | None, seed: int | Tensor, sampler: str | None
    ) -> Iterator[Tensor]:
        check_pictures(self, low)
        if sampler not in (None, *self.samplers):
            raise ValueError(f"{type(self).__name__}: sampler must be ddpm, got {sampler!r}")
        config, (height, width) = self.config, low.shape[-2:]
        pictures = pad_to_multiple(low, config.multiple)
        shape, seeds = tuple(pictures.shape), seeds_of(seed, low.shape[0])
        times = sampling_times(config.start + 1, steps or config.steps, config.spacing)
        if noise is None:
            drawn = normal(shape, seeds, stream=config.timesteps, dtype=low.dtype, device=low.device)
        else:
            drawn = noise(config.timesteps, shape)
        center = self.center(pictures)
        first = torch.full((shape[0],), times[0], device=low.device)
        x_t, _ = self.add_noise(2 * pictures - 1, first, drawn, center)
        step_noise = None if noise is None else lambda t: noise(t, shape)
        walk = self.denoise(x_t, times, center=center, noise=step_noise, seed=None if noise else seeds)
        for i, (x, x0) in enumerate(walk):
            shown = x if i + 1 == len(times) else x0
            yield ((shown + 1) / 2).clamp(0, 1)[..., :height, :width]


def alpha_bar_of(config: DDPMConfig) -> Tensor:
    """[T] of the configuration's schedule, formed in its dtype."""
    dtype = torch.float64 if config.tables == "float64" else torch.float32
    betas = named_betas(config.schedule, config.timesteps, config.beta_start, config.beta_end, dtype)
    return alpha_bars(zero_terminal_snr(betas) if config.zero_terminal_snr else betas, dtype)
