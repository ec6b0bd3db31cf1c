"""What the shell completes where a command takes a model or a configuration; without torch."""

from __future__ import annotations

from pathlib import Path

from ..shipped import WEIGHTS

# where training.config_files has them; importing that would import torch
_CONFIGS = Path(__file__).parents[1] / "training" / "configs"
_STUDIES = Path(__file__).parents[1] / "study" / "configs"


def models(incomplete: str) -> list[str]:
    """Shipped names, and checkpoint files."""
    shipped = ["default", *sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))]
    return [name for name in shipped if name.startswith(incomplete)] + _files(incomplete, ".safetensors", ".pt", ".pth")


def configs(incomplete: str) -> list[str]:
    """Shipped configurations, and files of one's own."""
    return _named(_CONFIGS, incomplete)


def studies(incomplete: str) -> list[str]:
    """The same of studies."""
    return _named(_STUDIES, incomplete)


def _named(folder: Path, incomplete: str) -> list[str]:
    shipped = sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))
    return [name for name in shipped if name.startswith(incomplete)] + _files(incomplete, ".yaml")


def _files(incomplete: str, *suffixes: str) -> list[str]:
    return sorted(str(path) for path in Path().glob(f"{incomplete}*") if path.suffix in suffixes or path.is_dir())
