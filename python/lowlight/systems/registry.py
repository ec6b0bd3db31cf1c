"""One row a system: how files of it are recognised, read, configured and built, and what trains it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from .anlightendiff.checkpoint import anlightendiff_weights, detect_anlightendiff, looks_like_anlightendiff
from .anlightendiff.network import SWITCHES, AnlightenDiffConfig
from .anlightendiff.system import AnlightenDiff
from .base import System
from .diffll.checkpoint import detect_diffll, looks_like_diffll
from .diffll.network import DiffLLConfig
from .diffll.system import DiffLL
from .exposurediffusion.checkpoint import detect_exposure, exposure_options, exposure_weights, looks_like_exposure
from .exposurediffusion.network import ExposureDiffusionConfig
from .exposurediffusion.system import ExposureDiffusion
from .wavelet_anchored.checkpoint import detect_wavelet_anchored, looks_like_wavelet_anchored
from .wavelet_anchored.network import WaveletAnchoredConfig
from .wavelet_anchored.system import WaveletAnchored

State = Mapping[str, Tensor]


def _as_they_are(state: State) -> tuple[State, dict[str, Any], list[str]]:
    return state, {}, []


class Row(NamedTuple):
    """All that the rest of the package must know of one system beside what every system can do."""

    title: str  # in messages: "a DiffLL"
    system: type[System]  # built from a `config`; its `name` is the row's in files and configurations
    config: type  # a frozen dataclass with `steps`, which raises TypeError and ValueError where it makes no system
    objective: str  # what trains it: FILE.CLASS in training/objectives
    # whether a file without this project's metadata holds one, by its tensors' names
    recognise: Callable[[State], bool]
    # fields of `config` that the names and shapes of its weights tell; raises KeyError on a missing name
    detect: Callable[[State], dict[str, Any]]
    # its weights among a file's tensors, fields of `config` they tell, names of the tensors that are ignored
    prepare: Callable[[State], tuple[State, dict[str, Any], list[str]]] = _as_they_are
    # names of what `load` may be told beside a file, and the fields of `config` with it
    options: tuple[str, ...] = ()
    complete: Callable[..., dict[str, Any]] = dict


_ROWS = (
    Row(
        title="a DiffLL",
        system=DiffLL,
        config=DiffLLConfig,
        objective="diffll.DiffLLObjective",
        recognise=looks_like_diffll,
        detect=detect_diffll,
    ),
    Row(
        title="an AnlightenDiff",
        system=AnlightenDiff,
        config=AnlightenDiffConfig,
        objective="anlightendiff.AnchoredObjective",
        recognise=looks_like_anlightendiff,
        detect=detect_anlightendiff,
        prepare=anlightendiff_weights,
        options=SWITCHES,
    ),
    Row(
        title="an ExposureDiffusion",
        system=ExposureDiffusion,
        config=ExposureDiffusionConfig,
        objective="exposurediffusion.ExposureObjective",
        recognise=looks_like_exposure,
        detect=detect_exposure,
        prepare=exposure_weights,
        options=("resid", "with_photon", "camera"),
        complete=exposure_options,
    ),
    Row(
        title="a WaveletAnchored",
        system=WaveletAnchored,
        config=WaveletAnchoredConfig,
        objective="wavelet_anchored.WaveletAnchoredObjective",
        recognise=looks_like_wavelet_anchored,
        detect=detect_wavelet_anchored,
    ),
)
# by name; a file is the first one's that recognises it
SYSTEMS = {row.system.name: row for row in _ROWS}


def recognised(state: State) -> str | None:
    """The name of the system whose weights these are; None for another network's."""
    return next((name for name, row in SYSTEMS.items() if row.recognise(state)), None)
