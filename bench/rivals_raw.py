"""Noise of a raw sensor and the exposure step as anybody would write them in PyTorch."""

import torch
from torch import Tensor

SATURATION = 15583.0


def tukey(u: Tensor, lam: float) -> Tensor:
    return (u**lam - (1 - u) ** lam) / lam


def raw_noise(clean: Tensor, gain: float, ratio: float, model: str, scales: dict[str, float]) -> Tensor:
    parts = model.split("+")
    y = clean * (SATURATION / ratio)
    if "u" in parts:
        y = (y + torch.rand_like(y) - 0.5).clamp(min=0)
    if "P" in parts:
        y = gain * torch.poisson(y / gain)
    elif "p" in parts:
        y = y + (gain * y).clamp(min=1e-10).sqrt() * torch.randn_like(y)
    if "r" in parts:
        batch, _, height, _ = y.shape
        z = scales["R_scale"] * torch.randn(batch, height, 2, device=y.device)
        y = y + z.permute(0, 2, 1).repeat_interleave(2, dim=1)[..., None]
    if "g" in parts:
        y = y + scales["g_scale"] * torch.randn_like(y)
    elif "G" in parts:
        y = y + scales["G_scale"] * tukey(torch.rand_like(y), scales["G_shape"])
    return (y * (ratio / SATURATION)).clamp(0, 1)


def exposure_step(output: Tensor, original: Tensor, ratio: float, after: float, gain: float) -> Tensor:
    m = output.clamp(0, 1) / (ratio / (after - 1)) / gain * SATURATION
    n = torch.poisson(m)
    return (original.clamp(0, 1) / ratio / gain * SATURATION + n) / after * ratio * gain / SATURATION
