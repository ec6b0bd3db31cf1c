"""Samplers: pure loops over lowlight_ext.diffusion_step."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

import lowlight_ext


def iterate(
    predict_eps: Callable[[Tensor, int], Tensor],
    x_t: Tensor,
    times: list[int],
    rows: Tensor,
    *,
    center: Tensor | None = None,
    clip: tuple[float, float] | None = None,
    noise: Callable[[int], Tensor] | None = None,
    seed: int | Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Walk `times` downwards from x_t; yields (x of the next time, estimate of x0) after every network call.

    predict_eps(x_t, t) -> eps. rows: [S, 8] of schedules.py; center and clip: as diffusion_step takes them. The noise
    of the step from t is noise(t) where given, else lowlight_ext's stream t of `seed`; a row without noise (s = 0)
    draws none. A row of second order (e != 0) sees the estimate of the step before.
    """
    noisy, second_order = ([row[column] != 0 for row in rows.tolist()] for column in (7, 6))
    # on the CPU, where the operator can look at them without waiting for a GPU
    rows = rows.to(device="cpu", dtype=torch.float64 if x_t.dtype == torch.float64 else torch.float32)
    x0 = None
    for i, t in enumerate(times):
        eps = predict_eps(x_t, t)
        z, z_seed = (noise(t), None) if noise is not None and noisy[i] else (None, seed if noisy[i] else None)
        x_t, x0 = lowlight_ext.diffusion_step(
            x_t,
            eps,
            rows[i],
            center=center,
            x0_previous=x0 if second_order[i] else None,
            noise=z,
            seed=z_seed,
            stream=t,
            clip=clip,
            return_x0=True,
        )
        yield x_t, x0


def sample(*args, **kwargs) -> Tensor:
    """The last x of `iterate`, which takes the same arguments."""
    for step in iterate(*args, **kwargs):
        x_t = step[0]
    return x_t
