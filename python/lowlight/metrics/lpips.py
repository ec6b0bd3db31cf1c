"""LPIPS (Zhang et al., CVPR 2018): the distance of two pictures in a network's features, 0 for equal ones.

Version 0.1 of the lpips package, whose linear layers are read where it is installed (extra [lpips]). The package ships
no trunk: torchvision's AlexNet, VGG16 or SqueezeNet must be on the disk, for nothing is downloaded here.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from .lpips_files import LpipsUnavailable, checked_hash, find_heads, find_trunk, read_tensors
from .lpips_trunks import TRUNKS

__all__ = ["RECIPE", "Lpips", "LpipsUnavailable"]

RECIPE = "LPIPS: AlexNet, version 0.1, 8-bit RGB in [-1, 1], lower is better."

_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of a picture in [-1, 1]


class Lpips:
    """LPIPS, ready to compare pictures: a score, and a loss with gradients to both.

    No nn.Module: its weights are fixed, and belong neither to a model's parameters nor into its checkpoints.
    """

    def __init__(
        self, net: str = "alex", weights: str | Path | None = None, device: str | torch.device = "cpu"
    ):  # fmt: skip
        """net: "alex" (scores), "vgg" (the usual loss) or "squeeze".

        weights: a state dict of torchvision's network; None looks for torchvision's own in torch's hub folder.

        Raises ValueError for another net, LpipsUnavailable where something is missing, CheckpointError (a ValueError)
        for a file that is no such network or not the one that the hash in its name promises, FileNotFoundError for
        `weights` that are not there.
        """
        if net not in TRUNKS:
            raise ValueError(f"LPIPS: net must be one of {', '.join(TRUNKS)}, got {net!r}")
        if weights is not None and not Path(weights).is_file():
            raise FileNotFoundError(f"no file {weights}")
        self.net, self.trunk, self.device = net, TRUNKS[net], torch.device(device)
        heads = find_heads(net)
        self.path = find_trunk(self.trunk) if weights is None else Path(weights)
        self.sha256 = checked_hash(self.path)
        tensors = read_tensors(self.path, self.trunk.shapes, f"{self.trunk.title} of torchvision")
        shapes: dict[str, tuple[int, ...]] = {
            f"lin{i}.model.1.weight": (1, count, 1, 1) for i, count in enumerate(self.trunk.channels)
        }
        linear = read_tensors(heads, shapes, "set of linear layers of LPIPS")
        self._weights = {name: tensor.to(self.device) for name, tensor in tensors.items()}
        self._linear = [tensor.to(self.device) for tensor in linear.values()]  # [1, C, 1, 1] of the squared differences

    def __call__(self, result: Tensor, truth: Tensor) -> Tensor:
        """Both [B, 3, H, W] in [0, 1], neither rounded nor clamped here -> [B] float32 on the network's device.

        H and W at least 31 (AlexNet), 16 (VGG16), 17 (SqueezeNet). Gradients to both. Computed in float32, under
        autocast too. Raises ValueError on shapes that differ or do not fit.
        """
        if result.shape != truth.shape:
            raise ValueError(f"LPIPS: pictures must share a shape, got {tuple(result.shape)} and {tuple(truth.shape)}")
        return self.distance(self.features(result), self.features(truth))

    def features(self, picture: Tensor) -> list[Tensor]:
        """[B, 3, H, W] in [0, 1] -> the trunk's maps [B, C, h, w] float32, whose vectors over C have length 1 or 0."""
        least = self.trunk.smallest
        if picture.dim() != 4 or picture.shape[1] != 3 or min(picture.shape[-2:]) < least:
            raise ValueError(
                f"LPIPS: pictures must be [B, 3, H, W] of at least {least} x {least}, got {tuple(picture.shape)}"
            )
        with torch.autocast(self.device.type, enabled=False):
            x = picture.to(self.device, torch.float32) * 2 - 1
            shift, scale = (x.new_tensor(value).view(1, 3, 1, 1) for value in (_SHIFT, _SCALE))
            return [_unit(x) for x in self.trunk.maps((x - shift) / scale, self._weights)]

    def distance(self, ours: list[Tensor], theirs: list[Tensor]) -> Tensor:
        """[B] float32: the weighted squared differences of two `features`, mean over positions, sum over maps."""
        total = ours[0].new_zeros(len(ours[0]))
        with torch.autocast(self.device.type, enabled=False):
            for a, b, w in zip(ours, theirs, self._linear, strict=True):
                total = total + ((a - b).square() * w).sum(dim=1).mean(dim=(1, 2))
        return total


def _unit(x: Tensor) -> Tensor:
    """Vectors over the channels, by their length, whose gradient is 0 where no feature is alive.

    That of a root of a sum is NaN there: ReLU would stop it, torch's anomaly detection would not.
    """
    return x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + 1e-10)
