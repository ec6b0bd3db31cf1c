"""The trunks that LPIPS looks through: torchvision's AlexNet, VGG16 and SqueezeNet 1.1, as lists of layers.

Written as data because their classifiers are not needed, torchvision neither, and the maps lie in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = Mapping[str, Tensor]
Shapes = dict[str, tuple[int, ...]]


class Conv(NamedTuple):
    """A convolution and ReLU; its tensors are NAME.weight and NAME.bias."""

    name: str
    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    padding: int = 0

    @property
    def shapes(self) -> Shapes:
        weight = (self.outputs, self.inputs, self.kernel, self.kernel)
        return {f"{self.name}.weight": weight, f"{self.name}.bias": (self.outputs,)}

    def __call__(self, x: Tensor, weights: Weights) -> Tensor:
        weight, bias = weights[f"{self.name}.weight"], weights[f"{self.name}.bias"]
        return F.conv2d(x, weight, bias, self.stride, self.padding).relu()


class Fire(NamedTuple):
    """SqueezeNet's module: 1 x 1 to few channels, then 1 x 1 and 3 x 3 beside each other."""

    name: str
    inputs: int
    squeezed: int
    outputs: int

    @property
    def convolutions(self) -> tuple[Conv, Conv, Conv]:
        half = self.outputs // 2
        return (
            Conv(f"{self.name}.squeeze", self.inputs, self.squeezed, 1),
            Conv(f"{self.name}.expand1x1", self.squeezed, half, 1),
            Conv(f"{self.name}.expand3x3", self.squeezed, half, 3, padding=1),
        )

    @property
    def shapes(self) -> Shapes:
        return {name: shape for each in self.convolutions for name, shape in each.shapes.items()}

    def __call__(self, x: Tensor, weights: Weights) -> Tensor:
        squeeze, *expand = self.convolutions
        x = squeeze(x, weights)
        return torch.cat([each(x, weights) for each in expand], dim=1)


class Pool(NamedTuple):
    """Maxima of kernel x kernel, two apart; a last window may hang over the edge where `ceil`."""

    kernel: int
    ceil: bool = False

    @property
    def shapes(self) -> Shapes:
        return {}

    def __call__(self, x: Tensor, weights: Weights) -> Tensor:
        return F.max_pool2d(x, self.kernel, 2, ceil_mode=self.ceil)


@dataclass(frozen=True)
class Trunk:
    """stages: layers up to each map that LPIPS compares. file: torchvision's name, entry: that of its weights there.
    smallest: pixels a side it takes."""

    title: str
    file: str
    entry: str
    smallest: int
    stages: tuple[tuple[Conv | Fire | Pool, ...], ...]

    @property
    def channels(self) -> tuple[int, ...]:
        """Of every map."""
        return tuple(layer.outputs for *_, layer in self.stages if not isinstance(layer, Pool))

    @property
    def shapes(self) -> Shapes:
        """Of the tensors that the file must hold."""
        return {name: shape for stage in self.stages for layer in stage for name, shape in layer.shapes.items()}

    def maps(self, x: Tensor, weights: Weights) -> Iterator[Tensor]:
        """x: [B, 3, H, W] normalised -> the maps [B, C, h, w], none negative, one after the other."""
        for stage in self.stages:
            for layer in stage:
                x = layer(x, weights)
            yield x


def _vgg_block(first: int, inputs: int, outputs: int, count: int) -> tuple[Conv | Pool, ...]:
    """Convolutions at `first`, `first` + 2, ... in `features`, after a pooling except for the first block."""
    widths = (inputs, *[outputs] * count)
    convolutions = tuple(
        Conv(f"features.{first + 2 * i}", widths[i], outputs, 3, padding=1) for i in range(count)
    )  # fmt: skip
    return convolutions if first == 0 else (Pool(2), *convolutions)


TRUNKS = {
    "alex": Trunk("AlexNet", "alexnet-owt-7be5be79.pth", "AlexNet_Weights", 31, (
        (Conv("features.0", 3, 64, 11, stride=4, padding=2),),
        (Pool(3), Conv("features.3", 64, 192, 5, padding=2)),
        (Pool(3), Conv("features.6", 192, 384, 3, padding=1)),
        (Conv("features.8", 384, 256, 3, padding=1),),
        (Conv("features.10", 256, 256, 3, padding=1),),
    )),
    "vgg": Trunk("VGG16", "vgg16-397923af.pth", "VGG16_Weights", 16, (
        _vgg_block(0, 3, 64, 2),
        _vgg_block(5, 64, 128, 2),
        _vgg_block(10, 128, 256, 3),
        _vgg_block(17, 256, 512, 3),
        _vgg_block(24, 512, 512, 3),
    )),
    "squeeze": Trunk("SqueezeNet 1.1", "squeezenet1_1-b8a52dc0.pth", "SqueezeNet1_1_Weights", 17, (
        (Conv("features.0", 3, 64, 3, stride=2),),
        (Pool(3, ceil=True), Fire("features.3", 64, 16, 128), Fire("features.4", 128, 16, 128)),
        (Pool(3, ceil=True), Fire("features.6", 128, 32, 256), Fire("features.7", 256, 32, 256)),
        (Pool(3, ceil=True), Fire("features.9", 256, 48, 384)),
        (Fire("features.10", 384, 48, 384),),
        (Fire("features.11", 384, 64, 512),),
        (Fire("features.12", 512, 64, 512),),
    )),
}  # fmt: skip
