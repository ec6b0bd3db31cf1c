"""Systems as folders in the form of the hub: weights, config.json, a model card; repositories by the `[hub]` extra."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .checkpoints import WEIGHTS_NAME, load, save_weights
from .files.atomic import write_atomically
from .systems.base import System

CONFIG_NAME, CARD_NAME = "config.json", "README.md"


def from_pretrained(folder_or_repository: str | Path, *, revision: str | None = None, **options: Any) -> System:
    """A system, ready to enhance, of a folder that save_pretrained wrote or of a repository of the hub.

    folder_or_repository: a folder that exists, else "OWNER/NAME". revision: of the repository, a branch, tag or commit.
    options: what lowlight.load takes (device, dtype).
    Raises FileNotFoundError where the folder holds no weights, ImportError that names the extra, what load raises, and
    what huggingface_hub raises for a repository that is not there.
    """
    folder = Path(folder_or_repository)
    if not folder.is_dir():
        wanted = [WEIGHTS_NAME, CONFIG_NAME, CARD_NAME]
        folder = Path(_hub().snapshot_download(str(folder_or_repository), revision=revision, allow_patterns=wanted))
    weights = folder / WEIGHTS_NAME
    if not weights.is_file():
        raise FileNotFoundError(f"from_pretrained: {folder_or_repository} holds no {WEIGHTS_NAME}")
    return load(weights, **options)


def save_pretrained(system: System, folder: str | Path, *, card: str | None = None) -> None:
    """Writes model.safetensors (in the weights' own type), config.json and README.md into a folder, made if needed.

    card: the model card's text, a head in YAML before it; without it one that says the system and that terms are not
    stated. Raises OSError if the disk refuses.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    about = {"system": system.name, "config": asdict(system.config)}
    split = {} if system.trained_on is None else {"split": system.trained_on}
    save_weights(folder / WEIGHTS_NAME, system.state_dict(), about | split, dtype=system.dtype)
    write_atomically(folder / CONFIG_NAME, json.dumps(about, indent=2, default=str).encode() + b"\n")
    write_atomically(folder / CARD_NAME, (card or _card(system)).encode())


def push_to_hub(system: System, repository: str, *, card: str | None = None, private: bool = True) -> str:
    """save_pretrained into a repository "OWNER/NAME" of the hub, made if needed; returns the commit's address."""
    hub = _hub()
    hub.create_repo(repository, private=private, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(system, folder, card=card)
        return str(hub.upload_folder(repo_id=repository, folder_path=folder, commit_message=f"{system.name} weights"))


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise ImportError("repositories of the hub need huggingface_hub: pip install 'lowlight-ext[hub]'") from None
    return huggingface_hub


def _card(system: System) -> str:
    tags = f"[low-light-image-enhancement, diffusion, {system.name}]"
    head = f"library_name: lowlight-ext\npipeline_tag: image-to-image\nlicense: unknown\ntags: {tags}"
    trained = f"Training split: {system.trained_on}\n\n" if system.trained_on else ""
    use = '```python\nfrom lowlight.hub import from_pretrained\n\nsystem = from_pretrained(".")\n```\n'
    return f"---\n{head}\n---\n\n# {system.name}\n\nWeights for lowlight_ext.\n\n{trained}{use}"
