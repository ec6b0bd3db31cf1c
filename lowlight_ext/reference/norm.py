"""Normalisations with their activations in plain PyTorch. x: [B, C, ...]; statistics: mean and 1 / sqrt(var + eps)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lowlight_ext.reference.haar import accumulator


def _statistics(v: Tensor, dim: int, eps: float) -> Tensor:
    mean = v.mean(dim, keepdim=True)
    variance = (v - mean).square().mean(dim)
    return torch.stack((mean.squeeze(dim), (variance + eps).rsqrt()))


def _wide(*values: Tensor | None) -> list[Tensor | None]:
    return [None if v is None else v.to(accumulator(v.dtype)) for v in values]


def _flat(x: Tensor) -> Tensor:
    """[B, C, n]."""
    return x.reshape(*x.shape[:2], math.prod(x.shape[2:]))


def _affine(v: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """v: [B, C, n]; weight, bias: [C]."""
    v = v if weight is None else v * weight[:, None]
    return v if bias is None else v + bias[:, None]


def _normalised(v: Tensor, stats: Tensor) -> Tensor:
    """v: [B, C, n] with statistics [2, B, groups]: the groups are runs of channels."""
    mean, inverse = stats[..., None]
    return ((v.unflatten(1, (mean.shape[1], -1)).flatten(2) - mean) * inverse).reshape(v.shape)


def _input_gradient(inner: Tensor, xhat: Tensor, inverse: Tensor) -> Tensor:
    """Through the normalisation of rows [..., n]."""
    level, tilt = inner.mean(-1, keepdim=True), (inner * xhat).mean(-1, keepdim=True)
    return (inner - level - xhat * tilt) * inverse


def _narrow(gradients, likes, needed) -> tuple[Tensor | None, ...]:
    return tuple(g.to(like.dtype) if wanted else None for g, like, wanted in zip(gradients, likes, needed, strict=True))


def group_statistics(x: Tensor, groups: int, eps: float) -> Tensor:
    """[2, B, groups]."""
    (v,) = _wide(x)
    return _statistics(v.reshape(x.shape[0], groups, math.prod(x.shape[1:]) // groups), -1, eps)


def group_norm_silu(x, groups, weight, bias, eps, activation) -> tuple[Tensor, Tensor]:
    """silu(xhat weight + bias), without silu where not `activation`; -> (the result, statistics [2, B, groups])."""
    stats = group_statistics(x, groups, eps)
    v, weight, bias = _wide(_flat(x), weight, bias)
    z = _affine(_normalised(v, stats), weight, bias)
    return (F.silu(z) if activation else z).reshape(x.shape).to(x.dtype), stats


def group_norm_silu_backward(
    grad, x, stats, weight, bias, groups, activation, needed=(True, True, True)
) -> tuple[Tensor | None, ...]:
    """Gradients to x, weight and bias where `needed`."""
    like = (x, weight, bias)
    inner, v, weight, bias = _wide(_flat(grad), _flat(x), weight, bias)
    xhat = _normalised(v, stats)
    if activation:
        z = _affine(xhat, weight, bias)
        gate = z.sigmoid()
        inner = inner * gate * (1 + z * (1 - gate))
    rows = [g.unflatten(1, (groups, -1)).flatten(2) for g in (_affine(inner, weight, None), xhat)]
    to_x = _input_gradient(*rows, stats[1, ..., None]).reshape(x.shape)
    return _narrow((to_x, (inner * xhat).sum((0, 2)), inner.sum((0, 2))), like, needed)


def mish_statistics(x: Tensor, eps: float) -> Tensor:
    """[2, B, C], of mish(x)."""
    return _statistics(F.mish(_wide(_flat(x))[0]), -1, eps)


def mish_instance_norm(x, eps) -> tuple[Tensor, Tensor]:
    """mish(x) normalised over each channel of each sample; -> (the result, statistics [2, B, C])."""
    stats = mish_statistics(x, eps)
    return _normalised(F.mish(_wide(_flat(x))[0]), stats).reshape(x.shape).to(x.dtype), stats


def mish_instance_norm_backward(grad, x, stats) -> Tensor:
    """The gradient to x."""
    inner, v = _wide(_flat(grad), _flat(x))
    gate, sigmoid = F.softplus(v).tanh(), v.sigmoid()
    to_mish = _input_gradient(inner, _normalised(v * gate, stats), stats[1, ..., None])
    return (to_mish * (gate + v * (1 - gate * gate) * sigmoid)).reshape(x.shape).to(x.dtype)


def layer_statistics(x: Tensor, eps: float) -> Tensor:
    """[2, B, n], over the channels of each of the n pixels."""
    return _statistics(_wide(_flat(x))[0], 1, eps)


def layer_norm2d(x, weight, bias, eps) -> tuple[Tensor, Tensor]:
    """Normalised over the channels of each pixel, times weight plus bias; -> (the result, statistics [2, B, n])."""
    stats = layer_statistics(x, eps)
    v, weight, bias = _wide(_flat(x), weight, bias)
    mean, inverse = stats[:, :, None]
    return _affine((v - mean) * inverse, weight, bias).reshape(x.shape).to(x.dtype), stats


def layer_norm2d_backward(grad, x, stats, weight, bias, needed=(True, True, True)) -> tuple[Tensor | None, ...]:
    """Gradients to x, weight and bias where `needed`."""
    like = (x, weight, bias)
    inner, v, weight = _wide(_flat(grad), _flat(x), weight)
    mean, inverse = stats[:, :, None]
    xhat = (v - mean) * inverse
    rows = [g.mT for g in (_affine(inner, weight, None), xhat, inverse)]
    to_x = _input_gradient(*rows).mT.reshape(x.shape)
    return _narrow((to_x, (inner * xhat).sum((0, 2)), inner.sum((0, 2))), like, needed)


def simple_gate(x) -> Tensor:
    """The first half of the channels times the second."""
    left, right = _wide(*x.chunk(2, 1))
    return (left * right).to(x.dtype)


def simple_gate_backward(grad, x) -> Tensor:
    """The gradient to x."""
    g, left, right = _wide(grad, *x.chunk(2, 1))
    return torch.cat((g * right, g * left), 1).to(x.dtype)
