"""The block that NAFNet is made of, in two passes over the picture where a loop of C++ makes them."""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lowlight_ext.backends import forced
from lowlight_ext.convolution import _watched
from lowlight_ext.kept import Kept
from lowlight_ext.kernels_compiled import build_info
from lowlight_ext.kernels_compiled.naf import LANES, NUMBER, naf_block, naf_weights
from lowlight_ext.nn import LayerNorm2d
from lowlight_ext.norm import simple_gate
from lowlight_ext.registry import DISPATCHED, way

EPS = 1e-6


class GlobalMean(nn.Module):
    """[B, C, H, W] -> [B, C, 1, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3), keepdim=True)


class NAFBlock(nn.Module):
    """[B, C, H, W] -> the same: norm, 1x1, depthwise 3x3, gate, channel attention, 1x1, + input; norm, 1x1, gate, 1x1,
    + that. Chen, Chu, Zhang, Sun, "Simple Baselines for Image Restoration", ECCV 2022, whose parameter names these are.

    Under torch.no_grad(), for float32 channels_last pictures on a CPU and C a multiple of 16, it is one call of C++
    that reads and writes five maps where PyTorch's modules move some thirty: within 1e-5 of the largest number, the
    same bits for every number of threads. It keeps the weights a second time. In all other cases the modules.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = LayerNorm2d(channels, EPS)
        self.conv1 = nn.Conv2d(channels, 2 * channels, 1)
        self.conv2 = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.sca = nn.Sequential(GlobalMean(), nn.Conv2d(channels, channels, 1))
        self.conv3 = nn.Conv2d(channels, channels, 1)
        self.norm2 = LayerNorm2d(channels, EPS)
        self.conv4 = nn.Conv2d(channels, 2 * channels, 1)
        self.conv5 = nn.Conv2d(channels, channels, 1)
        # zero, so that a new block does nothing
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self._packed = Kept(_packed)

    def forward(self, x: Tensor) -> Tensor:
        # first of all: a compiler that traces this function reads no further
        if not (torch.compiler.is_compiling() or torch.is_grad_enabled()) and self._fits(x):
            packed = self._packed(*self._weights())
            if packed is not None:
                return naf_block(x, packed, EPS)
        h = simple_gate(self.conv2(self.conv1(self.norm1(x))))
        h = h * self.sca(h) if torch.is_grad_enabled() else h.mul_(self.sca(h))
        x = _plus(_scaled(self.conv3, h, self.beta), x)
        h = simple_gate(self.conv4(self.norm2(x)))
        return _plus(_scaled(self.conv5, h, self.gamma), x)

    def _weights(self) -> list[Tensor]:
        """All parameters; fewer where a part computes its own. Read past torch's attributes, which take long."""
        first = (self.norm1, self.conv1, self.conv2, self.sca[1], self.conv3)
        second = (self.norm2, self.conv4, self.conv5)
        parts = [self, *first, *second]
        return [p for part in parts for p in part._parameters.values() if p is not None]

    def _fits(self, x: Tensor) -> bool:
        """Whether the loop can take the picture."""
        if forced() not in ("auto", "cpp") or not _taken(x.dtype) or _watched(x):
            return False
        if x.dim() != 4 or not x.is_cpu or x.dtype != self.beta.dtype or x.numel() == 0:
            return False
        channels = x.shape[1]
        possible = channels % LANES == 0 and channels == self.conv1.in_channels
        return possible and x.is_contiguous(memory_format=torch.channels_last)


def _packed(*weights: Tensor) -> Tensor | None:
    """What the loop takes of them, or None where it takes others."""
    # those that are not kept (Kept) would be packed in every call
    if any(not w.is_cpu or w.dtype != weights[0].dtype or w.is_inference() for w in weights):
        return None
    return naf_weights(*weights) if len(weights) == NUMBER and way(weights)[0] != DISPATCHED else None


def _plus(x: Tensor, y: Tensor) -> Tensor:
    """x + y, in the memory of x where no gradient is wanted."""
    return x + y if torch.is_grad_enabled() else x.add_(y)


def _scaled(conv: nn.Conv2d, x: Tensor, scale: Tensor) -> Tensor:
    """conv1x1(x) scale, scale [1, C, 1, 1]: in the weights, which spares a pass over the map."""
    assert conv.bias is not None
    return F.conv2d(x, conv.weight * scale.view(-1, 1, 1, 1), conv.bias * scale.flatten())


@functools.cache
def _taken(dtype: torch.dtype) -> bool:
    if dtype == torch.float32:
        return build_info().get("cpu_level") in ("avx2", "avx512")
    return dtype == torch.bfloat16 and build_info().get("cpu_bfloat16", False)
