"""Where graphs and measurements are kept, and under which name: another weight, version or source is another one."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import torch
from platformdirs import user_cache_path

from ..systems.base import System

_SOURCES = Path(__file__).parent.parent / "systems"


def engine_folder() -> Path:
    """The user's cache; the environment variable LOWLIGHT_CACHE names another place. Not made here."""
    named = os.environ.get("LOWLIGHT_CACHE")
    return (Path(named).expanduser() if named else user_cache_path("lowlight")) / "engines"


def key_of(system: System) -> str:
    """Of its weights and configuration, and of this package's sources of systems."""
    hashed = hashlib.sha256(f"{_sources()} {system.name} {system.config}".encode())
    for name, tensor in sorted(system.state_dict().items()):
        hashed.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        hashed.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return hashed.hexdigest()[:32]


def version_of(distribution: str) -> str:
    """Of an installed distribution, empty where there is none."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


@lru_cache(maxsize=1)
def _sources() -> str:
    hashed = hashlib.sha256()
    for path in sorted(_SOURCES.rglob("*.py")):
        hashed.update(path.read_bytes())
    return hashed.hexdigest()
