"""ExposureDiffusion's chain of exposures, from the measured one to `ratio` times as long.

Wang et al., "ExposureDiffusion: Learning to Expose for Low-light Image Enhancement", ICCV 2023; the step itself is
lowlight_ext.exposure_step.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

import lowlight_ext

from ...cameras.cameras import SATURATION
from ..base import Number, seeds_of

_DRAW = 1 << 12  # stream of the ratios of a training step, apart from those of the chain


def column(value: Number, like: Tensor) -> Number:
    """A number a picture as [B, 1, 1, 1] on the device and in the dtype of `like`; a plain number as it is."""
    return value.to(like).reshape(-1, 1, 1, 1) if isinstance(value, Tensor) else value


def photons(x: Tensor, ratio: Number, K: Number) -> Tensor:
    """What the sensor counted of an image x [B, C, h, w] that is `ratio` times brighter: x / ratio / K S."""
    return x / column(ratio, x) / column(K, x) * SATURATION


def gain_plane(x: Tensor, current: Number, ratio: Number, K: Number) -> Tensor:
    """[B, 1, h, w] for x [B, C, h, w]: 1 + log10(current / (ratio K)) / 2, for a network to tell how noisy x must be.

    current / (ratio K) S photons were counted where x is 1; the plane is -1 to 1 for 1.5 to 15583 of them. Not of the
    published system: its photons say the same, but by two images whose quotient a convolution cannot take.
    """
    ones = torch.ones_like(x[:, :1])
    return 1 + (column(current, x) * ones / column(ratio, x) / column(K, x)).log10() / 2


def even_ratios(ratio: Number, steps: int) -> list[Number]:
    """The exposures before, between and after so many network calls, from 1 to ratio evenly."""
    return [1 + (ratio - 1) * (i / steps) for i in range(steps)] + [ratio]


def drawn_ratios(ratio: Tensor, steps: int, seed: int | Tensor) -> list[Tensor]:
    """The exposures about `steps` network calls of a training, each [B]: 1, distinct integers in between, ratio.

    ratio: [B]. seed: an integer, or one a picture [B], whose draw depends on nothing else.
    Raises ValueError where there are too few integers.
    """
    count = len(ratio)
    seeds = seeds_of(seed, count).tolist()
    rows = []
    for last, key in zip(ratio.tolist(), seeds, strict=True):
        choices = max(0, math.floor(last) - 2)
        if choices < steps - 1:
            raise ValueError(f"drawn_ratios: ratio must be at least {steps + 1} for {steps} steps, got {last:g}")
        order = lowlight_ext.uniform((choices,), key, stream=_DRAW).argsort()
        rows.append([1.0, *(order[: steps - 1].sort().values + 2).tolist(), last])
    return list(torch.tensor(rows, dtype=torch.float64, device="cpu").T.to(ratio.device))


def illuminance_gain(output: Tensor, target: Tensor) -> Tensor:
    """[B, 1, 1, 1] gains that bring outputs closest to targets: <p, g> / <p, p> over g != 1, p = clamp(output, 0, 1).

    output, target: [B, C, h, w]. 1 where <p, p> is 0. Gradients to output.
    """
    p = output.clamp(0, 1) * (target != 1)
    square = (p * p).sum(dim=(1, 2, 3), keepdim=True)
    dot = (p * target).sum(dim=(1, 2, 3), keepdim=True)
    # the inner choice keeps 0 / 0 out of the gradient
    return torch.where(square > 0, dot / torch.where(square > 0, square, 1), 1)
