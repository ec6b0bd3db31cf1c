"""Training configuration: a YAML file, checked key by key."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

CONFIGS = Path(__file__).parent / "configs"


@dataclass
class Stage:
    """A stretch of iterations with one kind of batch.

    shrink: pictures shrunk by this integer. crop: side of the crop, null for whole pictures. sampling_steps: network
    calls of the in-step sampling, 0 for none. learning_rate: at the start of the stage; it falls to learning_rate_end
    along a half cosine.
    """

    iterations: int
    batch: int
    crop: int | None = None
    shrink: int = 1
    sampling_steps: int = 0
    learning_rate: float = 1e-4
    learning_rate_end: float = 1e-4


@dataclass
class TrainConfig:
    """Everything a training depends on, beside the pictures."""

    stages: list[Stage]
    data: str = ""
    system: str = "diffll"
    network: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=lambda: {"noise": 1.0, "photo": 1.0, "frequency": 1.0})
    seed: int = 0
    ema: float = 0.999
    warmup: int = 100
    clip_norm: float = 1.0
    bfloat16: bool = False
    threads: int | None = None
    checkpoint_every: int = 500
    log_every: int = 50

    @property
    def iterations(self) -> int:
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


def _build(cls: type, values: dict[str, Any], where: str) -> Any:
    known = {f.name for f in dataclasses.fields(cls)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(f"{where}: unknown key {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    try:
        return cls(**values)
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from None


def load_config(name: str, overrides: list[str] = ()) -> TrainConfig:
    """A configuration from a YAML file or by the name of one that ships; overrides read "seed=1", "stages.0.batch=4".

    Raises FileNotFoundError with the shipped names, ValueError for unknown keys and impossible values.
    """
    path = Path(name) if Path(name).suffix in (".yaml", ".yml") else CONFIGS / f"{name}.yaml"
    if not path.is_file():
        shipped = ", ".join(sorted(p.stem for p in CONFIGS.glob("*.yaml")))
        raise FileNotFoundError(f"no configuration {name}: give a YAML file or one of {shipped}")
    values = yaml.safe_load(path.read_text()) or {}
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise ValueError(f"an override must read key=value, got {override!r}")
        _set(values, key.split("."), yaml.safe_load(text))
    return from_dict(values, str(path))


def from_dict(values: dict[str, Any], where: str = "configuration") -> TrainConfig:
    values = dict(values)
    stages = values.pop("stages", None)
    if not stages:
        raise ValueError(f"{where}: stages must list at least one stage")
    parsed = [
        _build(Stage, s if isinstance(s, dict) else dataclasses.asdict(s), f"{where}: stage {i}")
        for i, s in enumerate(stages)
    ]
    for i, stage in enumerate(parsed):
        if stage.iterations < 1 or stage.batch < 1 or stage.shrink < 1 or stage.sampling_steps < 0:
            raise ValueError(f"{where}: stage {i}: iterations, batch and shrink must be positive, got {stage}")
    return _build(TrainConfig, values | {"stages": parsed}, where)


def _set(values: Any, keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        values = values[int(key)] if isinstance(values, list) else values.setdefault(key, {})
    if isinstance(values, list):
        values[int(keys[-1])] = value
    else:
        values[keys[-1]] = value
