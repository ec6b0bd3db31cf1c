"""The tone curve as anybody would write it in PyTorch: the default model's own until it became an operator."""

import torch
from torch import Tensor


def tone_curve(x: Tensor, gamma: Tensor, scale: Tensor, knee: Tensor, floor: float = 1 / 255) -> Tensor:
    gamma, scale, knee = (v[:, :, None, None] for v in (gamma, scale, knee))
    black, width = floor**gamma, (1 - knee).clamp(min=1e-4)
    y = ((x + floor) ** gamma - black) / ((1 + floor) ** gamma - black) * scale

    def bent(v: Tensor) -> Tensor:
        return torch.where(v > knee, 1 - width * (-(v - knee).clamp(min=0) / width).exp(), v)

    most = y.amax(dim=1, keepdim=True)
    return torch.lerp(bent(y), y * (bent(most) / most.clamp(min=1e-6)), 0.6)
