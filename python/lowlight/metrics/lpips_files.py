"""The files of LPIPS: torchvision's trunks on this disk, fetched on request, and the lpips package's linear layers."""

from __future__ import annotations

import hashlib
import re
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from ..files.tensors import CheckpointError, read_checkpoint, short_list
from .lpips_trunks import TRUNKS, Shapes, Trunk


class LpipsUnavailable(RuntimeError):
    """A file or package that LPIPS needs is missing; the message is one sentence with what to do."""


def find_heads(net: str) -> Path:
    """The linear layers in the lpips package; it is located, not imported (it would import torchvision)."""
    spec = find_spec("lpips")
    if spec is None or not spec.submodule_search_locations:
        raise LpipsUnavailable("the lpips package is not installed: pip install 'lowlight-ext[lpips]'")
    path = Path(spec.submodule_search_locations[0]) / "weights" / "v0.1" / f"{net}.pth"
    if not path.is_file():
        raise LpipsUnavailable(f"the lpips package has no {path}: pip install --force-reinstall lpips")
    return path


def find_trunk(trunk: Trunk) -> Path:
    """The file where torchvision keeps what it downloads."""
    path = _place(trunk)
    if not path.is_file():
        net = next(name for name, other in TRUNKS.items() if other.entry == trunk.entry)
        raise LpipsUnavailable(
            f"no {trunk.title} weights on this disk: `lowlight lpips {net}` fetches them; or put torchvision's "
            f"{trunk.file} into {path.parent}, or give its path (lowlight evaluate: --lpips-weights FILE)"
        )
    return path


def fetch_trunk(trunk: Trunk) -> None:
    """Download the trunk's weights from where torchvision has them, unless they are there; whole or not at all.

    Raises LpipsUnavailable, in one sentence, without torchvision and where the network or the file is not right.
    """
    path = _place(trunk)
    if path.is_file():
        return
    try:
        models = import_module("torchvision").models
    # beside another build of torch it raises RuntimeError
    except (ImportError, RuntimeError) as error:
        raise LpipsUnavailable(f"torchvision does not import ({error}): pip install 'lowlight-ext[lpips]'") from None
    url = getattr(models, trunk.entry).IMAGENET1K_V1.url
    path.parent.mkdir(parents=True, exist_ok=True)
    promised = re.search(r"-([0-9a-f]{8,64})\.pth$", trunk.file)
    try:
        torch.hub.download_url_to_file(url, str(path), promised[1] if promised else None, progress=sys.stderr.isatty())
    # RuntimeError: another file than promised; OSError: no network
    except (OSError, RuntimeError) as error:
        raise LpipsUnavailable(
            f"{url} was not fetched ({error}): on a machine with a network put it at {path}"
        ) from None


def _place(trunk: Trunk) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / trunk.file


def checked_hash(path: Path) -> str:
    """SHA-256 of the file in hexadecimal; where its name ends in eight digits of one, as torchvision's do, they fit."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    found, promised = digest.hexdigest(), re.search(r"-([0-9a-f]{8,64})\.pth$", path.name)
    if promised and not found.startswith(promised[1]):
        raise CheckpointError(
            f"{path} is damaged or another file: its name promises a SHA-256 from {promised[1]}, it has {found[:8]}"
        )
    return found


def read_tensors(path: Path, shapes: Shapes, kind: str) -> dict[str, Tensor]:
    """float32 tensors of these names and shapes, others are left out. kind: what the file should be, for errors.

    Raises CheckpointError where one is missing, has another shape or is not finite.
    """
    state, tensors = read_checkpoint(path)[0], {}
    for name, shape in shapes.items():
        if name not in state:
            raise CheckpointError(f"{path} is no {kind}: no {name}; it holds {short_list(state)}")
        if tuple(state[name].shape) != shape:
            raise CheckpointError(f"{path} is no {kind}: {name} has shape {tuple(state[name].shape)}")
        tensors[name] = state[name].float()
        if not tensors[name].isfinite().all():
            raise CheckpointError(f"{path}: {name} is not finite")
    return tensors
