"""LPIPS (Zhang et al., CVPR 2018): the distance of two pictures in AlexNet's features, 0 for equal ones.

Version 0.1 of the lpips package, whose linear layers are read where it is installed (extra [lpips]). The package ships
no trunk: torchvision's AlexNet must be on the disk, for nothing is downloaded here.
"""

from __future__ import annotations

import hashlib
import re
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from .checkpoint_files import CheckpointError, read_checkpoint, short_list

TRUNK = "alexnet-owt-7be5be79.pth"  # the name torchvision downloads it under

RECIPE = "LPIPS: AlexNet, version 0.1, 8-bit RGB in [-1, 1], lower is better."

# of torchvision's AlexNet: (number in `features`, channels in and out, kernel, stride, padding, max-pooled before)
_CONVOLUTIONS = (
    (0, 3, 64, 11, 4, 2, False),
    (3, 64, 192, 5, 1, 2, True),
    (6, 192, 384, 3, 1, 1, True),
    (8, 384, 256, 3, 1, 1, False),
    (10, 256, 256, 3, 1, 1, False),
)
_SMALLEST = 31  # pixels a side that leave one position after the second pooling
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of a picture in [-1, 1]


class LpipsUnavailable(RuntimeError):
    """A file or package that LPIPS needs is missing; the message is one sentence with what to do."""


class Lpips:
    """LPIPS with AlexNet, ready to compare pictures."""

    def __init__(self, weights: str | Path | None = None, device: str | torch.device = "cpu"):
        """weights: a state dict of torchvision's AlexNet; None looks for torchvision's own in torch's hub folder.

        Raises LpipsUnavailable where something is missing, CheckpointError (a ValueError) for a file that is no AlexNet
        or not the one that the hash in its name promises, FileNotFoundError for `weights` that are not there.
        """
        if weights is not None and not Path(weights).is_file():
            raise FileNotFoundError(f"no file {weights}")
        heads = _heads_file()
        self.path = _find_trunk() if weights is None else Path(weights)
        self.sha256 = _checked_hash(self.path)
        trunk, linear = read_checkpoint(self.path)[0], read_checkpoint(heads)[0]
        self.layers = []  # weight [O, I, k, k], bias [O], w [O] of the squared differences
        for i, (number, inputs, outputs, kernel, *_) in enumerate(_CONVOLUTIONS):
            name = f"features.{number}"
            weight = _tensor(self.path, trunk, f"{name}.weight", (outputs, inputs, kernel, kernel))
            bias = _tensor(self.path, trunk, f"{name}.bias", (outputs,))
            w = _tensor(heads, linear, f"lin{i}.model.1.weight", (1, outputs, 1, 1)).flatten()
            self.layers.append(tuple(x.to(device) for x in (weight, bias, w)))
        self.device = torch.device(device)

    def __call__(self, result: Tensor, truth: Tensor) -> Tensor:
        """Both [B, 3, H, W] in [0, 1], H and W at least 31, not rounded here -> [B] float64 on the CPU."""
        return self.distance(self.features(result), self.features(truth))

    def features(self, picture: Tensor) -> list[Tensor]:
        """[B, 3, H, W] in [0, 1] -> five maps [B, C, h, w] whose vectors over C have length 1."""
        if picture.dim() != 4 or picture.shape[1] != 3 or min(picture.shape[-2:]) < _SMALLEST:
            raise ValueError(f"LPIPS: pictures must be [B, 3, H, W] of at least 31 x 31, got {tuple(picture.shape)}")
        x = picture.to(self.device, torch.float32) * 2 - 1
        shift, scale = (x.new_tensor(value).view(1, 3, 1, 1) for value in (_SHIFT, _SCALE))
        x, maps = (x - shift) / scale, []
        for (*_, stride, padding, pooled), (weight, bias, _) in zip(_CONVOLUTIONS, self.layers, strict=True):
            if pooled:
                x = F.max_pool2d(x, 3, 2)
            x = F.conv2d(x, weight, bias, stride, padding).relu()
            maps.append(x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10))
        return maps

    def distance(self, ours: list[Tensor], theirs: list[Tensor]) -> Tensor:
        """[B] float64: the weighted squared differences of two `features`, mean over positions, sum over maps."""
        total = 0
        for a, b, (_, _, w) in zip(ours, theirs, self.layers, strict=True):
            total = total + ((a - b).square() * w.view(1, -1, 1, 1)).sum(dim=1).mean(dim=(1, 2))
        return total.double().cpu()


def _heads_file() -> Path:
    """The linear layers in the lpips package; it is located, not imported (it would import torchvision)."""
    spec = find_spec("lpips")
    if spec is None or not spec.submodule_search_locations:
        raise LpipsUnavailable("the lpips package is not installed: pip install 'lowlight-ext[lpips]'")
    path = Path(spec.submodule_search_locations[0]) / "weights" / "v0.1" / "alex.pth"
    if not path.is_file():
        raise LpipsUnavailable(f"the lpips package has no {path}: pip install --force-reinstall lpips")
    return path


def _find_trunk() -> Path:
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / TRUNK
    if not path.is_file():
        raise LpipsUnavailable(
            f"no AlexNet weights on this disk: put torchvision's {TRUNK} into {folder}, or give --lpips-weights FILE"
        )
    return path


def _checked_hash(path: Path) -> str:
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


def _tensor(path: Path, state: dict[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    if name not in state:
        raise CheckpointError(f"{path} is no AlexNet of torchvision: no {name}; it holds {short_list(state)}")
    if tuple(state[name].shape) != shape:
        raise CheckpointError(f"{path} is no AlexNet of torchvision: {name} has shape {tuple(state[name].shape)}")
    tensor = state[name].float()
    if not tensor.isfinite().all():
        raise CheckpointError(f"{path}: {name} is not finite")
    return tensor
