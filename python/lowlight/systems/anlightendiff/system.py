"""AnlightenDiff: a diffusion anchored at an estimate of the bright picture (the center), in one step or two.

Chan, Siu, Chan, Chan, "AnlightenDiff: Anchoring Diffusion Probabilistic Model on Low Light Image Enhancement", IEEE
TIP 2024. "One-step" (FS) and "two-step" (TS) say how the center is made, not how often the sampler runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lowlight_ext import anchored_q_sample, normal

from ...diffusion.sampling import iterate
from ...diffusion.schedules import alpha_bars, cosine_betas, sampling_times
from ..base import Noise, PictureSystem, check_pictures, seeds_of
from ..tiling import pad_to_multiple
from .conditioning import FEATURES, condition_features, equalize
from .network import AnlightenDiffConfig, UNet
from .schedules import SAMPLERS, anchored_sampler_rows


class Condition(NamedTuple):
    """What the denoiser and the sampler need of dark pictures (all of the padded size)."""

    low: Tensor  # [B, 3, H, W] in [0, 1]
    center: Tensor  # [B, 3, H, W], about in [0, 1]; phi = 2 center - 1
    features: list[Tensor] | None  # the encoder's down outputs, where the denoiser sees them
    color: Tensor | None = None  # [B, 3, H, W] in [0, 1], the two-step encoder's color map
    histogram: Tensor | None = None  # the same, what the two-step model's second network makes of it

    def detached(self) -> Condition:
        """The same without a way back for gradients."""
        features = self.features and [feature.detach() for feature in self.features]
        return Condition(self.low, self.center.detach(), features)


class AnlightenDiff(PictureSystem):
    """AnlightenDiff of any width, one-step or two-step.

    State dict names are those of the published checkpoints with the weight normalisation folded into plain weights.
    """

    name = "anlightendiff"
    samplers = tuple(SAMPLERS)

    def __init__(self, config: AnlightenDiffConfig | None = None):
        super().__init__()
        self.config = config or AnlightenDiffConfig()
        widths, norm = self.config.widths, self.config.instance_norm
        encoder = UNet(FEATURES, widths, time=False, norm=norm)
        self.encoder = nn.ModuleDict({"model": encoder}) if self.config.two_step else encoder
        if self.config.two_step:
            # the published spelling
            self.histroEncoder = nn.ModuleDict({"model": UNet(6, widths, time=False, norm=norm)})
        unet = UNet(6, widths, time=True, features=self.config.stronger_cond, norm=norm)
        self.model = nn.ModuleDict({"unet": unet})
        self.alpha_bar = alpha_bars(cosine_betas(self.config.timesteps))

    @property
    def multiple(self) -> int:
        """Pictures are padded to a multiple of this, and to twice it: the deepest reflection needs two pixels."""
        return 2 ** (len(self.config.widths) - 1)

    def analyse(self, low: Tensor) -> Condition:
        """Center and features of dark pictures [B, 3, H, W] in [0, 1], H and W multiples of `multiple`, at least two.

        The center is float32 (or low's dtype) and not clamped in the one-step model.
        """
        equalised = equalize(low)
        outputs: list[Tensor] | None = [] if self.config.stronger_cond else None
        encoded = self.encode(low, equalised, outputs)
        features = outputs and outputs[: len(self.config.widths)]
        if not self.config.two_step:
            return Condition(low, encoded, features)
        estimate = self.estimate_histogram(encoded, equalised)
        return Condition(low, (1 - estimate) * encoded + estimate, features, encoded, estimate)

    def encode(self, low: Tensor, equalised: Tensor, outputs: list[Tensor] | None = None) -> Tensor:
        """The encoder's picture (one-step: the center; two-step: the color map m); outputs: as UNet takes it."""
        encoder = self.encoder["model"] if isinstance(self.encoder, nn.ModuleDict) else self.encoder
        features = condition_features(low, equalised, self.config.without).to(self.dtype)
        out = encoder(features, outputs=outputs).to(low.dtype)
        return out.sigmoid() if self.config.two_step else out + equalised

    def estimate_histogram(self, color: Tensor, equalised: Tensor) -> Tensor:
        """The two-step model's second network, z in [0, 1]."""
        out = self.histroEncoder["model"](torch.cat([equalised, color], dim=1).to(self.dtype))
        return (out.to(equalised.dtype) + equalised).clamp(0, 1)

    def predict(self, condition: Condition, x_t: Tensor, t: int | Tensor) -> Tensor:
        """eps*_theta(x_t, t), the anchored noise, with the dark picture beside x_t."""
        if isinstance(t, int):
            t = torch.full((x_t.shape[0],), t, device=x_t.device)
        inputs = torch.cat([x_t, condition.low], dim=1).to(self.dtype)
        return self.model["unet"](inputs, t, condition.features).to(x_t.dtype)

    def residual(self, low: Tensor, high: Tensor) -> Tensor:
        """x0 of a pair of pictures in [0, 1]: 2 r (high - low) - 1, or without on_res 2 high - 1."""
        if not self.config.on_res:
            return 2 * high - 1
        return 2 * self.config.rescale_ratio * (high - low) - 1

    def picture(self, low: Tensor, x: Tensor) -> Tensor:
        """Bright pictures in [0, 1] of dark ones and x0; inverts `residual` for r = 1 where no pixel gets darker."""
        if not self.config.on_res:
            return x.add(1).div(2).clamp(0, 1)
        return ((x / self.config.rescale_ratio).clamp(-1, 1).add(1).div(2) + low).clamp(0, 1)

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

        low: [B, 3, H, W] in [0, 1], any size. steps: network calls S (default: the configuration's).
        noise(stream, shape) replaces lowlight_ext's generator: stream t for the step from t; the start has no noise,
        or where the configuration says so (start_noise, use_center_sampler) stream T's.
        seed: an integer, the same noise for every picture, or one a picture [B].
        sampler: "drds" (the published one), "ddim" (eta = 0) or "dpm++" (default: the configuration's); only the first
        draws noise. Raises ValueError on another shape, sampler or number of steps.
        """
        with torch.no_grad():
            padded, estimates = self._estimates(low, steps, noise, seed, sampler)
            for x0 in estimates:
                last = x0
            return self._cropped(padded, last, low)

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
        with torch.no_grad():
            padded, estimates = self._estimates(low, steps, noise, seed, sampler)
        return self._shown(padded, estimates, low)

    @torch.no_grad()
    def _shown(self, padded: Tensor, estimates: Iterator[Tensor], low: Tensor) -> Iterator[Tensor]:
        for x0 in estimates:
            yield self._cropped(padded, x0, low)

    def _estimates(
        self, low: Tensor, steps: int | None, noise: Noise | None, seed: int | Tensor, sampler: str | None
    ) -> tuple[Tensor, Iterator[Tensor]]:
        """The padded dark pictures, and the estimates of x0 as they come."""
        check_pictures(self, low)
        padded = pad_to_multiple(low, self.multiple, least=2 * self.multiple)
        walk = self.walk(
            self.analyse(padded), steps=steps, sampler=sampler, noise=noise, seed=seeds_of(seed, low.shape[0])
        )
        return padded, walk

    def walk(
        self,
        condition: Condition,
        *,
        steps: int | None = None,
        sampler: str | None = None,
        noise: Noise | None = None,
        seed: int | Tensor = 0,
        recompute: bool = False,
    ) -> Iterator[Tensor]:
        """The estimates of x0 after each network call, with gradients where they are on; arguments: enhance_tensor's.

        recompute: each network call forgets its activations and runs again in the backward pass.
        """

        def predict(x_t: Tensor, t: int) -> Tensor:
            if recompute:
                return checkpoint(self.predict, condition, x_t, t, use_reentrant=False)
            return self.predict(condition, x_t, t)

        config = self.config
        times = sampling_times(config.timesteps, config.steps if steps is None else steps, config.spacing)
        anchor = config.use_center_sampler
        rows = anchored_sampler_rows(sampler or config.sampler, self.alpha_bar, times)
        start = 2 * condition.center - 1  # as published: the anchor, without noise
        shape = tuple(start.shape)
        if config.start_noise or not anchor:
            stream = config.timesteps
            z = (
                noise(stream, shape)
                if noise
                else normal(shape, seed, stream=stream, dtype=start.dtype, device=start.device)
            )
            start = start + (1 - self.alpha_bar[times[0]].item()) ** 0.5 * z if anchor else z
        steps_noise = None if noise is None else lambda t: noise(t, shape)
        # without a center the term of phi is dropped
        center, clip = condition.center if anchor else None, (-1, 1) if config.clip_denoised else None
        walked = iterate(predict, start, times, rows, center=center, clip=clip, noise=steps_noise, seed=seed)
        return (x0 for _, x0 in walked)

    def generate(self, condition: Condition, **arguments: Any) -> Tensor:
        """The bright pictures [B, 3, H, W] at the end of `walk`, which takes the same arguments."""
        x0 = condition.center
        for estimate in self.walk(condition, **arguments):
            x0 = estimate
        return self.picture(condition.low, x0)

    def _cropped(self, padded: Tensor, x0: Tensor, low: Tensor) -> Tensor:
        height, width = low.shape[-2:]
        return self.picture(padded, x0)[..., :height, :width].contiguous()

    def noise_pair(self, condition: Condition, high: Tensor, *, t: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Predicted and true anchored noise eps* of x_t (DRDA).

        high: [B, 3, H, W] in [0, 1], like the condition's dark pictures. t: int64 [B]. noise: eps, like high. In the
        published training the condition's center is the bright picture every other time.
        """
        x0 = self.residual(condition.low, high)
        x_t, target = anchored_q_sample(
            x0, t, self.alpha_bar, center=self._center(condition), noise=noise, return_noise=True
        )
        return self.predict(condition, x_t, t), target

    def _center(self, condition: Condition) -> Tensor | None:
        """Of the forward process."""
        return condition.center if self.config.use_center else None

    def dfpl_pictures(self, condition: Condition, high: Tensor, t: Tensor, *noises: Tensor) -> tuple[Tensor, ...]:
        """For each anchored noise the picture [B, 3, H, W] in [0, 1] that the perceptual loss (DFPL) compares.

        x_t is formed from the anchored noise as if it were eps, so that k_t phi counts twice: as published.
        """
        x0 = self.residual(condition.low, high)
        pictures = []
        for noise in noises:
            x_t = anchored_q_sample(x0, t, self.alpha_bar, center=self._center(condition), noise=noise)
            assert isinstance(x_t, Tensor)
            pictures.append(self.picture(condition.low, x_t))
        return tuple(pictures)
