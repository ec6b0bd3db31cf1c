"""Normalisations with their activations in plain PyTorch. x: [B, C, ...]; statistics: mean and 1 / sqrt(var + eps)."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lowlight_ext.common import memory_format
from lowlight_ext.reference.step import wide


def _statistics(v: Tensor, dim: int, eps: float) -> Tensor:
    mean = v.mean(dim, keepdim=True)
    variance = (v - mean).square().mean(dim)
    return torch.stack((mean.squeeze(dim), (variance + eps).rsqrt()))


def _flat(x: Tensor) -> Tensor:
    """[B, C, n], in the dtype that is computed in."""
    return wide(x.reshape(*x.shape[:2], math.prod(x.shape[2:])))


def _like(result: Tensor, x: Tensor) -> Tensor:
    """In the shape, dtype and memory format of x."""
    return result.reshape(x.shape).to(x.dtype).contiguous(memory_format=memory_format(x))


def _affine(v: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """v: [B, C, n]; weight, bias: [C]."""
    v = v if weight is None else v * wide(weight)[:, None]
    return v if bias is None else v + wide(bias)[:, None]


def _normalised(v: Tensor, stats: Tensor) -> Tensor:
    """v: [B, C, n] with statistics [2, B, groups]: the groups are runs of channels."""
    mean, inverse = stats[..., None]
    return ((v.unflatten(1, (mean.shape[1], -1)).flatten(2) - mean) * inverse).reshape(v.shape)


def _input_gradient(inner: Tensor, xhat: Tensor, inverse: Tensor) -> Tensor:
    """Through the normalisation of rows [..., n]."""
    level, tilt = inner.mean(-1, keepdim=True), (inner * xhat).mean(-1, keepdim=True)
    return (inner - level - xhat * tilt) * inverse


def _gradients(
    to_x: Tensor, inner: Tensor, xhat: Tensor, likes: Sequence[Tensor | None], needed: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """To x, weight and bias, like them, where `needed`."""
    values = (to_x, (inner * xhat).sum((0, 2)), inner.sum((0, 2)))
    return tuple(_like(g, x) if n and x is not None else None for g, x, n in zip(values, likes, needed, strict=True))


def group_statistics(x: Tensor, groups: int, eps: float) -> Tensor:
    """[2, B, groups]."""
    return _statistics(wide(x).reshape(x.shape[0], groups, math.prod(x.shape[1:]) // groups), -1, eps)


def group_norm_silu(
    x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float, activation: bool
) -> tuple[Tensor, Tensor]:
    """silu(xhat weight + bias), without silu where not `activation`; -> (the result, statistics [2, B, groups])."""
    stats = group_statistics(x, groups, eps)
    z = _affine(_normalised(_flat(x), stats), weight, bias)
    return _like(F.silu(z) if activation else z, x), stats


def group_norm_silu_backward(
    grad: Tensor,
    x: Tensor,
    stats: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    groups: int,
    activation: bool,
    needed: Sequence[bool] = (True, True, True),
) -> tuple[Tensor | None, ...]:
    """Gradients to x, weight and bias where `needed`."""
    inner, xhat = _flat(grad), _normalised(_flat(x), stats)
    if activation:
        z = _affine(xhat, weight, bias)
        gate = z.sigmoid()
        inner = inner * gate * (1 + z * (1 - gate))
    scaled, rows = (g.unflatten(1, (groups, -1)).flatten(2) for g in (_affine(inner, weight, None), xhat))
    return _gradients(_input_gradient(scaled, rows, stats[1, ..., None]), inner, xhat, (x, weight, bias), needed)


def mish_statistics(x: Tensor, eps: float) -> Tensor:
    """[2, B, C], of mish(x)."""
    return _statistics(F.mish(_flat(x)), -1, eps)


def mish_instance_norm(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """mish(x) normalised over each channel of each sample; -> (the result, statistics [2, B, C])."""
    stats = mish_statistics(x, eps)
    return _like(_normalised(F.mish(_flat(x)), stats), x), stats


def mish_instance_norm_backward(grad: Tensor, x: Tensor, stats: Tensor) -> Tensor:
    """The gradient to x."""
    inner, v = _flat(grad), _flat(x)
    gate, sigmoid = F.softplus(v).tanh(), v.sigmoid()
    to_mish = _input_gradient(inner, _normalised(v * gate, stats), stats[1, ..., None])
    return _like(to_mish * (gate + v * (1 - gate * gate) * sigmoid), x)


def layer_statistics(x: Tensor, eps: float) -> Tensor:
    """[2, B, n], over the channels of each of the n pixels."""
    return _statistics(_flat(x), 1, eps)


def layer_norm2d(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, Tensor]:
    """Normalised over the channels of each pixel, times weight plus bias; -> (the result, statistics [2, B, n])."""
    stats = layer_statistics(x, eps)
    mean, inverse = stats[:, :, None]
    return _like(_affine((_flat(x) - mean) * inverse, weight, bias), x), stats


def layer_norm2d_backward(
    grad: Tensor,
    x: Tensor,
    stats: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    needed: Sequence[bool] = (True, True, True),
) -> tuple[Tensor | None, ...]:
    """Gradients to x, weight and bias where `needed`."""
    inner, (mean, inverse) = _flat(grad), stats[:, :, None]
    xhat = (_flat(x) - mean) * inverse
    to_x = _input_gradient(_affine(inner, weight, None).mT, xhat.mT, inverse.mT).mT
    return _gradients(to_x, inner, xhat, (x, weight, bias), needed)


def simple_gate(x: Tensor) -> Tensor:
    """The first half of the channels times the second."""
    left, right = wide(x).chunk(2, 1)
    return (left * right).to(x.dtype).contiguous(memory_format=memory_format(x))


def simple_gate_backward(grad: Tensor, x: Tensor) -> Tensor:
    """The gradient to x."""
    g, (left, right) = wide(grad), wide(x).chunk(2, 1)
    return _like(torch.cat((g * right, g * left), 1), x)
