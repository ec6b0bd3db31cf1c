"""A DDPM's training on the pictures of a folder, made dim as the study of diffusion on dim pictures makes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ...data.batches.mixed_batches import find_photographs
from ...data.batches.picture_batches import Dimming, PictureBatches, hold_out, read_square
from ...files.contact_sheet import ContactSheet
from ...metrics.scores import mean_shift, mse, psnr, ssim
from ...systems.base import channels_last
from ...systems.ddpm.config import DDPMConfig
from ...systems.ddpm.system import DDPM
from ..config import require
from .base import CENTER, Objective

if TYPE_CHECKING:
    from ..config import Stage, TrainConfig

SPLITS = ("train", "heldout", "all")


@dataclass
class DDPMOptions:
    """Settings beside the network's and the stages'.

    size: pictures are brought to a square of this side; null: as they are, all of one size. brightness, exposed, K:
    see Dimming. held_out: pictures of the folder that are not trained on. offset_noise: deviation of a normal number a
    picture and channel that is added to its noise (Guttenberg 2023), 0 for none.
    """

    size: int | None = 128
    brightness: float = 0.5
    exposed: bool = False
    K: float = 4.0
    held_out: int = 16
    offset_noise: float = 0.0

    def __post_init__(self):
        require(self.size is None or self.size >= 1, "size", "be positive or null", self.size)
        require(self.held_out >= 1, "held_out", "be positive", self.held_out)
        require(self.offset_noise >= 0, "offset_noise", "not be negative", self.offset_noise)
        self.dimming()

    def dimming(self) -> Dimming:
        return Dimming(self.brightness, self.exposed, self.K)

    def pictures(self, paths: list[Path], seed: int) -> Tensor:
        """[N, 3, H, W] in [0, 1], dim."""
        return torch.from_numpy(self.dimming()(read_square(tuple(paths), self.size), seed))


class HeldOut:
    """Dim pictures that are noised and denoised; every call scores a system on them."""

    better: ClassVar = {"mse": "lower", "shift": "lower", "psnr": "higher", "ssim_rgb": "higher"}

    def __init__(self, pictures: Tensor):
        self.pictures = pictures

    def sentence(self, scores: dict[str, float]) -> str:
        shift = f"MSE {scores['mse']:.5f}, mean RGB shift {scores['shift']:.4f}"
        return f"{shift}, PSNR {scores['psnr']:.2f} dB, SSIM {scores['ssim_rgb']:.3f} on {len(self.pictures)} pictures"

    def __call__(self, system: DDPM, sheet: Path, seed: int = 0) -> dict[str, float]:
        truth = self.pictures
        result = system.enhance_tensor(truth.to(system.device), seed=torch.arange(len(truth)) + seed).float().cpu()
        pictures = ContactSheet(width=128)
        for i, (before, after) in enumerate(zip(truth, result, strict=True)):
            pictures.add(str(i), {"picture": before, "denoised": after})
        pictures.write(sheet)
        values = {
            "mse": mse(result, truth),
            "shift": mean_shift(result, truth).abs().mean(dim=1),
            "psnr": psnr(result, truth),
            "ssim_rgb": ssim(result, truth),
        }
        return {name: value.mean().item() for name, value in values.items()}


class DDPMObjective(Objective):
    """Mean squared error of what the network gives, at times drawn evenly: the simple loss."""

    options = DDPMOptions
    system: DDPM
    terms = ("noise",)

    def __init__(self, config: TrainConfig, device: torch.device):
        super().__init__(config)
        self.settings = DDPMOptions(**config.objective)
        self.system = channels_last(DDPM(DDPMConfig(**config.network)).to(device))

    @classmethod
    def find(cls, config: TrainConfig, root: Path, split: str | None, high: Path | None = None) -> list[Path]:
        """Pictures anywhere in a folder; split: "train", "heldout" or "all" of them. Raises ValueError for `high`."""
        require(high is None, "--high", "not be given: a DDPM learns single pictures", high)
        require(split in (None, *SPLITS), "split", f"be one of {', '.join(SPLITS)}", repr(split))
        paths = find_photographs(root)
        if split == "all":
            return paths
        train, held_out = hold_out(paths, DDPMOptions(**config.objective).held_out)
        return held_out if split == "heldout" else train

    @classmethod
    def split(cls, root: Path) -> str:
        return "train"

    @classmethod
    def batches(cls, config: TrainConfig, found: list[Any]) -> PictureBatches:
        pictures = DDPMOptions(**config.objective).pictures(found, config.seed)
        _check_side(pictures.shape[-1], DDPMConfig(**config.network))
        return PictureBatches(pictures.numpy(), config.seed)

    @classmethod
    def validator(cls, config: TrainConfig, found: list[Any]) -> HeldOut:
        return HeldOut(DDPMOptions(**config.objective).pictures(found[: config.validate_pairs], config.seed))

    @classmethod
    def check(cls, config: TrainConfig) -> None:
        network, size = DDPMConfig(**config.network), DDPMOptions(**config.objective).size
        if size is not None:
            _check_side(size, network)
        for i, stage in enumerate(config.stages):
            require(stage.crop is None, f"stages.{i}.crop", "be null: objective.size says it", stage.crop)
            require(stage.shrink == 1, f"stages.{i}.shrink", "be 1: objective.size says it", stage.shrink)
            require(not stage.losses, f"stages.{i}.losses", "not be set for ddpm", stage.losses)
            require(not stage.sampling_steps, f"stages.{i}.sampling_steps", "be 0", stage.sampling_steps)

    @staticmethod
    def steps(stage: Stage) -> int:
        return 1

    def forward(self, batch: Tensor, stage: Stage, first: int, skip: int = 0) -> dict[str, Tensor]:
        system, count = self.system, batch.shape[0]
        pictures = batch.to(system.device)
        x0, shape = 2 * pictures - 1, tuple(batch.shape)
        noise = self.normal(shape, first + skip)
        if self.settings.offset_noise:
            noise = noise + self.settings.offset_noise * self.normal((count, 3, 1, 1), first + skip, CENTER)
        times = (self.uniform(stage.batch, first) * system.config.timesteps).long()[skip : skip + count]
        x_t, noise = system.add_noise(x0, times, noise, system.center(pictures))
        with torch.autocast(x0.device.type, torch.bfloat16, enabled=self.config.bfloat16):
            out = system.predict(x_t, times)
        return {"noise": F.mse_loss(out, system.target(x0, noise, times))}


def _check_side(side: int, network: DDPMConfig) -> None:
    require(side % network.multiple == 0, "objective.size", f"be a multiple of {network.multiple}", side)
