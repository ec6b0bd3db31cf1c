"""Rows of samplers for the anchored process of AnlightenDiff; derivations in docs/anchored_samplers.md.

Anchoring is an ordinary diffusion of y = x - phi with eps = eps* - k phi, so any sampler's rows become rows for x.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...diffusion.schedules import constant, ddim_rows, ddpm_rows, dpm_solver_rows


def rederived(rows: Tensor) -> Tensor:
    """Rows (p, q, a, b, c, d, e, s) whose eps is the one that belongs to the clipped x0, (x_t - al x0) / sg.

    With al = 1 / p and sg = -q / p that is (x0 - p x_t) / q, so d moves into a and b; no change where nothing clips.
    """
    p, q, a, b, c, d, e, s = rows.double().unbind(-1)
    return torch.stack([p, q, a + d / q, b - d * p / q, c, torch.zeros_like(d), e, s], dim=-1)


def anchored(rows: Tensor) -> Tensor:
    """Rows of an ordinary diffusion of y = x - phi -> rows for x itself, given the network's eps* and phi.

    c = 1 - a - b - e - d k with k = (1 - al) / sg = (1 - p) / q; p and q are as they were, for 1 - p - q k = 0.
    """
    p, q, a, b, _, d, e, s = rows.double().unbind(-1)
    return torch.stack([p, q, a, b, 1 - a - b - e - d * (1 - p) / q, d, e, s], dim=-1)


def drds_rows(alpha_bar: Tensor, times: list[int]) -> Tensor:
    """[S, 8] rows of the published sampler, the anchored posterior; over fewer times, that of the process between them.

    Its x0 is clipped to [-1, 1].
    """
    return anchored(ddpm_rows(alpha_bar, times))


def anchored_ddim_rows(alpha_bar: Tensor, times: list[int], eta: float = 0.0, *, clipped: bool = True) -> Tensor:
    """[S, 8] rows of DDIM in anchored coordinates; clipped: for a clipped x0. eta = 1 is then DRDS."""
    rows = ddim_rows(alpha_bar, times, eta)
    return anchored(rederived(rows) if clipped else rows)


def anchored_dpm_solver_rows(alpha_bar: Tensor, times: list[int]) -> Tensor:
    """[S, 8] rows of second-order DPM-Solver++ in anchored coordinates, for a clipped x0 or another."""
    return anchored(dpm_solver_rows(alpha_bar, times))


SAMPLERS = {"drds": drds_rows, "ddim": anchored_ddim_rows, "dpm++": anchored_dpm_solver_rows}


@constant
def anchored_sampler_rows(sampler: str, alpha_bar: Tensor, times: list[int]) -> Tensor:
    """[S, 8] rows of a sampler by its name: one of SAMPLERS; ddim with eta = 0. Without a center, of x itself."""
    if sampler not in SAMPLERS:
        raise ValueError(f"anchored_sampler_rows: sampler must be one of {', '.join(SAMPLERS)}, got {sampler!r}")
    return SAMPLERS[sampler](alpha_bar, times)
