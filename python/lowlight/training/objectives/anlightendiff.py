"""AnlightenDiff's training: the anchored noise, and the parts that make the center, together or one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from ...data.batches.batches import Batch
from ...metrics.losses import ms_ssim, ssim
from ...systems.anlightendiff.checkpoint import fold_weight_norm
from ...systems.anlightendiff.conditioning import color_map
from ...systems.anlightendiff.network import AnlightenDiffConfig
from ...systems.anlightendiff.system import AnlightenDiff, Condition
from ...systems.base import System, channels_last
from ...systems.tiling import pad_to_multiple
from ..config import Stage, TrainConfig, require
from .base import CENTER, Objective

_PICTURE_LOSSES = ("l1", "l2", "ssim", "ms_ssim", "lpips")
_NOISE_LOSSES = ("l1", "l2", "dfpl")
# what a stage may train, and how
PARTS = {
    "center": _PICTURE_LOSSES,  # the one-step encoder's picture, towards the bright one
    "color": _PICTURE_LOSSES,  # the two-step encoder's picture, towards the bright one's color map
    "histogram": _PICTURE_LOSSES,  # the two-step model's second network, towards the bright picture
    "diffusion": _NOISE_LOSSES,  # the denoiser
    "picture": _PICTURE_LOSSES,  # the denoiser through the whole sampling, towards the bright picture
}
_DENOISER = ("diffusion", "picture")


@dataclass
class AnchoredOptions:
    """Settings of AnlightenDiff's training beside the network's and the stages'.

    true_center: the share of batches whose center is the bright picture, where the anchored noise is trained; the
    others take the encoder's. train_encoder: where a stage trains the center and the denoiser at once, the denoiser's
    losses reach the networks of the center too. weight_norm: of every Conv2d, as published. perceptual: LPIPS's network
    for dfpl and lpips, "vgg", "alex" or "squeeze", with the extra [lpips]; perceptual_weights: its file, null for
    torchvision's own place.
    """

    true_center: float = 0.5
    train_encoder: bool = False
    weight_norm: bool = True
    perceptual: str = "vgg"
    perceptual_weights: str | None = None

    def __post_init__(self):
        require(0 <= self.true_center <= 1, "true_center", "lie in [0, 1]", self.true_center)
        names = ("vgg", "alex", "squeeze")
        require(self.perceptual in names, "perceptual", f"be one of {', '.join(names)}", repr(self.perceptual))


class AnchoredObjective(Objective):
    """Losses of the parts that a stage names: Stage.losses maps each of PARTS to some of its losses."""

    options = AnchoredOptions
    system: AnlightenDiff
    terms = tuple(f"{part}_{loss}" for part, losses in PARTS.items() for loss in losses)

    def __init__(self, config: TrainConfig, device: torch.device):
        super().__init__(config)
        self.settings = AnchoredOptions(**config.objective)
        system = AnlightenDiff(AnlightenDiffConfig(**config.network))
        system.apply(_initialise)
        if self.settings.weight_norm:
            for module in system.modules():
                if isinstance(module, nn.Conv2d):
                    parametrizations.weight_norm(module)
        self.system = channels_last(system.to(device))
        if self._needs_lpips(config):
            self._lpips = _perceptual(self.settings, device)

    @classmethod
    def check(cls, config: TrainConfig) -> None:
        network = AnlightenDiffConfig(**config.network)
        absent = ("center",) if network.two_step else ("color", "histogram")
        parts = [part for part in PARTS if part not in absent]
        multiple = 2 ** (len(network.widths) - 1)
        for i, stage in enumerate(config.stages):
            name = f"stages.{i}"
            listed = "map parts to losses: " + "; ".join(f"{part}: {', '.join(PARTS[part])}" for part in parts)
            fits = stage.losses and all(
                part in parts and set(losses) <= set(PARTS[part]) and losses for part, losses in stage.losses.items()
            )
            require(bool(fits), f"{name}.losses", listed, stage.losses)
            sampled = "picture" in stage.losses
            steps, most = stage.sampling_steps, network.timesteps
            wanted = f"lie in 1 .. {most} with losses of the picture, be 0 without"
            require(1 <= steps <= most if sampled else steps == 0, f"{name}.sampling_steps", wanted, steps)
            fits = stage.crop is None or (stage.crop % multiple == 0 and stage.crop >= 2 * multiple)
            require(fits, f"{name}.crop", f"be a multiple of {multiple}, at least {2 * multiple}", stage.crop)

    @classmethod
    def active_terms(cls, config: TrainConfig) -> tuple[str, ...]:
        used = {f"{part}_{loss}" for stage in config.stages for part in stage.losses for loss in stage.losses[part]}
        return tuple(term for term in cls.terms if term in used)

    @staticmethod
    def steps(stage: Stage) -> int:
        encoders = 2 if {"color", "histogram"} & set(stage.losses) else 1
        return encoders + ("diffusion" in stage.losses) + stage.sampling_steps

    @property
    def partial(self) -> bool:
        return True

    def prepare(self, stage: Stage) -> None:
        self.system.requires_grad_(False)
        for module in self._trained(stage):
            module.requires_grad_(True)

    def _trained(self, stage: Stage) -> list[nn.Module]:
        """The networks that the stage trains."""
        system, parts = self.system, set(stage.losses)
        trained: list[nn.Module] = [system.model] if parts & set(_DENOISER) else []
        if parts & {"center", "color"}:
            trained.append(system.encoder)
        if "histogram" in parts:
            trained.append(system.histroEncoder)
        return trained

    def forward(self, batch: Batch, stage: Stage, first: int, skip: int = 0) -> dict[str, Tensor]:
        system, device = self.system, self.system.device
        low, high = (
            pad_to_multiple(x.to(device), system.multiple, least=2 * system.multiple) for x in (batch.low, batch.high)
        )
        with torch.autocast(device.type, torch.bfloat16, enabled=self.config.bfloat16):
            with torch.set_grad_enabled(any(module is not system.model for module in self._trained(stage))):
                condition = system.analyse(low)
            terms = self._center_terms(condition, high, stage)
            if set(stage.losses) & set(_DENOISER):
                if not self.settings.train_encoder:
                    condition = condition.detached()
                if "picture" in stage.losses:
                    seeds = self.seeds(low.shape[0], first + skip)
                    result = system.generate(
                        condition, steps=stage.sampling_steps, seed=seeds, recompute=self.config.recompute
                    )
                    terms |= self._picture_terms("picture", result, high, stage)
                if "diffusion" in stage.losses:
                    # eps* holds the center: a center that followed this loss would be a simple one, not a true one
                    condition = condition._replace(center=condition.center.detach())
                    t = (self.uniform(stage.batch, first) * system.config.timesteps).long()[skip : skip + len(low)]
                    if self.uniform(1, first, CENTER).item() < self.settings.true_center:
                        condition = condition._replace(center=high)
                    noise = self.normal(tuple(high.shape), first + skip)
                    predicted, target = system.noise_pair(condition, high, t=t, noise=noise)
                    for loss in stage.losses["diffusion"]:
                        terms[f"diffusion_{loss}"] = self._noise_loss(loss, predicted, target, condition, high, t)
        return terms

    def _center_terms(self, condition: Condition, high: Tensor, stage: Stage) -> dict[str, Tensor]:
        """Of the networks before the denoiser."""
        made: dict[str, tuple[Any, Tensor]] = {
            "center": (condition.center, high),
            "color": (condition.color, color_map(high)),
            "histogram": (condition.histogram, high),
        }
        terms: dict[str, Tensor] = {}
        for part in made.keys() & set(stage.losses):
            terms |= self._picture_terms(part, *made[part], stage)
        return terms

    def _picture_terms(self, part: str, result: Tensor, truth: Tensor, stage: Stage) -> dict[str, Tensor]:
        return {f"{part}_{loss}": self._picture_loss(loss, result, truth) for loss in stage.losses[part]}

    def _picture_loss(self, loss: str, result: Tensor, truth: Tensor) -> Tensor:
        if loss == "lpips":
            return self._lpips(result, truth).mean()
        return _LOSSES[loss](result, truth)

    def _noise_loss(
        self, loss: str, predicted: Tensor, target: Tensor, condition: Condition, high: Tensor, t: Tensor
    ) -> Tensor:
        if loss == "dfpl":
            return self._lpips(*self.system.dfpl_pictures(condition, high, t, predicted, target)).mean()
        return F.smooth_l1_loss(predicted, target) if loss == "l1" else F.mse_loss(predicted, target)

    def for_inference(self, system: System) -> System:
        if not self.settings.weight_norm:
            return system
        # parametrizations cannot be taken off: a module and its copy share a class, the trained one would lose them too
        plain = channels_last(AnlightenDiff(system.config).to(system.device)).eval().requires_grad_(False)
        plain.load_state_dict(fold_weight_norm(system.state_dict()))
        return plain

    @staticmethod
    def _needs_lpips(config: TrainConfig) -> bool:
        return any({"lpips", "dfpl"} & set(losses) for stage in config.stages for losses in stage.losses.values())


_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": F.l1_loss,
    "l2": F.mse_loss,
    "ssim": lambda result, truth: 1 - ssim(result, truth),
    "ms_ssim": lambda result, truth: 1 - ms_ssim(result, truth),
}


def _initialise(module: nn.Module) -> None:
    """As the published code comes out: PyTorch's own convolutions without biases, small linear layers."""
    if isinstance(module, nn.Linear):
        nn.init.kaiming_normal_(module.weight)
        with torch.no_grad():
            module.weight.mul_(0.1)
    if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
        nn.init.zeros_(module.bias)


def _perceptual(settings: AnchoredOptions, device: torch.device) -> Callable[[Tensor, Tensor], Tensor]:
    """LPIPS without a gradient of its own weights. Raises ValueError where something of it is missing."""
    from ...metrics.lpips import Lpips, LpipsUnavailable

    try:
        return Lpips(settings.perceptual, settings.perceptual_weights, device)
    except (LpipsUnavailable, OSError) as error:
        raise ValueError(f"objective.perceptual: {error}") from None
