"""What a training minimises, by the system's name."""

from .anlightendiff import AnchoredObjective
from .base import Objective
from .diffll import DiffLLObjective
from .exposurediffusion import ExposureObjective

OBJECTIVES: dict[str, type[Objective]] = {
    "diffll": DiffLLObjective,
    "anlightendiff": AnchoredObjective,
    "exposurediffusion": ExposureObjective,
}
