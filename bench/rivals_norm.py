"""Normalisations and the gate as anybody would write them in PyTorch."""

import torch.nn.functional as F
from torch import Tensor


def group_norm_silu(x: Tensor, groups: int, weight: Tensor, bias: Tensor) -> Tensor:
    return F.silu(F.group_norm(x, groups, weight, bias))


def mish_instance_norm(x: Tensor) -> Tensor:
    return F.instance_norm(F.mish(x))


def layer_norm2d(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """LayerNorm over channels as restoration networks write it."""
    mean = x.mean(1, keepdim=True)
    variance = (x - mean).square().mean(1, keepdim=True)
    return (x - mean) / (variance + 1e-6).sqrt() * weight[:, None, None] + bias[:, None, None]


def library_layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """torch's own fused one, which wants the channels last."""
    return F.layer_norm(x.permute(0, 2, 3, 1), weight.shape, weight, bias, 1e-6).permute(0, 3, 1, 2)


def simple_gate(x: Tensor) -> Tensor:
    left, right = x.chunk(2, 1)
    return left * right
