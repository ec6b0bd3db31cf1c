"""What one training step minimises. All draws are functions of (seed, number of the sample)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import lowlight_ext

from ..data.batches import Batch
from ..networks.diffll import DiffLLConfig
from ..systems.diffll import DiffLL, log_quantiles, pad_to_multiple
from .config import Stage, TrainConfig

_NOISE, _TIMES, _START = 1 << 15, 1 << 14, 1 << 13  # streams of the generator, apart from a sampler's


class Objective(nn.Module):
    """DiffLL with its losses as `forward`, which is what processes that share a batch synchronise."""

    def __init__(self, config: TrainConfig, device: torch.device):
        super().__init__()
        network = DiffLLConfig(**config.network)
        if config.bfloat16 and device.type == "cpu" and network.hfrm and network.hfrm_width % 16:
            # measured on torch 2.13: weight gradients of dilated bfloat16 convolutions are wrong, or NaN, at width 24
            raise ValueError(
                f"training in bfloat16 on a CPU needs hfrm_width in multiples of 16, got {network.hfrm_width}"
            )
        torch.manual_seed(config.seed)
        self.config = config
        self.system = DiffLL(network).to(device, memory_format=torch.channels_last)

    def forward(self, batch: Batch, stage: Stage, first: int, skip: int = 0) -> dict[str, Tensor]:
        """Terms of the loss, each a mean over the batch.

        batch: the samples from `skip` on of the stage's whole batch, which begins with sample `first`; its statistics
        are `log_quantiles` of the whole dark pictures.
        """
        system, device = self.system, self.system.device
        low = pad_to_multiple(batch.low.to(device), system.multiple)
        high = pad_to_multiple(batch.high.to(device), system.multiple)
        count, scale = low.shape[0], 2**system.config.levels
        shape = (count, 3, low.shape[-2] // scale, low.shape[-1] // scale)
        seeds = torch.arange(first + skip, first + skip + count) + (self.config.seed << 40)

        def normal(stream: int) -> Tensor:
            return lowlight_ext.normal(shape, seeds, stream=stream, device=device)

        statistics = log_quantiles(batch.whole) if batch.statistics is None else batch.statistics
        with torch.autocast(device.type, torch.bfloat16, enabled=self.config.bfloat16):
            return system.training_losses(
                low,
                high,
                t=self._times(first, stage.batch, device)[skip : skip + count],
                noise=normal(_NOISE),
                x_T=normal(_START) if stage.sampling_steps else None,
                steps=stage.sampling_steps or None,
                statistics=statistics.to(device),
                recompute=self.config.recompute,
            )

    def _times(self, first: int, count: int, device: torch.device) -> Tensor:
        """[count] steps of the diffusion for a whole batch: antithetic, as published."""
        timesteps = self.system.config.timesteps
        key = first + (self.config.seed << 40)
        half = lowlight_ext.uniform((count // 2 + 1,), key, stream=_TIMES, device=device)
        t = (half * timesteps).long()
        return torch.cat([t, timesteps - 1 - t])[:count]
