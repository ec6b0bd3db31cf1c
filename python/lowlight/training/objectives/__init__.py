"""What a training minimises, by the system's name."""

from .anlightendiff import AnchoredObjective
from .base import Objective
from .diffll import DiffLLObjective
from .exposurediffusion import ExposureObjective
from .wavelet_anchored import WaveletAnchoredObjective

OBJECTIVES: dict[str, type[Objective]] = {
    "diffll": DiffLLObjective,
    "anlightendiff": AnchoredObjective,
    "exposurediffusion": ExposureObjective,
    "wavelet_anchored": WaveletAnchoredObjective,
}
