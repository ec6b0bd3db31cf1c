"""The training loop. All randomness is a function of (seed, step), so an interrupted run resumes exactly."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import lowlight_ext

from ..data.batches import Batch, PairBatches
from ..image_io import write_atomically
from ..networks.diffll import DiffLLConfig
from ..systems.diffll import DiffLL, log_quantiles, pad_to_multiple
from .config import Stage, TrainConfig

_NOISE, _TIMES, _START = 1 << 15, 1 << 14, 1 << 13  # streams of the generator, apart from a sampler's


class Trainer:
    """Trains a DiffLL; `folder` receives last.pt (resume), log.csv and config.json."""

    def __init__(self, config: TrainConfig, data: PairBatches, folder: Path, device: str = "cpu"):
        self.config, self.data, self.folder, self.device = config, data, folder, torch.device(device)
        network = DiffLLConfig(**config.network)
        if config.bfloat16 and self.device.type == "cpu" and network.hfrm_width % 16:
            # measured on torch 2.13: weight gradients of dilated bfloat16 convolutions are wrong, or NaN, at width 24
            raise ValueError(
                f"training in bfloat16 on a CPU needs hfrm_width in multiples of 16, got {network.hfrm_width}"
            )
        torch.manual_seed(config.seed)
        self.system = DiffLL(network).to(self.device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(self.system.parameters(), lr=0.0, betas=(0.9, 0.99))
        self.ema = {name: p.detach().clone() for name, p in self.system.named_parameters()}
        self.step = 0
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "config.json", json.dumps(dataclasses.asdict(config), indent=1).encode())

    def learning_rate(self, stage: Stage, step: int) -> float:
        """Half cosine over the stage, times a linear warm-up over the run's first iterations."""
        progress = step / max(1, stage.iterations - 1)
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        rate = stage.learning_rate_end + (stage.learning_rate - stage.learning_rate_end) * cosine
        return rate * min(1.0, (self.step + 1) / max(1, self.config.warmup))

    def losses(self, batch: Batch, stage: Stage, first: int) -> dict[str, Tensor]:
        """The loss terms of one batch; noise and times are drawn from (seed, sample number)."""
        system, count = self.system, batch.low.shape[0]
        low = pad_to_multiple(batch.low, system.multiple).to(self.device)
        high = pad_to_multiple(batch.high, system.multiple).to(self.device)
        scale = 2**system.config.levels
        shape = (count, 3, low.shape[-2] // scale, low.shape[-1] // scale)
        seeds = torch.arange(first, first + count) + (self.config.seed << 40)

        def normal(stream: int) -> Tensor:
            return lowlight_ext.normal(shape, seeds, stream=stream, device=self.device)

        half = lowlight_ext.uniform((count // 2 + 1,), int(seeds[0]), stream=_TIMES, device=self.device)
        t = (half * system.config.timesteps).long()
        t = torch.cat([t, system.config.timesteps - 1 - t])[:count]  # antithetic, as published
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bfloat16):
            return system.training_losses(
                low,
                high,
                t=t,
                noise=normal(_NOISE),
                x_T=normal(_START) if stage.sampling_steps else None,
                steps=stage.sampling_steps or None,
                statistics=log_quantiles(batch.whole.to(self.device)),
            )

    def train_step(self) -> dict[str, float]:
        """One iteration; returns the loss terms, the gradient's norm and the learning rate."""
        stage, step, first = self.config.stage_at(self.step)
        rate = self.learning_rate(stage, step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batch = self.data.batch(first, stage.batch, shrink=stage.shrink, crop=stage.crop)
        losses = self.losses(batch, stage, first)
        total = sum(self.config.weights[name] * value for name, value in losses.items())
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.system.parameters(), self.config.clip_norm)
        if not math.isfinite(norm):
            raise FloatingPointError(f"step {self.step}: the gradient is not finite (losses {losses})")
        self.optimizer.step()
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.ema.values()), list(self.system.parameters()), 1 - decay)
        self.step += 1
        return {name: value.item() for name, value in losses.items()} | {"grad_norm": norm.item(), "lr": rate}

    def state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "model": self.system.state_dict(),
            "ema": self.ema,
            "optimizer": self.optimizer.state_dict(),
            "config": dataclasses.asdict(self.config),
        }

    def save(self) -> None:
        buffer = io.BytesIO()
        torch.save(self.state(), buffer)
        write_atomically(self.folder / "last.pt", buffer.getvalue())

    def resume(self) -> bool:
        """Continue from last.pt where there is one."""
        path = self.folder / "last.pt"
        if not path.is_file():
            return False
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.system.load_state_dict(state["model"])
        self.ema = {name: state["ema"][name].to(self.device) for name in self.ema}
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        return True

    def run(
        self,
        progress: Callable[[int, dict[str, float]], None] | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Train to the last iteration, or until stop() says so; a checkpoint is written either way.

        progress(step, losses) is called after every iteration. Returns whether the training is finished.
        """
        started, sums, count = time.monotonic(), {}, 0
        while self.step < self.config.iterations:
            losses = self.train_step()
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value
            count += 1
            if progress is not None:
                progress(self.step, losses)
            finished, stopping = self.step == self.config.iterations, stop()
            if self.step % self.config.log_every == 0 or finished or stopping:
                means = {name: value / count for name, value in sums.items()}
                self._log({"step": self.step, "seconds": time.monotonic() - started} | means)
                sums, count = {}, 0
            if self.step % self.config.checkpoint_every == 0 or finished or stopping:
                self.save()
            if stopping:
                break
        return self.step >= self.config.iterations

    def _log(self, row: dict[str, float]) -> None:
        path = self.folder / "log.csv"
        names = ["step", "seconds", "noise", "photo", "frequency", "grad_norm", "lr"]
        fresh = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, names, restval="", extrasaction="ignore")
            if fresh:
                writer.writeheader()
            writer.writerow({name: f"{value:.6g}" for name, value in row.items()})
