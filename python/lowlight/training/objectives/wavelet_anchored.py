"""Training of an anchored wavelet diffusion: the deepest low band of whole pictures, and crops restored from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from lowlight_ext import anchored_q_sample

from ...data.batches.batches import Batch
from ...data.batches.made_pairs import Darkening
from ...data.batches.mixed_batches import MixedBatches, find_photographs
from ...data.sets.pairs import Pair
from ...metrics.losses import ssim
from ...systems.base import channels_last
from ...systems.light import exposed
from ...systems.tiling import pad_to_multiple
from ...systems.wavelet_anchored.network import WaveletAnchoredConfig
from ...systems.wavelet_anchored.process import Analysis
from ...systems.wavelet_anchored.pyramid import dark_pyramid, noise_levels
from ...systems.wavelet_anchored.system import WaveletAnchored
from ..config import require
from ..validation import ToldValidator
from .base import START, Objective

if TYPE_CHECKING:
    from ..config import Stage, TrainConfig

SIZE, EXPOSURE, PLACE, KIND, VIEW = 1 << 11, 1 << 10, 1 << 9, 1 << 8, 1 << 7  # generator's streams
_LEAST_VIEW = 0.85  # of the sides that the exposure head sees


@dataclass
class WaveletAnchoredOptions:
    """Settings beside the network's and the stages'.

    made: share of the samples that are made dark (`MixedBatches`); photographs: a folder of bright pictures for them
    beside the pairs', null for none; darkening: fields of `Darkening`. least_size: batches are brought to a random part
    of their size down to this. exposed: share of samples whose truth is re-exposed, by stops in `stops`.
    refined: share of batches whose x_t holds the network's own first estimate, noisy: `true_x0` holds the truth.
    start: a DiffLL, a file or a shipped name, whose U-Net it begins with; a wavelet_anchored is for the key init.
    """

    made: float = 0.3
    photographs: str | None = None
    darkening: dict = field(default_factory=dict)
    least_size: float = 0.5
    exposed: float = 0.2
    stops: list = field(default_factory=lambda: [-1.2, 0.7])
    refined: float = 0.2
    true_x0: float = 0.1
    start: str | None = None

    def __post_init__(self):
        for name in ("made", "exposed", "refined", "true_x0"):
            require(0 <= getattr(self, name) < 1, name, "lie in [0, 1)", getattr(self, name))
        require(0 < self.least_size <= 1, "least_size", "lie in (0, 1]", self.least_size)
        Darkening(**self.darkening)


class WaveletAnchoredObjective(Objective):
    """L1 and SSIM of the picture, L1 of the deepest band and of the anchor's; every exposure is the truth's.

    An exposure head (network.exposure) learns the truths' means beside that, or alone where no other term has a weight.
    """

    options = WaveletAnchoredOptions
    system: WaveletAnchored
    terms = ("l1", "ssim", "colour", "anchor", "exposure")

    def __init__(self, config: TrainConfig, device: torch.device):
        super().__init__(config)
        self.settings = WaveletAnchoredOptions(**config.objective)
        system = WaveletAnchored(WaveletAnchoredConfig(**config.network))
        if self.settings.start:
            begin_with(system, self.settings.start)
        self.system = channels_last(system.to(device))

    @classmethod
    def batches(cls, config: TrainConfig, found: list[Pair]) -> MixedBatches:
        settings = WaveletAnchoredOptions(**config.objective)
        photographs = find_photographs(settings.photographs) if settings.photographs else ()
        darkening = Darkening(**settings.darkening)
        return MixedBatches(found, config.seed, made=settings.made, darkening=darkening, photographs=photographs)

    @classmethod
    def validator(cls, config: TrainConfig, found: list[Pair]) -> ToldValidator:
        return ToldValidator(found, config.validate_pairs, config.validate_lpips)

    @classmethod
    def check(cls, config: TrainConfig) -> None:
        WaveletAnchoredConfig(**config.network)
        for i, stage in enumerate(config.stages):
            require(stage.shrink == 1, f"stages.{i}.shrink", "be 1: objective.least_size says it", stage.shrink)
            require(not stage.losses, f"stages.{i}.losses", "not be set for wavelet_anchored", stage.losses)
            fits = stage.crop is None or stage.crop >= 64
            require(fits, f"stages.{i}.crop", "be at least 64", stage.crop)
            require(not stage.sampling_steps, f"stages.{i}.sampling_steps", "be 0", stage.sampling_steps)

    @classmethod
    def active_terms(cls, config: TrainConfig) -> tuple[str, ...]:
        head = ("exposure",) if config.network.get("exposure") else ()
        pictures = cls.terms[:-1]
        return (*pictures, *head) if not head or any(config.weights[name] for name in pictures) else head

    @staticmethod
    def steps(stage: Stage) -> int:
        return 2

    def forward(self, batch: Batch, stage: Stage, first: int, skip: int = 0) -> dict[str, Tensor]:
        system, device = self.system, self.system.device
        low, high = self._resized(batch.low.to(device), batch.high.to(device), first)
        levels, shown = system.levels(*low.shape[-2:]), self.active_terms(self.config)
        terms = {}
        if system.exposure:
            terms["exposure"] = self._exposure_term(low, high, levels, first + skip)
            if len(shown) == 1:
                return terms
        high = self._exposed(high, first + skip)
        mean = high.mean(dim=(1, 2, 3)).clamp(0.005, 0.98)
        low, high = (pad_to_multiple(x, system.multiple(levels)) for x in (low, high))
        pyramid = dark_pyramid(low, levels)
        target = F.avg_pool2d(high, 2**levels)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.config.bfloat16):
            analysis = system.analyse(pyramid[-1], noise_levels(pyramid[:-1]), mean)
            band = system.band_picture(analysis, self._estimate(analysis, target, first, skip))
            picture, truth = self._picture(analysis, pyramid, band, high, stage, first)
            anchor = system.band_picture(analysis, analysis.phi)
        return {
            "l1": F.l1_loss(picture, truth),
            "ssim": 1 - ssim(picture, truth),
            "colour": F.l1_loss(band, target),
            "anchor": F.l1_loss(anchor, target),
            **terms,
        }

    def _exposure_term(self, low: Tensor, high: Tensor, levels: int, sample: int) -> Tensor:
        """L1 of the logits of the truths' means, from a part of each deepest band with noise of about its own."""
        assert self.system.exposure is not None
        band, wanted = F.avg_pool2d(low, 2**levels, ceil_mode=True), []
        for k, dark in enumerate(band):
            *corner, height, width, noise = self.uniform(5, sample + k, VIEW).tolist()
            sides = [_LEAST_VIEW + (1 - _LEAST_VIEW) * side for side in (height, width)]
            size = [max(1, round(side * share)) for side, share in zip(dark.shape[-2:], sides, strict=True)]
            y, x = (
                int(place * (side - part + 1)) for place, side, part in zip(corner, dark.shape[-2:], size, strict=True)
            )
            part = dark[None, :, y : y + size[0], x : x + size[1]]
            part = part + 0.01 * noise * self.normal(tuple(part.shape), sample + k, VIEW)
            wanted.append(self.system.exposure(part.clamp(0, 1)))
        truth = high.mean(dim=(1, 2, 3)).clamp(0.005, 0.98)
        return F.l1_loss(torch.cat(wanted).logit(), truth.logit())

    def _resized(self, low: Tensor, high: Tensor, first: int) -> tuple[Tensor, Tensor]:
        """Half of the batches at a smaller size, drawn evenly in its logarithm."""
        place = 2 * self.uniform(1, first, SIZE).item() - 1
        if place <= 0 or self.settings.least_size == 1:
            return low, high
        factor = self.settings.least_size**place
        size = [round(side * factor) for side in low.shape[-2:]]
        low, high = (F.interpolate(x, size, mode="bilinear", antialias=True).clamp(0, 1) for x in (low, high))
        return low, high

    def _exposed(self, high: Tensor, sample: int) -> Tensor:
        """Some truths exposed longer or shorter, so that the wanted mean is more than what the data's scenes have."""
        settings, chosen = self.settings, []
        for k, picture in enumerate(high):
            chance, place = self.uniform(2, sample + k, EXPOSURE).tolist()
            if chance < settings.exposed:
                stops = settings.stops[0] + (settings.stops[1] - settings.stops[0]) * place
                picture = exposed(picture[None], torch.tensor(stops))[0]
            chosen.append(picture)
        return torch.stack(chosen)

    def _estimate(self, analysis: Analysis, target: Tensor, first: int, skip: int) -> Tensor:
        """x0 of the first network call of a sampler, or of a later one from what the first has made of it."""
        system, shape, sample = self.system, tuple(analysis.phi.shape), first + skip
        last = system.config.timesteps - 1
        start = system.start(analysis, self.normal(shape, sample, START))
        kind, place = self.uniform(2, first, KIND).tolist()
        if kind >= self.settings.refined + self.settings.true_x0:
            return system.estimate(analysis, start, last)
        if kind < self.settings.refined:
            with torch.no_grad():
                x0 = system.estimate(analysis, start, last)
        else:
            x0 = system.from_picture(target)
        times = torch.full((shape[0],), int(last * place), device=start.device)
        center = (analysis.phi.detach() + 1) / 2
        x_t = anchored_q_sample(x0, times, system.alpha_bar, center=center, noise=self.normal(shape, sample))
        assert isinstance(x_t, Tensor)
        return system.estimate(analysis, x_t, times)

    def _picture(
        self, analysis: Analysis, pyramid: list[Tensor], band: Tensor, high: Tensor, stage: Stage, first: int
    ) -> tuple[Tensor, Tensor]:
        """A crop of the restored pictures and of the true ones, the same of the whole batch."""
        levels, scale = len(pyramid) - 1, 2 ** (len(pyramid) - 1)
        if stage.crop is None:
            return self.system.decode(analysis, pyramid[:-1], band), high
        place = self.uniform(2, first, PLACE).tolist()
        corner, size = [], []
        for side, where in zip(band.shape[-2:], place, strict=True):
            size.append(min(side, max(2, stage.crop // scale // 2 * 2)))
            corner.append(int(where * ((side - size[-1]) // 2 + 1)) * 2)
        cut = [_cut(dark, corner, size, 2 ** (levels - j)) for j, dark in enumerate(pyramid[:-1])]
        picture = self.system.decode(analysis, cut, _cut(band, corner, size, 1))
        return picture, _cut(high, corner, size, scale)


def begin_with(system: WaveletAnchored, weights: str) -> None:
    """Start from a DiffLL's U-Net; what is new stays zero.

    Raises what lowlight.load raises, ValueError for another system or other widths.
    """
    from ...checkpoints import load

    source = load(weights, device="cpu")
    unet = getattr(source, "Unet", None)
    if (
        unet is None
        or not unet.conv_in.in_channels <= system.unet.conv_in.in_channels
        or not hasattr(unet, "statistics")
    ):
        raise ValueError(f"objective.start: {weights} is no DiffLL with a guide and statistics")
    own = system.unet.state_dict()
    with torch.no_grad():
        for name, tensor in unet.state_dict().items():
            if name.startswith("conv_out"):
                continue
            if own[name].shape == tensor.shape:
                own[name].copy_(tensor)
            elif name in ("conv_in.weight", "statistics.0.weight"):
                own[name].zero_()
                own[name][:, : tensor.shape[1]] = tensor
            else:
                raise ValueError(f"objective.start: {weights} has another width at {name}")


def _cut(x: Tensor, corner: list[int], size: list[int], scale: int) -> Tensor:
    y, x0 = (scale * c for c in corner)
    return x[..., y : y + scale * size[0], x0 : x0 + scale * size[1]]
