"""ExposureDiffusion: the short exposure as an intermediate state of a long one, in packed raw.

Wang et al., "ExposureDiffusion: Learning to Expose for Low-light Image Enhancement", ICCV 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lowlight_ext import exposure_step

from ...cameras.cameras import SATURATION
from ..base import Number, RawSystem, seeds_of
from ..tiling import pad_to_multiple
from .network import CHANNELS, ExposureDiffusionConfig, Parts, make_network, predict
from .process import column, even_ratios, gain_plane, illuminance_gain, photons

# how outputs are brightened: "paper" as published, by the gain that fits them to the ground truth; "blind" not at all
PROTOCOLS = ("blind", "paper")

Poisson = Callable[[Tensor], Tensor]


class Estimate(NamedTuple):
    """What one network call gives."""

    picture: Tensor  # [B, 4, h, w], with the gain of the protocol
    parts: Parts | None  # without it


class ExposureDiffusion(RawSystem):
    """ExposureDiffusion with any of its networks. State dict names are the published ones after "netG."."""

    name = "exposurediffusion"

    def __init__(self, config: ExposureDiffusionConfig | None = None):
        super().__init__()
        self.config = config or ExposureDiffusionConfig()
        self.netG = make_network(self.config)

    def enhance_tensor(
        self,
        packed: Tensor,
        *,
        ratio: Number,
        K: Number,
        steps: int | None = None,
        protocol: str = "blind",
        target: Tensor | None = None,
        poisson: Poisson | None = None,
        seed: int | Tensor = 0,
    ) -> Tensor:
        """The long exposures of short ones.

        packed: raw [B, 4, h, w] (R, G1, B, G2) of any size, less black, in [0, 1], already multiplied by the ratio.
        ratio: of the exposures, at least 1. K: system gain, digital numbers an electron, above 0; each a number or [B].
        steps: network calls (default: the configuration's, published 3).
        protocol: "paper" fits every output to `target` (like packed) by one gain a picture, which a photographer does
        not have; "blind" does not. Figures of the two are not comparable.
        poisson(mean) replaces the draw of the photons that a longer exposure adds. seed: an integer, the same noise for
        every picture, or one a picture [B]; step i draws stream i, the last call draws nothing.
        Returns float32 (or packed's dtype) like packed, in [0, 1] under "blind". No gradients.
        Raises ValueError on another shape, ratio, K, steps or protocol, and on a target that is missing or not used.
        """
        for picture in self.enhance_steps(
            packed,
            ratio=ratio,
            K=K,
            steps=steps,
            protocol=protocol,
            target=target,
            poisson=poisson,
            seed=seed,
        ):
            last = picture
        return last

    def enhance_steps(
        self,
        packed: Tensor,
        *,
        ratio: Number,
        K: Number,
        steps: int | None = None,
        protocol: str = "blind",
        target: Tensor | None = None,
        poisson: Poisson | None = None,
        seed: int | Tensor = 0,
    ) -> Iterator[Tensor]:
        """The outputs of all network calls, the last enhance_tensor's; its arguments and errors."""
        steps = self.config.steps if steps is None else steps
        if steps < 1:
            raise ValueError(f"ExposureDiffusion: steps must be 1 or more, got {steps}")
        if protocol not in PROTOCOLS:
            raise ValueError(f"ExposureDiffusion: protocol must be one of {', '.join(PROTOCOLS)}, got {protocol!r}")
        if (target is None) == (protocol == "paper"):
            problem = "needs a target, the ground truth" if target is None else "takes no target"
            raise ValueError(f"ExposureDiffusion: protocol {protocol!r} {problem}")
        self._check(packed, ratio, K, target)
        estimates = self.outputs(packed, even_ratios(ratio, steps), K, target=target, poisson=poisson, seed=seed)
        return self._shown(estimates)

    @torch.no_grad()
    def _shown(self, estimates: Iterator[Estimate]) -> Iterator[Tensor]:
        for estimate in estimates:
            yield estimate.picture.contiguous()

    def outputs(
        self,
        original: Tensor,
        ratios: Sequence[Number],
        K: Number,
        *,
        target: Tensor | None = None,
        poisson: Poisson | None = None,
        seed: int | Tensor = 0,
    ) -> Iterator[Estimate]:
        """One estimate for each pair of neighbouring exposures, with gradients: what training and enhancing share.

        ratios: from 1 to the whole ratio, each a number or [B] (even_ratios, drawn_ratios). target: fits every output
        to it, also in the gradient; None: gain 1. The rest as enhance_tensor takes it, unchecked.
        Gradients go straight through the counts, to the network and to original.
        """
        height, width = original.shape[-2:]
        multiple = self.netG.multiple
        padded = original if height % multiple == width % multiple == 0 else pad_to_multiple(original, multiple)
        whole, seeds = ratios[-1], seeds_of(seed, original.shape[0])
        x = padded
        for i in range(len(ratios) - 1):
            picture, parts = predict(self.netG, self.config, self._inputs(x, padded, ratios[i], whole, K))
            if target is not None:
                # the padding is no part of the ground truth
                picture = picture * illuminance_gain(picture[..., :height, :width], target)
            yield Estimate(
                picture[..., :height, :width],
                parts and Parts(*(part[..., :height, :width] for part in parts)),
            )
            # after the last output nothing is exposed
            if i + 2 < len(ratios):
                x = _exposed(picture, padded, whole, ratios[i + 1], K, poisson, seeds, stream=i)

    def _inputs(self, x: Tensor, original: Tensor, current: Number, whole: Number, K: Number) -> Tensor:
        """[B, in_channels, h, w] of the picture exposed `current` times as long as the measured one."""
        inputs = [x]
        if self.config.with_photon:
            inputs.append(photons(x, whole, K) * column(current, x) / SATURATION)
        if self.config.concat_origin:
            inputs.append(original)
        if self.config.with_gain:
            inputs.append(gain_plane(x, current, whole, K))
        return torch.cat(inputs, dim=1)

    def _check(self, packed: Tensor, ratio: Number, K: Number, target: Tensor | None) -> None:
        if packed.dim() != 4 or packed.shape[1] != CHANNELS or min(packed.shape) < 1:
            raise ValueError(
                f"ExposureDiffusion: packed must be raw of {CHANNELS} channels [B, 4, h, w], got {tuple(packed.shape)}"
            )
        if target is not None and target.shape != packed.shape:
            raise ValueError(
                f"ExposureDiffusion: target must have packed's shape {tuple(packed.shape)}, got {tuple(target.shape)}"
            )
        for name, value, least in (("ratio", ratio, 1.0), ("K", K, 1e-6)):
            values = (
                value.double() if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64, device="cpu")
            )
            if values.dim() and values.shape != packed.shape[:1]:
                raise ValueError(
                    f"ExposureDiffusion: {name} must be a number or [{len(packed)}], got {tuple(values.shape)}"
                )
            # written so that NaN, which compares false, is caught
            if not ((values >= least) & (values <= 1e6)).all():
                raise ValueError(f"ExposureDiffusion: {name} must lie in {least:g} .. 1e+06, got {values.tolist()}")


def _exposed(
    picture: Tensor,
    original: Tensor,
    ratio: Number,
    following: Number,
    K: Number,
    poisson: Poisson | None,
    seeds: Tensor,
    stream: int,
) -> Tensor:
    """The picture exposed `following` times as long: the measured photons and those that the output promises."""
    if poisson is None:
        return exposure_step(picture, original, ratio, following, K, seeds, stream=stream, saturation=SATURATION)
    mean = photons(picture.detach().clamp(0, 1), ratio, K) * (column(following, picture) - 1)
    return exposure_step(picture, original, ratio, following, K, None, counts=poisson(mean), saturation=SATURATION)
