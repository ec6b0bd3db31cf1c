"""ExposureDiffusion's training: every exposure of the chain towards the long one, from added noise or real pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lowlight_ext import RawNoiseParameters

from ...cameras.cameras import Camera, load_camera
from ...data.batches.raw_batches import NoiseDraws, RawBatch, RawBatches
from ...data.batches.raw_cache import RawCache
from ...data.batches.raw_sources import CleanPictures, RealPairs, default_cache, find_clean, is_sid
from ...data.sets.sid import find_sid
from ...metrics.losses import kl_loss, mixed_loss, psnr_loss
from ...systems.base import channels_last
from ...systems.exposurediffusion.network import ExposureDiffusionConfig
from ...systems.exposurediffusion.process import drawn_ratios
from ...systems.exposurediffusion.system import PROTOCOLS, ExposureDiffusion
from ..config import Stage, TrainConfig, require
from ..raw_validation import RawValidator
from .base import Objective

_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": F.l1_loss,
    "l2": F.mse_loss,
    "kl": kl_loss,
    "psnr": psnr_loss,
}
_DATA = ("clean", "pairs")
_AUXILIARY = "auxiliary"


@dataclass
class ExposureOptions:
    """Settings of ExposureDiffusion's training beside the network's and the stages'.

    data: "clean" pictures (raw files, SID's long exposures, or sRGB pictures made raw again), to which noise is added,
    or real "pairs" of SID. recolour: the share of sRGB samples that are coloured anew, 0 to 1. model: of the noise,
    whose camera network.camera names; cameras: further ones, a sample's noise is one's of all. ratio: of the exposures,
    [low, high]; K: gain, [low, high], null for the camera's. integer_ratio: the chain ends at the ratio's whole number.
    loss: l1, l2, kl or psnr, of every output. auxiliary: of an adaptive network's parts too. calls: "mean" of the
    outputs' losses, or, as published, their "sum". adaptive: weights of the outputs are learned instead, and multiply
    both losses of theirs.
    protocol: "paper" fits every output to the ground truth by one gain, in the losses too, "blind" does not. cache: the
    folder of packed raws, null for one of the user's. validation_crop: packed pixels a side of those to validate on.
    """

    data: str = "clean"
    recolour: float = 0.0
    model: str = "P+G+r+u"
    cameras: list[str] = field(default_factory=list)
    ratio: list[float] = field(default_factory=lambda: [100.0, 300.0])
    K: list[float] | None = None
    integer_ratio: bool = False
    loss: str = "l1"
    calls: str = "mean"
    auxiliary: bool = False
    adaptive: bool = False
    protocol: str = "paper"
    cache: str | None = None
    validation_crop: int = 128

    def __post_init__(self):
        choices = {"data": _DATA, "loss": tuple(_LOSSES), "calls": ("mean", "sum"), "protocol": PROTOCOLS}
        for name, known in choices.items():
            value = getattr(self, name)
            require(value in known, name, f"be one of {', '.join(known)}", repr(value))
        for name in ("ratio", "K"):
            value = getattr(self, name)
            wanted = "be [low, high], in order and above 0"
            require(value is None or _is_range(value), name, wanted, value)
        require(0 <= self.recolour <= 1, "recolour", "be 0 to 1", self.recolour)
        require(self.validation_crop >= 1, "validation_crop", "be positive", self.validation_crop)
        RawNoiseParameters(1.0, 1.0, self.model).parts()

    def noise(self, camera: Camera) -> NoiseDraws | None:
        """What is added to clean pictures."""
        if self.data == "pairs":
            return None
        K = None if self.K is None else (self.K[0], self.K[1])
        all_of_them = [camera, *map(load_camera, self.cameras)]
        return NoiseDraws(all_of_them, self.model, (self.ratio[0], self.ratio[1]), K)


class ExposureObjective(Objective):
    """The chain of system.outputs over drawn exposures. Its batches are RawBatch."""

    options = ExposureOptions
    terms = (*_LOSSES, _AUXILIARY)
    system: ExposureDiffusion

    def __init__(self, config: TrainConfig, device: torch.device):
        super().__init__(config)
        self.settings = ExposureOptions(**config.objective)
        network = ExposureDiffusionConfig(**config.network)
        self.system = channels_last(ExposureDiffusion(network).to(device))
        if self.settings.adaptive:
            start = torch.full((network.steps - 1,), 1 / network.steps, device=device)
            self.loss_parameters.append(nn.Parameter(start))

    @classmethod
    def find(cls, config: TrainConfig, root: Path, split: str | None, high: Path | None = None) -> list[Any]:
        """Paths of clean pictures, or pairs of SID; raises as find_clean and find_sid do, and for `high`."""
        require(high is None, "--high", "not be given: pairs of raw are SID's, clean pictures have one folder", high)
        if ExposureOptions(**config.objective).data == "pairs":
            return find_sid(root, split or "train")
        return find_clean(root, split)

    @classmethod
    def split(cls, root: Path) -> str | None:
        return "train" if is_sid(root) else super().split(root)

    @classmethod
    def batches(cls, config: TrainConfig, found: list[Any], ahead: int = 4) -> RawBatches:
        """ahead: RawBatches' own."""
        settings = ExposureOptions(**config.objective)
        camera = load_camera(config.network["camera"])
        cache = RawCache(settings.cache or default_cache())
        if settings.data == "pairs":
            source: RealPairs | CleanPictures = RealPairs(found, cache, camera)
        else:
            source = CleanPictures(found, cache, recolour=settings.recolour)
        return RawBatches(source, config.seed, noise=settings.noise(camera), turn=config.turn, ahead=ahead)

    @classmethod
    def validator(cls, config: TrainConfig, found: list[Any]) -> RawValidator:
        # pictures as they are, the same whatever a training draws
        plain = replace(config, seed=0, turn=False, objective=config.objective | {"recolour": 0.0})
        crop = ExposureOptions(**config.objective).validation_crop
        return RawValidator(cls.batches(plain, found, ahead=0), config.validate_pairs, crop, config.stages[-1].shrink)

    @classmethod
    def check(cls, config: TrainConfig) -> None:
        network = ExposureDiffusionConfig(**config.network)
        settings = ExposureOptions(**config.objective)
        adaptive = settings.adaptive
        wanted = "name the camera whose noise is trained on, or a file of `lowlight calibrate`"
        require(network.camera is not None, "network.camera", wanted, None)
        require(
            settings.data == "clean" or not settings.cameras, "cameras", "be empty with real pairs", settings.cameras
        )
        for camera in (config.network["camera"], *settings.cameras):
            load_camera(camera)
        require(network.adaptive or not settings.auxiliary, "auxiliary", "be false without network.adaptive", True)
        require(network.steps > 1 or not adaptive, "adaptive", "be false where network.iter_num is 0", True)
        most = 1 if settings.data == "pairs" else max(1, int(settings.ratio[0]) - 1)
        for i, stage in enumerate(config.stages):
            require(not stage.losses, f"stages.{i}.losses", "not be set: objective.loss says it", stage.losses)
            fits = stage.crop is not None and stage.crop >= 2
            require(fits, f"stages.{i}.crop", "be set, in packed pixels, at least 2", stage.crop)
            steps = cls._steps(network, stage)
            fits = not adaptive or steps == network.steps
            wanted = f"be 0 or {network.steps}, whose weights are learned"
            require(fits, f"stages.{i}.sampling_steps", wanted, stage.sampling_steps)
            fits = settings.data == "pairs" or steps <= most
            require(fits, f"stages.{i}.sampling_steps", f"be at most {most} for such ratios", steps)

    @staticmethod
    def _steps(network: ExposureDiffusionConfig, stage: Stage) -> int:
        """Network calls of the chain: the network's own number where the stage says nothing else."""
        return stage.sampling_steps or network.steps

    @classmethod
    def active_terms(cls, config: TrainConfig) -> tuple[str, ...]:
        settings = ExposureOptions(**config.objective)
        return (settings.loss, *([_AUXILIARY] if settings.auxiliary else []))

    @staticmethod
    def steps(stage: Stage) -> int:
        return stage.sampling_steps or 3

    def forward(self, batch: RawBatch, stage: Stage, first: int, skip: int = 0) -> dict[str, Tensor]:
        system, settings = self.system, self.settings
        steps = self._steps(system.config, stage)
        clean = batch.clean.to(system.device)
        seeds = self.seeds(len(clean), first + skip)
        low = batch.measured(seeds, system.device)
        target = clean if settings.protocol == "paper" else None
        ratio, K = batch.ratio.floor() if settings.integer_ratio else batch.ratio, batch.K
        ratios = drawn_ratios(ratio, steps, seeds)
        terms: dict[str, list[Tensor]] = {name: [] for name in self.active_terms(self.config)}
        with torch.autocast(system.device.type, torch.bfloat16, enabled=self.config.bfloat16):
            for picture, parts in system.outputs(low, ratios, K, target=target, seed=seeds):
                terms[settings.loss].append(_LOSSES[settings.loss](picture, clean))
                if settings.auxiliary:
                    assert parts is not None
                    terms[_AUXILIARY].append(mixed_loss(*parts, clean))
        shares = self._shares(steps)
        return {name: (torch.stack(values) * shares).sum() for name, values in terms.items()}

    def _shares(self, steps: int) -> Tensor | float:
        """Weights of the outputs; learned ones are those of all but the last, which has what they leave of 1."""
        if not self.settings.adaptive:
            return 1.0 if self.settings.calls == "sum" else 1 / steps
        learned = self.loss_parameters[0].clamp(0, 1)
        return torch.cat([learned, 1 - learned.sum(dim=0, keepdim=True)])


def _is_range(value: list) -> bool:
    numbers = [v for v in value if isinstance(v, int | float) and not isinstance(v, bool)]
    return len(value) == len(numbers) == 2 and 0 < value[0] <= value[1]
