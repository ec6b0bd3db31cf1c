"""Winograd's F(4 x 4, 3 x 3) for Conv3x3: the weights' transform, and which calls the loop of C++ takes."""

import functools
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lowlight_ext.kernels_compiled import build_info
from lowlight_ext.kernels_compiled.convolution import PANEL, winograd
from lowlight_ext.registry import loops_serve, watched

# one vector: what the loop takes of the channels at a time
_LANES = 16
# below so many tiles of 4 x 4 of a picture the weights' way through the memory takes longer than the products
_LEAST = {torch.float32: 4, torch.bfloat16: 1}
# two registers' columns of a product, at other levels 8
_PACKS = {"avx512": 32, "avx2": 16}
# p and q of the points 0, p, -p, q, -q and infinity; csrc/core/winograd.h says why, and has the other two matrices
_BALANCED, _TWICE = (0.5**0.5, 2**0.5), (1.0, 13 / 8)


class Around(NamedTuple):
    """What goes before a convolution and after it: the arguments of Conv3x3.forward."""

    beside: Tensor | None = None
    twice: bool = False
    scale: Tensor | None = None
    shift: Tensor | None = None
    plus: Tensor | None = None
    slope: float | None = None

    @property
    def vectors(self) -> list[Tensor]:
        return [each for each in (self.scale, self.shift) if each is not None]


def convolved(conv: nn.Conv2d, x: Tensor, weight: Tensor, around: Around) -> Tensor:
    """The call of a Conv3x3 by the loop, for which it `serves`; weight: transformed."""
    assert conv.bias is not None
    (beside, twice, scale, shift, plus, slope), bias, batch = around, conv.bias, x.shape[0]
    bias = bias.float()
    if shift is not None:
        bias = shift + bias if scale is None else torch.addcmul(shift.float(), scale, bias)
        bias = bias.expand(batch, -1).contiguous()
    if scale is not None:
        scale = scale.float().expand(batch, -1).contiguous()
    if plus is not None:
        plus = plus.contiguous(memory_format=torch.channels_last)
    reflect, slope = conv.padding_mode == "reflect", 1.0 if slope is None else slope
    return winograd(x, weight, bias, reflect, conv.dilation[0],
                    beside=beside, twice=twice, scale=scale, plus=plus, slope=slope)  # fmt: skip


def serves(conv: nn.Conv2d, x: Tensor, around: Around) -> bool:
    """Whether the loop can take the call of a Conv3x3 under torch.no_grad(), and is the faster one."""
    if not loops_serve(x.dtype) or conv.bias is None:
        return False
    inputs = [x] if around.beside is None else [x, around.beside]
    tensors = [*inputs, conv.weight, conv.bias, *around.vectors, *([] if around.plus is None else [around.plus])]
    if watched(*tensors):
        return False
    if not all(each.is_cpu and each.dtype == x.dtype for each in tensors):
        return False
    # two channels a product
    if x.dtype == torch.bfloat16 and conv.in_channels % 2:
        return False
    if not all(_lies_well(each, x) for each in inputs) or sum(each.shape[1] for each in inputs) != conv.in_channels:
        return False
    # the last panel of the results holds a vector
    return -conv.out_channels % PANEL <= _LANES and _sized(conv, x, around)


def _lies_well(each: Tensor, x: Tensor) -> bool:
    return (
        each.dim() == 4
        and each.shape[1] >= _LANES
        and each.shape[:1] + each.shape[2:] == x.shape[:1] + x.shape[2:]
        and each.is_contiguous(memory_format=torch.channels_last)
    )


def _sized(conv: nn.Conv2d, x: Tensor, around: Around) -> bool:
    """Whether all that is given has the sizes that the loop knows, and is large enough."""
    (batch, _, height, width), channels, dilation = x.shape, conv.out_channels, conv.dilation[0]
    if around.twice:
        height, width = 2 * height, 2 * width
    if not all(each.shape in ((1, channels), (batch, channels)) for each in around.vectors):
        return False
    if around.plus is not None and around.plus.shape != (batch, channels, height, width):
        return False
    # one pixel has nothing to reflect; PyTorch says so
    reflects = conv.padding_mode == "reflect" and dilation == 1 and min(height, width) > 1
    possible = reflects or conv.padding_mode == "zeros"
    # of one picture: in a batch it has to go the same way
    return possible and -(-height // 4) * -(-width // 4) >= _LEAST[x.dtype] * dilation**2


def winograd_weight(weight: Tensor, twice: bool = False) -> Tensor:
    """[O, C, 3, 3] -> [O / 32, 36, 32 / P, C, P], G w G^T in float64 (Lavin, Gray 2016), zeros in the last one's rest.

    twice: for a picture that is enlarged first. P: the columns that the products of this CPU level take at a time. In
    bfloat16, rounded once, [O / 32, 36, C / 2, 32, 2]: its products take two channels side by side.
    """
    out, channels = weight.shape[:2]
    pack = _PACKS.get(_level(), 8)
    p, q = _TWICE if twice else _BALANCED
    rows = [[1 / (p * q) ** 2, 0, 0], [0, 0, 1]]
    for point, other in ((p, q), (-p, q), (q, p), (-q, p)):
        divisor = 2 * point**2 * (point**2 - other**2)
        rows.insert(-1, [1 / divisor, point / divisor, point**2 / divisor])
    matrix = torch.tensor(rows, dtype=torch.float64, device=weight.device)
    points = torch.kron(matrix, matrix) @ weight.detach().double().flatten(2).permute(2, 1, 0).reshape(9, -1)
    columns = F.pad(points.to(weight.dtype).view(36, channels, out), (0, -out % PANEL))
    if weight.dtype == torch.bfloat16:
        return columns.view(36, channels // 2, 2, -1, PANEL).permute(3, 0, 1, 4, 2).contiguous()
    return columns.unflatten(2, (-1, PANEL // pack, pack)).permute(2, 0, 3, 1, 4).contiguous()


@functools.cache
def _level() -> str:
    return build_info().get("cpu_level", "")
