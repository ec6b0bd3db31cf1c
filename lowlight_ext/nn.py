"""The operators as modules, with torch.nn's names for arguments and parameters: `import lowlight_ext.nn`.

Each computes what the function of its operator says there; state dicts are those of the torch.nn module in its place.
"""

import torch
from torch import Tensor, nn

from lowlight_ext.haar import haar_dwt2d, haar_idwt2d
from lowlight_ext.norm import group_norm_silu, layer_norm2d, mish_instance_norm, simple_gate


class HaarDWT2d(nn.Module):
    """[B, C, H, W], even sides -> [4, B, C, H/2, W/2]: LL, HL, LH, HH; haar_dwt2d. normalise: of 2x - 1."""

    def __init__(self, normalise: bool = False) -> None:
        super().__init__()
        self.normalise = normalise

    def forward(self, x: Tensor) -> Tensor:
        return haar_dwt2d(x, normalise=self.normalise)

    def extra_repr(self) -> str:
        return f"normalise={self.normalise}"


class HaarIDWT2d(nn.Module):
    """[4, B, C, h, w] -> [B, C, 2h, 2w]; haar_idwt2d. denormalise: clamp((y + 1) / 2, 0, 1)."""

    def __init__(self, denormalise: bool = False) -> None:
        super().__init__()
        self.denormalise = denormalise

    def forward(self, bands: Tensor) -> Tensor:
        return haar_idwt2d(bands, denormalise=self.denormalise)

    def extra_repr(self) -> str:
        return f"denormalise={self.denormalise}"


class GroupNormSiLU(nn.GroupNorm):
    """nn.GroupNorm(num_groups, num_channels, eps, affine), then SiLU; group_norm_silu."""

    def forward(self, x: Tensor) -> Tensor:
        return group_norm_silu(x, self.num_groups, self.weight, self.bias, self.eps)


class MishInstanceNorm2d(nn.Module):
    """Mish, then nn.InstanceNorm2d without parameters; mish_instance_norm."""

    def __init__(self, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return mish_instance_norm(x, self.eps)

    def extra_repr(self) -> str:
        return f"eps={self.eps}"


class LayerNorm2d(nn.Module):
    """Layer norm over the channels of each pixel, weight and bias [num_channels]; layer_norm2d."""

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, num_channels: int, eps: float = 1e-6, affine: bool = True) -> None:
        super().__init__()
        self.num_channels, self.eps = num_channels, eps
        self.register_parameter("weight", nn.Parameter(torch.ones(num_channels)) if affine else None)
        self.register_parameter("bias", nn.Parameter(torch.zeros(num_channels)) if affine else None)

    def forward(self, x: Tensor) -> Tensor:
        return layer_norm2d(x, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_channels}, eps={self.eps}, affine={self.weight is not None}"


class SimpleGate(nn.Module):
    """[B, 2 C, ...] -> [B, C, ...]: the first half of the channels times the second; simple_gate."""

    def forward(self, x: Tensor) -> Tensor:
        return simple_gate(x)
