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

_DRAW = 1 << 12  # stream of the ratios of a training step, apart from those of the chain

Number = float | Tensor  # one for all pictures, or [B]


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


def even_ratios(ratio: Number, iter_num: int) -> list[Number]:
    """The iter_num + 2 exposures of an evaluation, from 1 to ratio in even steps."""
    return [1 + (ratio - 1) * (i / (iter_num + 1)) for i in range(iter_num + 1)] + [ratio]


def drawn_ratios(ratio: Tensor, iter_num: int, seed: int | Tensor) -> list[Tensor]:
    """The iter_num + 2 exposures of a training step, each [B]: 1, distinct integers of 2 .. floor(ratio) - 1, ratio.

    ratio: [B]. seed: an integer, or one a picture [B], whose draw depends on nothing else.
    Raises ValueError where there are fewer integers than iter_num.
    """
    count = len(ratio)
    seeds = torch.as_tensor(seed, dtype=torch.int64).expand(count).tolist()
    rows = []
    for last, key in zip(ratio.tolist(), seeds, strict=True):
        choices = max(0, math.floor(last) - 2)
        if choices < iter_num:
            raise ValueError(f"drawn_ratios: ratio must be at least {iter_num + 2} for {iter_num} steps, got {last:g}")
        order = lowlight_ext.uniform((choices,), key, stream=_DRAW).argsort()
        rows.append([1.0, *(order[:iter_num].sort().values + 2).tolist(), last])
    return list(torch.tensor(rows, dtype=torch.float64).T.to(ratio.device))


def illuminance_gain(output: Tensor, target: Tensor) -> Tensor:
    """[B, 1, 1, 1] gains that bring outputs closest to targets: <p, g> / <p, p> over g != 1, p = clamp(output, 0, 1).

    output, target: [B, C, h, w]. 1 where <p, p> is 0. Gradients to output.
    """
    p = output.clamp(0, 1) * (target != 1)
    square = (p * p).sum(dim=(1, 2, 3), keepdim=True)
    dot = (p * target).sum(dim=(1, 2, 3), keepdim=True)
    # the inner choice keeps 0 / 0 out of the gradient
    return torch.where(square > 0, dot / torch.where(square > 0, square, 1), 1)
