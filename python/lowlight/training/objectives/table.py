"""What a training minimises, by the system's name."""

from __future__ import annotations

from dataclasses import replace

from ..config import TrainConfig, require
from .anlightendiff import AnchoredObjective
from .base import Objective, term_weights
from .diffll import DiffLLObjective
from .exposurediffusion import ExposureObjective

OBJECTIVES: dict[str, type[Objective]] = {
    "diffll": DiffLLObjective,
    "anlightendiff": AnchoredObjective,
    "exposurediffusion": ExposureObjective,
}


def objective_of(system: str) -> type[Objective]:
    """What the system brings to its training. Raises ValueError where it is none of OBJECTIVES."""
    require(system in OBJECTIVES, "system", f"be one of {', '.join(OBJECTIVES)}", repr(system))
    return OBJECTIVES[system]


def checked(config: TrainConfig) -> TrainConfig:
    """The configuration with a weight for each term. Raises ValueError where it does not go with its system."""
    objective = objective_of(config.system)
    config = replace(config, weights=term_weights(config.weights, objective))
    objective.check(config)
    return config
