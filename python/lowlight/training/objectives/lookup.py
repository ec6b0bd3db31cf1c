"""What trains a system, by its name, and a configuration checked with it."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

from ...systems.registry import SYSTEMS
from ..config import TrainConfig, require
from .base import Objective, term_weights


def objective_of(system: str) -> type[Objective]:
    """The objective that the system's row names. Raises ValueError where no system has the name."""
    require(isinstance(system, str) and system in SYSTEMS, "system", f"be one of {', '.join(SYSTEMS)}", repr(system))
    # a row names its objective, for systems lie below trainings
    file, name = SYSTEMS[system].objective.split(".")
    return getattr(import_module(f".{file}", __package__), name)


def checked(config: TrainConfig) -> TrainConfig:
    """The configuration with a weight for each term. Raises ValueError where it does not go with its system."""
    objective = objective_of(config.system)
    config = replace(config, weights=term_weights(config.weights, objective))
    objective.check(config)
    return config
