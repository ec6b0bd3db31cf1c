"""What NAFNet is made of, in fewer passes over the picture where loops of C++ make them."""

import functools
from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lowlight_ext.inplace import plus
from lowlight_ext.kept import Kept
from lowlight_ext.kernels_compiled.naf import (
    LANES,
    naf_block,
    naf_down,
    naf_up,
    packed_block,
    packed_down,
    packed_up,
)
from lowlight_ext.nn import LayerNorm2d
from lowlight_ext.norm import simple_gate
from lowlight_ext.registry import loops_serve, watched

EPS = 1e-6
_PARTS = (nn.Conv2d, LayerNorm2d)


class GlobalMean(nn.Module):
    """[B, C, H, W] -> [B, C, 1, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3), keepdim=True)


class NAFBlock(nn.Module):
    """[B, C, H, W] -> the same: norm, 1x1, depthwise 3x3, gate, channel attention, 1x1, + input; norm, 1x1, gate, 1x1,
    + that. Chen, Chu, Zhang, Sun, "Simple Baselines for Image Restoration", ECCV 2022, whose parameter names these are.

    Under torch.no_grad(), for channels_last pictures and C a multiple of 16, in float32 on a CPU with AVX2 and in
    bfloat16 on one with AVX512-BF16, it is one call of C++ that reads and writes four maps where PyTorch's modules move
    some thirty: in float32 within 1e-5 of the largest number, the same bits for every number of threads. It keeps the
    weights a second time, and calls no hook of its parts. In all other cases the modules.
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
        self._packed = Kept(functools.partial(_packed, packed_block))

    def forward(self, x: Tensor) -> Tensor:
        if _served(x, self.beta.shape[1], self.beta.dtype):
            weights = self._weights()
            packed = None if weights is None else self._packed(*weights)
            if packed is not None:
                return naf_block(x, packed, EPS)
        h = simple_gate(self.conv2(self.conv1(self.norm1(x))))
        h = h * self.sca(h) if torch.is_grad_enabled() else h.mul_(self.sca(h))
        x = plus(_scaled(self.conv3, h, self.beta), x)
        h = simple_gate(self.conv4(self.norm2(x)))
        return plus(_scaled(self.conv5, h, self.gamma), x)

    def _weights(self) -> list[Tensor] | None:
        """All parameters; none where a part is another one or computes its own. Read past torch's attributes, which
        take long."""
        parts = (self.norm1, self.conv1, self.conv2, self.sca[1], self.conv3, self.norm2, self.conv4, self.conv5)
        if any(type(part) not in _PARTS for part in parts) or self.conv2.padding_mode != "zeros":
            return None
        weights = [self._parameters.get(name) for name in ("beta", "gamma")]
        weights += [part._parameters.get(name) for part in parts for name in ("weight", "bias")]
        given: list[Tensor] = [w for w in weights if w is not None]
        return given if len(given) == len(weights) else None


class NAFDown(nn.Conv2d):
    """[B, C, H, W] -> [B, 2 C, H / 2, W / 2]: nn.Conv2d(C, 2 C, 2, stride=2), by NAFBlock's kind of loop where that one
    serves, and the sides are even."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 2 * channels, 2, stride=2)
        self._packed = Kept(functools.partial(_packed, packed_down))

    def forward(self, x: Tensor) -> Tensor:
        if _served(x, self.in_channels, self.weight.dtype) and not (x.shape[2] % 2 or x.shape[3] % 2):
            packed = None if self.bias is None else self._packed(self.weight, self.bias)
            if packed is not None:
                return naf_down(x, packed)
        return super().forward(x)


class NAFUp(nn.Sequential):
    """[B, C, H, W] -> [B, C / 2, 2 H, 2 W]: nn.Conv2d(C, 2 C, 1, bias=False) and nn.PixelShuffle(2), plus skip; by
    NAFBlock's kind of loop where that one serves and C is a multiple of 32, in one pass."""

    def __init__(self, channels: int) -> None:
        super().__init__(nn.Conv2d(channels, 2 * channels, 1, bias=False), nn.PixelShuffle(2))
        self._packed = Kept(functools.partial(_packed, packed_up))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:  # type: ignore[override]
        conv = cast(nn.Conv2d, self[0])
        weight, channels = conv.weight, conv.in_channels
        served = _served(x, channels, weight.dtype) and _served(skip, channels // 2, weight.dtype)
        if served and skip.shape == (x.shape[0], channels // 2, 2 * x.shape[2], 2 * x.shape[3]):
            packed = self._packed(weight)
            if packed is not None:
                return naf_up(x, skip, packed)
        return plus(super().forward(x), skip)


def _served(x: Tensor, channels: int, dtype: torch.dtype) -> bool:
    """Whether a loop takes this picture, of so many channels and of the weights' type."""
    # first of all: a compiler that traces this function reads no further
    if torch.compiler.is_compiling() or torch.is_grad_enabled():
        return False
    if not loops_serve(dtype) or watched(x):
        return False
    if x.dim() != 4 or not x.is_cpu or x.dtype != dtype or x.numel() == 0:
        return False
    possible = channels % LANES == 0 and channels == x.shape[1]
    return possible and x.is_contiguous(memory_format=torch.channels_last)


def _packed(make: Callable[..., Tensor], *weights: Tensor) -> Tensor | None:
    """What a loop takes of weights, or None where it takes others."""
    if any(not w.is_cpu or w.dtype != weights[0].dtype for w in weights):
        return None
    return None if watched(*weights) else make(*weights)


def _scaled(conv: nn.Conv2d, x: Tensor, scale: Tensor) -> Tensor:
    """conv1x1(x) scale, scale [1, C, 1, 1]: in the weights, which spares a pass over the map."""
    # weights that a hook makes are there once it was called
    if conv.bias is None or conv._forward_pre_hooks or conv._forward_hooks:
        return conv(x) * scale
    return F.conv2d(x, conv.weight * scale.view(-1, 1, 1, 1), conv.bias * scale.flatten())
