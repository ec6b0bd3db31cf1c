"""A configuration cut to what a budget allows: every stage and its schedule in proportion."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from .config import Stage, TrainConfig
from .loop import Trainer

_TIMED = 3  # iterations a stage, after a first one that does not count


def within_iterations(config: TrainConfig, iterations: int) -> TrainConfig:
    """The configuration with so many iterations in all; its stages must be counted in iterations already.

    Raises ValueError where that is less than one a stage.
    """
    if iterations < len(config.stages):
        raise ValueError(f"a budget of {iterations} iterations is too small for {len(config.stages)} stages")
    factor = iterations / config.iterations
    stages = [_scaled(stage, factor) for stage in config.stages]
    # rounding is the last stage's
    rest = iterations - sum(stage.length for stage in stages[:-1])
    stages[-1] = replace(stages[-1], iterations=max(1, rest))
    return replace(config, stages=stages)


def within_minutes(config: TrainConfig, minutes: float, make: Callable[[TrainConfig, Path], Trainer]) -> TrainConfig:
    """The configuration with as many iterations as the minutes hold, by timing some iterations of each stage here.

    make(config, folder) -> a trainer, which is thrown away.
    """
    seconds = 0.0
    for stage in config.stages:
        timed = replace(config, stages=[replace(stage, iterations=_TIMED + 1)])
        with tempfile.TemporaryDirectory() as folder:
            trainer = make(timed, Path(folder))
            trainer.train_step()
            started = time.perf_counter()
            for _ in range(_TIMED):
                # the time ends when the losses have reached the CPU
                trainer.train_step()
            seconds += (time.perf_counter() - started) / _TIMED * stage.length
    iterations = max(len(config.stages), round(config.iterations * 60 * minutes / seconds))
    return within_iterations(config, iterations)


def _scaled(stage: Stage, factor: float) -> Stage:
    every = stage.every and max(1, round(stage.every * factor))
    return replace(stage, iterations=max(1, round(stage.length * factor)), every=every)
