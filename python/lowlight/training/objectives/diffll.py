"""DiffLL's training: the published terms, with the sampling pass inside the step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...data.batches.batches import Batch
from ...systems.base import channels_last
from ...systems.diffll.network import DiffLLConfig
from ...systems.diffll.system import DiffLL, log_quantiles
from ...systems.tiling import pad_to_multiple
from ..config import Stage, TrainConfig, require
from .base import START, Objective


@dataclass
class DiffLLOptions:
    """DiffLL has no settings of its own beside the network's and the stages'."""


class DiffLLObjective(Objective):
    """The published loss: noise, and with in-step sampling photometric and frequency terms of the sampled picture."""

    options = DiffLLOptions
    system: DiffLL
    terms = ("noise", "l1", "ssim", "bands", "tv")
    # the paper's names for two of them together
    groups: ClassVar = {"photo": ("l1", "ssim"), "frequency": ("bands", "tv")}
    statistics = staticmethod(log_quantiles)

    def __init__(self, config: TrainConfig, device: torch.device):
        super().__init__(config)
        network = DiffLLConfig(**config.network)
        if config.bfloat16 and device.type == "cpu" and network.hfrm and network.hfrm_width % 16:
            # measured on torch 2.13: weight gradients of dilated bfloat16 convolutions are wrong, or NaN, at width 24
            raise ValueError(
                f"training in bfloat16 on a CPU needs hfrm_width in multiples of 16, got {network.hfrm_width}"
            )
        self.system = channels_last(DiffLL(network).to(device))

    @classmethod
    def check(cls, config: TrainConfig) -> None:
        network = DiffLLConfig(**config.network)
        for i, stage in enumerate(config.stages):
            fits = stage.crop is None or stage.crop % network.multiple == 0
            wanted = f"be a multiple of {network.multiple} (2^K for the wavelets, 8 for the U-Net)"
            require(fits, f"stages.{i}.crop", wanted, stage.crop)
            steps, most = stage.sampling_steps, network.timesteps
            require(steps <= most, f"stages.{i}.sampling_steps", f"be at most the network's timesteps {most}", steps)
            require(not stage.losses, f"stages.{i}.losses", "not be set for diffll", stage.losses)

    @staticmethod
    def steps(stage: Stage) -> int:
        # one to predict noise, about one for the HFRMs, and the sampling's
        return 2 + stage.sampling_steps

    def forward(self, batch: Batch, stage: Stage, first: int, skip: int = 0) -> dict[str, Tensor]:
        """Its statistics are `log_quantiles` of the whole dark pictures."""
        system, device = self.system, self.system.device
        low = pad_to_multiple(batch.low.to(device), system.multiple)
        high = pad_to_multiple(batch.high.to(device), system.multiple)
        count, scale = low.shape[0], 2**system.config.levels
        shape = (count, 3, low.shape[-2] // scale, low.shape[-1] // scale)
        statistics = log_quantiles(batch.whole) if batch.statistics is None else batch.statistics
        with torch.autocast(device.type, torch.bfloat16, enabled=self.config.bfloat16):
            return system.training_losses(
                low,
                high,
                t=self._times(first, stage.batch)[skip : skip + count],
                noise=self.normal(shape, first + skip),
                x_T=self.normal(shape, first + skip, START) if stage.sampling_steps else None,
                steps=stage.sampling_steps or None,
                statistics=statistics.to(device),
                recompute=self.config.recompute,
            )

    def _times(self, first: int, count: int) -> Tensor:
        """[count] steps of the diffusion for a whole batch: antithetic, as published."""
        timesteps = self.system.config.timesteps
        t = (self.uniform(count // 2 + 1, first) * timesteps).long()
        return torch.cat([t, timesteps - 1 - t])[:count]
