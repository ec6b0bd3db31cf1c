"""NAFNet's parts, compiled, of the CPU alone.

Pictures are channels_last, in float32 or, where the CPU has it, bfloat16; packed weights are of the picture's type.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lowlight_ext.kernels_compiled.call import call, empty, like

LANES, PANEL = 16, 32  # what the loop takes of the channels at a time; outputs that lie together


def naf_block(x: Tensor, weights: Tensor, eps: float) -> Tensor:
    """x: [B, C, H, W], C a multiple of 16; weights: packed_block's -> like x."""
    out = like(x, torch.channels_last)
    batch, channels, height, width = x.shape
    call(_name("naf_block", x), x, x, weights, out, batch, height, width, channels, eps)
    return out


def naf_down(x: Tensor, weights: Tensor) -> Tensor:
    """x: [B, C, H, W], C a multiple of 16, even sides; weights: packed_down's -> [B, 2 C, H / 2, W / 2]."""
    batch, channels, height, width = x.shape
    out = empty((batch, 2 * channels, height // 2, width // 2), x.dtype, x.device, torch.channels_last)
    call(_name("naf_down", x), x, x, weights, None, out, batch, height, width, channels)
    return out


def naf_up(x: Tensor, skip: Tensor, weights: Tensor) -> Tensor:
    """x: [B, C, H, W], C a multiple of 32; skip: [B, C / 2, 2 H, 2 W]; weights: packed_up's -> like skip."""
    out = like(skip, torch.channels_last)
    batch, channels, height, width = x.shape
    call(_name("naf_up", x), x, x, weights, skip, out, batch, height, width, channels)
    return out


def _name(loop: str, x: Tensor) -> str:
    return loop if x.dtype == torch.float32 else f"{loop}_half"


# The parameters, one after the other as csrc/core/naf_arguments.h says, folded in float64.


def packed_block(*parameters: Tensor) -> Tensor:
    """Of NAFBlock's parameters."""
    flat = [p.detach().double().squeeze() if p.dim() == 4 else p.detach().double() for p in parameters]
    beta, gamma, norm1, bias1, expand, expand_bias, depthwise, depthwise_bias, attention, attention_bias, *rest = flat
    project, project_bias, norm2, bias2, widen, widen_bias, shrink, shrink_bias = rest
    number = _number(parameters[0])
    parts = [number(_gated(expand.T * norm1[:, None])), _gated(expand @ bias1 + expand_bias)]
    parts += [_halves(depthwise.flatten(1).T), _halves(depthwise_bias), attention.T, attention_bias]
    parts += [_panels(project.T * beta), project_bias * beta]
    parts += [number(_gated(widen.T * norm2[:, None])), _gated(widen @ bias2 + widen_bias)]
    parts += [number(_panels(shrink.T * gamma)), shrink_bias * gamma]
    return _joined(parts)


def packed_down(weight: Tensor, bias: Tensor) -> Tensor:
    """[2 C, C, 2, 2], [2 C]."""
    matrix = weight.detach().permute(2, 3, 1, 0).flatten(0, 2)
    return _joined([_number(weight)(_panels(matrix)), bias.detach()])


def packed_up(weight: Tensor) -> Tensor:
    """[2 C, C, 1, 1], whose outputs a pixel shuffle takes in the order channel, row, column."""
    matrix = weight.detach().flatten(1).unflatten(0, (-1, 4)).transpose(0, 1).flatten(0, 1).T
    return _joined([_number(weight)(_panels(matrix))])


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat([part.float().flatten() for part in parts])


def _number(weight: Tensor) -> Callable[[Tensor], Tensor]:
    """What makes panels of the numbers that products take."""
    return _pairs if weight.dtype == torch.bfloat16 else Tensor.float


def _pairs(panels: Tensor) -> Tensor:
    """[..., C, 32] -> two channels side by side in bfloat16, [..., C / 2, 32, 2], and both in the place of a float."""
    pairs = panels.bfloat16().unflatten(-2, (-1, 2)).transpose(-1, -2).contiguous()
    return pairs.view(torch.float32)


def _halves(values: Tensor) -> Tensor:
    """[..., 2 C] -> [..., C / 16, 32]: 16 channels of the gate's first half, then those of its second they meet."""
    return values.unflatten(-1, (2, -1, LANES)).transpose(-2, -3).flatten(-2)


def _gated(values: Tensor) -> Tensor:
    """[inputs, 2 C] -> [C / 16, inputs, 32]."""
    halves = _halves(values)
    return halves.transpose(0, 1) if halves.dim() == 3 else halves


def _panels(matrix: Tensor) -> Tensor:
    """[inputs, C] -> [ceil(C / 32), inputs, 32]."""
    return F.pad(matrix, (0, -matrix.shape[1] % PANEL)).unflatten(1, (-1, PANEL)).transpose(0, 1)
