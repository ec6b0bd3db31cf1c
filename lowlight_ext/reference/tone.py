"""The tone curve in plain PyTorch."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lowlight_ext.common import accumulator, memory_format
from lowlight_ext.reference.step import wide


def rolled_off(y: Tensor, knee: Tensor, share: float) -> Tensor:
    """[B, 3, H, W] from 0 upwards -> [0, 1]: what lies above the knee [B, 1, 1, 1] nears 1 instead of being clipped."""
    width = (1 - knee).clamp(min=1e-4)

    def bent(v: Tensor) -> Tensor:
        return torch.where(v > knee, 1 - width * (-(v - knee).clamp(min=0) / width).exp(), v)

    # at black and below the factor is 1
    most = y.amax(dim=1, keepdim=True).clamp(min=1e-6)
    return torch.lerp(bent(y), y * (bent(most) / most), share)


def tone_curve(x: Tensor, gamma: Tensor, scale: Tensor, knee: Tensor, floor: float, share: float) -> Tensor:
    """rolled_off(scale ((1 + x / floor)^gamma - 1) / ((1 + 1 / floor)^gamma - 1)), without cancellation near black."""
    gamma, scale, knee = (v.to(accumulator(x.dtype))[:, :, None, None] for v in (gamma, scale, knee))
    white = (gamma * math.log1p(1 / floor)).expm1()
    y = (gamma * (wide(x) * (1 / floor)).log1p()).expm1() * (scale / white)
    return rolled_off(y, knee, share).to(x.dtype).contiguous(memory_format=memory_format(x))


def tone_curve_backward(
    grad: Tensor,
    x: Tensor,
    gamma: Tensor,
    scale: Tensor,
    knee: Tensor,
    floor: float,
    share: float,
    needed: Sequence[bool] = (True, True, True, True),
) -> tuple[Tensor | None, ...]:
    """Gradients to x, gamma, scale and knee where `needed`: those of the formula, which is computed once more."""
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        inputs = [
            v.view_as(v) if again else v.detach().requires_grad_(n)
            for v, n in zip((x, gamma, scale, knee), needed, strict=True)
        ]
        x, gamma, scale, knee = inputs
        out = tone_curve(x, gamma, scale, knee, floor, share)
        wanted = [v for v, n in zip(inputs, needed, strict=True) if n]
        gradients = iter(torch.autograd.grad(out, wanted, grad, create_graph=again))
    return tuple(next(gradients) if n else None for n in needed)
