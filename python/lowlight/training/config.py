"""Training configuration: dataclasses that know which values are possible. config_files.py reads them from YAML."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from ..networks.diffll import DiffLLConfig

# the published terms of the loss; "photo" and "frequency" are the paper's names for two of them together
TERMS = ("noise", "l1", "ssim", "bands", "tv")
GROUPS = {"photo": ("l1", "ssim"), "frequency": ("bands", "tv")}


def _require(condition: bool, name: str, expectation: str, value: Any) -> None:
    if not condition:
        raise ValueError(f"{name} must {expectation}, got {value}")


@dataclass
class Stage:
    """A stretch of a training with one kind of batch, either `iterations` or `epochs` (passes over the pairs) long.

    shrink: pictures shrunk by this integer. crop: side of the crop, null for whole pictures. sampling_steps: network
    calls of the in-step sampling, 0 for none.
    schedule "cosine": from learning_rate to learning_rate_end along a half cosine. "step": learning_rate times
    `factor` after every `every` iterations, or epochs where the stage counts those.
    """

    batch: int
    iterations: int | None = None
    epochs: int | None = None
    crop: int | None = None
    shrink: int = 1
    sampling_steps: int = 0
    learning_rate: float = 1e-4
    schedule: str = "cosine"
    learning_rate_end: float = 1e-4
    every: int | None = None
    factor: float = 0.8

    def __post_init__(self):
        _require(
            (self.iterations is None) != (self.epochs is None), "a stage", "have either iterations or epochs", self
        )
        for name in ("batch", "iterations", "epochs", "crop", "shrink", "every"):
            value = getattr(self, name)
            _require(value is None or value >= 1, name, "be positive", value)
        _require(self.sampling_steps >= 0, "sampling_steps", "not be negative", self.sampling_steps)
        _require(self.schedule in ("cosine", "step"), "schedule", "be cosine or step", repr(self.schedule))
        _require(self.schedule == "cosine" or self.every is not None, "every", "be set for a step schedule", None)
        for name in ("learning_rate", "factor"):
            value = getattr(self, name)
            _require(math.isfinite(value) and value > 0, name, "be positive", value)
        _require(self.learning_rate_end >= 0, "learning_rate_end", "not be negative", self.learning_rate_end)

    def resolved(self, pairs: int) -> Stage:
        """The stage counted in iterations, for a data set of so many pairs."""
        if self.epochs is None:
            return self
        every = self.every and max(1, round(self.every * pairs / self.batch))
        return replace(self, iterations=math.ceil(self.epochs * pairs / self.batch), epochs=None, every=every)

    def rate(self, step: int) -> float:
        """The learning rate of the stage's iteration `step`; the stage must be counted in iterations."""
        if self.schedule == "step":
            return self.learning_rate * self.factor ** (step // self.every)
        cosine = 0.5 * (1 + math.cos(math.pi * step / max(1, self.iterations - 1)))
        return self.learning_rate_end + (self.learning_rate - self.learning_rate_end) * cosine


@dataclass
class TrainConfig:
    """Everything a training depends on, beside the pictures.

    data, split: the folder of pairs and which of them, where the command line does not say.
    network: fields of DiffLLConfig. weights: factors on the published terms noise, l1, ssim, bands, tv ("photo" and
    "frequency" stand for the second and third, the fourth and fifth). warmup: iterations over which the learning rate
    rises. clip_norm: of the gradient, null for none. recompute: the in-step sampling forgets its activations and
    computes them again, for less memory. validate_every: iterations, 0 for never; validate_pairs: how many of the
    split, evenly spread. tensorboard: write a log for it beside log.csv.
    """

    stages: list[Stage]
    data: str = ""
    split: str | None = None
    system: str = "diffll"
    network: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    seed: int = 0
    ema: float = 0.999
    adam_betas: list[float] = field(default_factory=lambda: [0.9, 0.99])
    warmup: int = 100
    clip_norm: float | None = 1.0
    bfloat16: bool = False
    recompute: bool = False
    threads: int | None = None
    checkpoint_every: int = 500
    log_every: int = 50
    validate_every: int = 0
    validate_pairs: int = 4
    tensorboard: bool = False

    def __post_init__(self):
        self.weights = _term_weights(self.weights)
        _require(bool(self.stages), "stages", "list at least one stage", self.stages)
        _require(self.system == "diffll", "system", "be diffll", repr(self.system))
        for name in ("checkpoint_every", "log_every", "validate_pairs", "threads"):
            value = getattr(self, name)
            _require(value is None or value >= 1, name, "be positive", value)
        for name in ("warmup", "validate_every"):
            _require(getattr(self, name) >= 0, name, "not be negative", getattr(self, name))
        _require(0 <= self.ema < 1, "ema", "lie in [0, 1)", self.ema)
        betas = self.adam_betas
        _require(len(betas) == 2 and all(0 <= b < 1 for b in betas), "adam_betas", "be two numbers in [0, 1)", betas)
        _require(self.clip_norm is None or self.clip_norm > 0, "clip_norm", "be positive or null", self.clip_norm)
        network = DiffLLConfig(**self.network)
        for i, stage in enumerate(self.stages):
            name = f"stages.{i}.crop"
            fits = stage.crop is None or stage.crop % network.multiple == 0
            wanted = f"be a multiple of {network.multiple} (2^K for the wavelets, 8 for the U-Net)"
            _require(fits, name, wanted, stage.crop)
            steps, most = stage.sampling_steps, network.timesteps
            _require(steps <= most, f"stages.{i}.sampling_steps", f"be at most the network's timesteps {most}", steps)

    def resolved(self, pairs: int) -> TrainConfig:
        """The configuration with all stages counted in iterations, for a data set of so many pairs."""
        return replace(self, stages=[stage.resolved(pairs) for stage in self.stages])

    @property
    def iterations(self) -> int:
        """Of all stages, which must be counted in iterations: see `resolved`."""
        return sum(stage.iterations for stage in self.stages)

    def stage_at(self, step: int) -> tuple[Stage, int, int]:
        """The stage of a step, the step's number in it, and the number of samples drawn before the step."""
        drawn = 0
        for stage in self.stages:
            if step < stage.iterations:
                return stage, step, drawn + step * stage.batch
            step -= stage.iterations
            drawn += stage.iterations * stage.batch
        raise IndexError("step lies behind the last stage")


def _term_weights(weights: dict[str, float]) -> dict[str, float]:
    """A weight for each of TERMS."""
    unknown = sorted(set(weights) - set(TERMS) - set(GROUPS))
    _require(not unknown, "weights", f"have keys of {', '.join((*TERMS, *GROUPS))}", ", ".join(unknown))
    full = dict.fromkeys(TERMS, 1.0)
    for group, terms in GROUPS.items():
        full |= dict.fromkeys(terms, weights.get(group, 1.0))
    full |= {name: value for name, value in weights.items() if name in TERMS}
    for name, value in full.items():
        _require(isinstance(value, int | float) and math.isfinite(value), f"weights.{name}", "be a number", value)
    return {name: float(value) for name, value in full.items()}
