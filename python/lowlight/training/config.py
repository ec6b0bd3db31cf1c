"""Training configuration: dataclasses that know which values are possible. config_files.py reads them from YAML."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from ..seeds import checked_seed

# torch.optim's Adam and AdamW; Lion of Chen et al. 2023 from the lion-pytorch package
_BETAS = {"adam": (0.9, 0.99), "adamw": (0.9, 0.99), "lion": (0.9, 0.99)}
_OPTIMIZERS = (*_BETAS, "rmsprop", "sgd")
_SCHEDULES = ("cosine", "constant", "step", "plateau")


def require(condition: bool, name: str, expectation: str, value: Any) -> None:
    if not condition:
        raise ValueError(f"{name} must {expectation}, got {str(value)[:200]}")


@dataclass
class Stage:
    """A stretch of a training with one kind of batch, either `iterations` or `epochs` (passes over the pairs) long.

    shrink: pictures shrunk by this integer. crop: side of the crop, null for whole pictures. sampling_steps: network
    calls of the in-step sampling, 0 for none. losses: of a system with several parts, what each part that the stage
    trains is to minimise, {part: [loss, ...]}.
    schedule "cosine": from learning_rate to learning_rate_end along a half cosine. "constant": learning_rate. "step":
    learning_rate times `factor` after every `every` iterations, or epochs where the stage counts those. "plateau":
    times `factor` whenever the mean loss of `every` iterations (or epochs) was not below the best so far by a ten
    thousandth of it for more than `patience` times in a row.
    """

    batch: int
    iterations: int | None = None
    epochs: int | None = None
    crop: int | None = None
    shrink: int = 1
    sampling_steps: int = 0
    losses: dict[str, list[str]] = field(default_factory=dict)
    learning_rate: float = 1e-4
    schedule: str = "cosine"
    learning_rate_end: float = 1e-4
    every: int | None = None
    factor: float = 0.8
    patience: int = 10

    def __post_init__(self):
        require((self.iterations is None) != (self.epochs is None), "a stage", "have either iterations or epochs", self)
        for name in ("batch", "iterations", "epochs", "crop", "shrink", "every"):
            value = getattr(self, name)
            require(value is None or value >= 1, name, "be positive", value)
        for name, most in (("batch", 1 << 16), ("crop", 1 << 14), ("shrink", 1 << 10)):
            value = getattr(self, name)
            require(value is None or value <= most, name, f"be at most {most}", value)
        require(self.sampling_steps >= 0, "sampling_steps", "not be negative", self.sampling_steps)
        require(self.patience >= 0, "patience", "not be negative", self.patience)
        require(self.schedule in _SCHEDULES, "schedule", f"be one of {', '.join(_SCHEDULES)}", repr(self.schedule))
        looks = self.schedule in ("step", "plateau")
        require(not looks or self.every is not None, "every", f"be set for a {self.schedule} schedule", None)
        for name in ("learning_rate", "factor"):
            value = getattr(self, name)
            require(math.isfinite(value) and value > 0, name, "be positive", value)
        require(self.learning_rate_end >= 0, "learning_rate_end", "not be negative", self.learning_rate_end)

    @property
    def length(self) -> int:
        """Iterations of a stage that is counted in them: see `resolved`."""
        if self.iterations is None:
            raise ValueError(f"a stage of {self.epochs} epochs must be resolved to iterations first")
        return self.iterations

    def resolved(self, pairs: int) -> Stage:
        """The stage counted in iterations, for a data set of so many pairs."""
        if self.epochs is None:
            return self
        every = self.every and max(1, round(self.every * pairs / self.batch))
        return replace(self, iterations=math.ceil(self.epochs * pairs / self.batch), epochs=None, every=every)

    def rate(self, step: int) -> float:
        """The learning rate of the stage's iteration `step`, counted in iterations; a plateau's before it falls."""
        if self.schedule in ("constant", "plateau"):
            return self.learning_rate
        if self.schedule == "step":
            assert self.every is not None
            return self.learning_rate * self.factor ** (step // self.every)
        cosine = 0.5 * (1 + math.cos(math.pi * step / max(1, self.length - 1)))
        return self.learning_rate_end + (self.learning_rate - self.learning_rate_end) * cosine


@dataclass
class TrainConfig:
    """Everything a training depends on, beside the pictures; objectives.lookup.checked does what its system must check.

    data, split: the folder of pairs and which of them, where the command line does not say; lists for several folders.
    init: the model whose weights it begins with, where they fit: a shipped name or a file. freeze: names of modules or
    weights that stay as they are.
    system: a name of systems.registry.SYSTEMS. network: fields of that row's configuration. objective: settings of its
    objective (DiffLLOptions, AnchoredOptions, ExposureOptions). weights: factors on the objective's `terms`, or on
    several of them together by a name of its `groups`.
    turn: quarter turns of what is cut out, beside flips. optimizer: adam, adamw, lion (the extra [train]), rmsprop or
    sgd (momentum 0.9); betas: of the first three, null for (0.9, 0.99). warmup: iterations over which the
    learning rate rises. clip_norm: of the gradient, null for none. recompute: the in-step sampling forgets its
    activations and computes them again, for less memory.
    validate_every: iterations, 0 for never; validate_pairs: how many of the split, evenly spread; validate_lpips: with
    LPIPS (the extra [lpips]), and `score`, the published AnlightenDiff's. best: the validation's column by which
    best.pt is kept beside last.pt, null for none. tensorboard: write a log for it beside log.csv.
    """

    stages: list[Stage]
    data: str | list[str] = ""
    split: str | list[str] | None = None
    init: str | None = None
    freeze: list[str] = field(default_factory=list)
    system: str = "diffll"
    network: dict[str, Any] = field(default_factory=dict)
    objective: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    seed: int = 0
    turn: bool = False
    ema: float = 0.999
    optimizer: str = "adam"
    betas: list[float] | None = None
    weight_decay: float = 0.0
    warmup: int = 100
    clip_norm: float | None = 1.0
    bfloat16: bool = False
    recompute: bool = False
    threads: int | None = None
    checkpoint_every: int = 500
    log_every: int = 50
    validate_every: int = 0
    validate_pairs: int = 4
    validate_lpips: bool = False
    best: str | None = None
    tensorboard: bool = False

    def __post_init__(self):
        require(bool(self.stages), "stages", "list at least one stage", self.stages)
        checked_seed(self.seed)
        for name in ("checkpoint_every", "log_every", "validate_pairs", "threads"):
            value = getattr(self, name)
            require(value is None or value >= 1, name, "be positive", value)
        for name in ("warmup", "validate_every", "weight_decay"):
            require(getattr(self, name) >= 0, name, "not be negative", getattr(self, name))
        require(self.best is None or self.validate_every > 0, "best", "be null without validate_every", self.best)
        require(0 <= self.ema < 1, "ema", "lie in [0, 1)", self.ema)
        require(self.optimizer in _OPTIMIZERS, "optimizer", f"be one of {', '.join(_OPTIMIZERS)}", repr(self.optimizer))
        if self.optimizer in _BETAS:
            self.betas = betas = list(self.betas or _BETAS[self.optimizer])
            require(len(betas) == 2 and all(0 <= b < 1 for b in betas), "betas", "be two numbers in [0, 1)", betas)
        else:
            require(not self.betas, "betas", f"be null with {self.optimizer}", self.betas)
        require(self.clip_norm is None or self.clip_norm > 0, "clip_norm", "be positive or null", self.clip_norm)

    def resolved(self, pairs: int) -> TrainConfig:
        """The configuration with all stages counted in iterations, for a data set of so many pairs."""
        return replace(self, stages=[stage.resolved(pairs) for stage in self.stages])

    @property
    def iterations(self) -> int:
        """Of all stages, which must be counted in iterations: see `resolved`."""
        return sum(stage.length for stage in self.stages)

    def stage_at(self, step: int) -> tuple[Stage, int, int]:
        """The stage of a step, the step's number in it, and the number of samples drawn before the step."""
        drawn = 0
        for stage in self.stages:
            if step < stage.length:
                return stage, step, drawn + step * stage.batch
            step -= stage.length
            drawn += stage.length * stage.batch
        raise IndexError("step lies behind the last stage")
