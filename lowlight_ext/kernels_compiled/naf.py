"""The compiled NAF block, of the CPU alone."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lowlight_ext.kernels_compiled.call import call, like

LANES, PANEL = 16, 32  # what the loop takes of the channels at a time; outputs that lie together
NUMBER = 18  # parameters of a block


def naf_block(x: Tensor, weights: Tensor, eps: float) -> Tensor:
    """x: [B, C, H, W] channels_last, C a multiple of 16, float32 or, where the CPU has it, bfloat16. weights: what
    naf_weights makes of those of x's type. -> like x."""
    out = like(x, torch.channels_last)
    batch, channels, height, width = x.shape
    name = "naf_block" if x.dtype == torch.float32 else "naf_block_half"
    call(name, x, x, weights, out, batch, height, width, channels, eps)
    return out


def naf_weights(*parameters: Tensor) -> Tensor:
    """NAFBlock's parameters -> one after the other as csrc/core/naf_arguments.h says; folded in float64."""
    flat = [p.detach().double().squeeze() if p.dim() == 4 else p.detach().double() for p in parameters]
    beta, gamma, norm1, bias1, expand, expand_bias, depthwise, depthwise_bias, attention, attention_bias, *rest = flat
    project, project_bias, norm2, bias2, widen, widen_bias, shrink, shrink_bias = rest
    number = _pairs if parameters[0].dtype == torch.bfloat16 else Tensor.float
    parts = [number(_gated(expand.T * norm1[:, None])), _gated(expand @ bias1 + expand_bias)]
    parts += [_halves(depthwise.flatten(1).T), _halves(depthwise_bias), attention.T, attention_bias]
    parts += [_panels(project.T * beta), project_bias * beta]
    parts += [number(_gated(widen.T * norm2[:, None])), _gated(widen @ bias2 + widen_bias)]
    parts += [number(_panels(shrink.T * gamma)), shrink_bias * gamma]
    return torch.cat([part.float().flatten() for part in parts])


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
