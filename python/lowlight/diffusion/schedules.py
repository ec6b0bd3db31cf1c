"""Noise schedules and the rows of coefficients that diffusion_step takes; all formed in float64, cast once."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from itertools import pairwise

import torch
from torch import Tensor


def constant(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function of numbers whose result is known also while torch.export records a graph around it.

    A sampler asks which of its rows are 0; recorded, they would be numbers that nobody knows yet.
    """

    @wraps(function)
    def computed(*arguments, **keywords):
        if not torch.compiler.is_compiling() or torch.compiler.is_dynamo_compiling():
            return function(*arguments, **keywords)
        # what records, records its own thread
        with ThreadPoolExecutor(1) as other:
            return other.submit(function, *arguments, **keywords).result()

    return computed


def linear_betas(timesteps: int, beta_start: float, beta_end: float) -> Tensor:
    """[T] float64, linear; Ho et al. 2020."""
    return torch.linspace(beta_start, beta_end, timesteps, dtype=torch.float64, device="cpu")


def _sigmoid_betas(timesteps: int, beta_start: float, beta_end: float) -> Tensor:
    return beta_start + (beta_end - beta_start) * linear_betas(timesteps, -6, 6).sigmoid()


# [T] float64 of (T, b0, b1), by the names of DiffLL's configuration files
BETAS: dict[str, Callable[[int, float, float], Tensor]] = {
    "linear": linear_betas,
    "quad": lambda timesteps, b0, b1: linear_betas(timesteps, b0**0.5, b1**0.5) ** 2,
    "const": lambda timesteps, b0, b1: torch.full((timesteps,), b1, dtype=torch.float64),
    "jsd": lambda timesteps, b0, b1: 1 / torch.arange(timesteps, 0, -1, dtype=torch.float64),
    "sigmoid": _sigmoid_betas,
}


def cosine_betas(timesteps: int, s: float = 0.008) -> Tensor:
    """[T] float64 of the cosine schedule of Nichol and Dhariwal 2021 as AnlightenDiff samples it, at most 0.999.

    T + 1 points between 0 and T + 1 instead of 0 and T: alpha_bar would reach 0 at the last, whose beta is clipped.
    """
    x = torch.linspace(0, timesteps + 1, timesteps + 1, dtype=torch.float64, device="cpu")
    f = torch.cos((x / (timesteps + 1) + s) / (1 + s) * (math.pi / 2)) ** 2
    f = f / f[0]
    return (1 - f[1:] / f[:-1]).clamp(0, 0.999)


DIFFUSERS_BETAS = ("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid")


def named_betas(
    name: str, timesteps: int, beta_start: float, beta_end: float, dtype: torch.dtype = torch.float64
) -> Tensor:
    """[T] betas by the diffusers library's name of their schedule, one of DIFFUSERS_BETAS; float32: formed as there.

    "squaredcos_cap_v2", Nichol and Dhariwal's cosine, has no start and end. Raises ValueError for another name.
    """
    if name not in DIFFUSERS_BETAS:
        raise ValueError(f"named_betas: schedule must be one of {', '.join(DIFFUSERS_BETAS)}, got {name!r}")
    if name == "squaredcos_cap_v2":
        bars = [math.cos((i / timesteps + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(timesteps + 1)]
        steps = [min(1 - after / before, 0.999) for before, after in pairwise(bars)]
        return torch.tensor(steps, dtype=dtype, device="cpu")
    if name == "scaled_linear":
        return torch.linspace(beta_start**0.5, beta_end**0.5, timesteps, dtype=dtype, device="cpu") ** 2
    if name == "sigmoid":
        return (
            torch.linspace(-6, 6, timesteps, dtype=dtype, device="cpu").sigmoid() * (beta_end - beta_start) + beta_start
        )
    return torch.linspace(beta_start, beta_end, timesteps, dtype=dtype, device="cpu")


def zero_terminal_snr(betas: Tensor) -> Tensor:
    """[T] betas whose last alpha_bar is 0, so that the last x_t holds no signal; Lin et al. 2024, algorithm 1.

    sqrt(alpha_bar) is shifted to end at 0 and scaled to begin where it did. The dtype stays.
    """
    roots = torch.cumprod(1 - betas, dim=0).sqrt()
    first, last = roots[0].clone(), roots[-1].clone()
    bars = ((roots - last) * (first / (first - last))) ** 2
    return 1 - torch.cat([bars[:1], bars[1:] / bars[:-1]])


def alpha_bars(betas: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    """[T] cumulative products of 1 - beta."""
    return torch.cumprod(1 - betas.to(dtype), dim=0)


SPACINGS = ("published", "leading", "trailing", "inner", "linspace")


def sampling_times(timesteps: int, steps: int, spacing: str = "leading") -> list[int]:
    """Times of a sampler with `steps` network calls, walked downwards; any spacing takes all T with S = T.

    "leading": 0, T // S, 2 (T // S), ... (DDIM). "published", DiffLL's own: all of them below T, more than S where S
    does not divide T (8 of 200 for S = 7). "trailing": T - 1 first, the last at about T / S - 1.
    "inner": T cut into S + 1 even parts, floor(T (S - i) / (S + 1)): a chain that starts at an anchor spends no call on
    the last times, which tell next to nothing, nor on the first ones, which change next to nothing.
    "linspace": evenly from T - 1 to 0, both taken (0 alone for one call), as the diffusers library does.
    Raises ValueError for steps that are not in 1 .. T, and another spacing.
    """
    if not 1 <= steps <= timesteps:
        raise ValueError(f"sampling_times: steps must lie in 1 .. {timesteps}, got {steps}")
    if spacing not in SPACINGS:
        raise ValueError(f"sampling_times: spacing must be one of {', '.join(SPACINGS)}, got {spacing!r}")
    if spacing == "published":
        return list(range(0, timesteps, timesteps // steps))[::-1]
    if spacing == "leading":
        return [i * (timesteps // steps) for i in reversed(range(steps))]
    if spacing == "inner":
        return [timesteps * i // (steps + 1) for i in range(steps, 0, -1)]
    if spacing == "linspace":
        return [round(i * (timesteps - 1) / max(1, steps - 1)) for i in reversed(range(steps))]
    return [round(timesteps - 1 - i * timesteps / steps) for i in range(steps)]


@constant
def sampler_rows(sampler: str, alpha_bar: Tensor, times: list[int]) -> Tensor:
    """[S, 8] rows of a deterministic sampler by its name: one of SAMPLERS."""
    if not alpha_bar[times].all():
        raise ValueError(f"sampler_rows: nothing is left of the picture at t = {times[0]}, no sampler can start there")
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler_rows: sampler must be one of {', '.join(SAMPLERS)}, got {sampler!r}")
    return SAMPLERS[sampler](alpha_bar, times)


def ddim_rows(alpha_bar: Tensor, times: list[int], eta: float = 0.0) -> Tensor:
    """[S, 8] rows (p, q, a, b, c, d, e, s) of DDIM without clipping (Song et al. 2021, eq. 12).

    Step i goes from times[i] to times[i + 1], the last one to alpha_bar = 1.
    """
    ab = alpha_bar.double()[times]
    ab_next = torch.cat([ab[1:], ab.new_ones(1)])
    al, sg = ab.sqrt(), (1 - ab).sqrt()
    c1 = eta * ((1 - ab / ab_next) * (1 - ab_next) / (1 - ab)).sqrt()
    c2 = (1 - ab_next - c1**2).sqrt()
    zero = torch.zeros_like(al)
    return torch.stack([1 / al, -sg / al, ab_next.sqrt(), zero, zero, c2, zero, c1], dim=1)


PREDICTIONS = ("epsilon", "v_prediction", "sample")
VARIANCES = ("fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log")


def estimate_factors(ab: Tensor, prediction: str) -> tuple[Tensor, Tensor]:
    """p and q of x0 = p x_t + q out, where the network's `out` is eps, v = sqrt(ab) eps - sqrt(1 - ab) x0, or x0.

    Raises ValueError for another prediction, and for eps where an alpha_bar is 0: x_t then holds no x0 to tell.
    """
    if prediction not in PREDICTIONS:
        raise ValueError(f"ddpm_rows: prediction must be one of {', '.join(PREDICTIONS)}, got {prediction!r}")
    if prediction == "sample":
        return torch.zeros_like(ab), torch.ones_like(ab)
    if prediction == "v_prediction":
        return ab.sqrt(), -(1 - ab).sqrt()
    if not ab.gt(0).all():
        raise ValueError("ddpm_rows: a schedule that ends at alpha_bar 0 needs v_prediction or sample, got epsilon")
    return 1 / ab.sqrt(), -(1 - ab).sqrt() / ab.sqrt()


@constant
def ddpm_rows(
    alpha_bar: Tensor,
    times: list[int],
    variance: str = "fixed_small",
    prediction: str = "epsilon",
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """[S, 8] rows of DDPM's posterior (Ho et al. 2020, eq. 7), x0 clipped or not; all but the last step draw noise.

    variance: "fixed_small", the posterior's own, or "fixed_large", beta_t; with "_log" the standard deviation is formed
    as exp(0.5 log variance), the same but for rounding, as the diffusers library names them. There the last step
    draws noise too where it leaves another time than 0, which matters to the large ones: so it does here.
    prediction: what the network gives, one of PREDICTIONS. dtype: in which the rows are formed; diffusers': float32.
    Steps as in ddim_rows; over fewer than T times that of the process that visits only them.
    Raises ValueError for another name and as estimate_factors does.
    """
    if variance not in VARIANCES:
        raise ValueError(f"ddpm_rows: variance must be one of {', '.join(VARIANCES)}, got {variance!r}")
    ab = alpha_bar.to(dtype)[times]
    ab_next = torch.cat([ab[1:], ab.new_ones(1)])
    p, q = estimate_factors(ab, prediction)
    alpha = ab / ab_next
    beta = 1 - alpha
    a = ab_next.sqrt() * beta / (1 - ab)
    b = alpha.sqrt() * (1 - ab_next) / (1 - ab)
    # the published code clips the variance so that it has a logarithm
    spread = beta if "large" in variance else (1 - ab_next) / (1 - ab) * beta
    spread = spread.clamp(min=1e-20)
    s = (0.5 * spread.log()).exp() if variance.endswith("_log") else spread.sqrt()
    noisy = torch.tensor(times) > 0 if "large" in variance else ab_next < 1
    zero = torch.zeros_like(ab)
    return torch.stack([p, q, a, b, zero, zero, zero, torch.where(noisy, s, 0)], dim=1)


def dpm_solver_rows(alpha_bar: Tensor, times: list[int]) -> Tensor:
    """[S, 8] rows of second-order multistep DPM-Solver++ without clipping (Lu et al. 2022, algorithm 2).

    Steps as in ddim_rows. The first step, which has no x0_previous, and the last, which goes to alpha_bar = 1, are of
    first order; so up to S = 2 it is DDIM.
    """
    ab = alpha_bar.double()[times]
    ab_next = torch.cat([ab[1:], ab.new_ones(1)])
    al, sg, al_next, sg_next = ab.sqrt(), (1 - ab).sqrt(), ab_next.sqrt(), (1 - ab_next).sqrt()
    first_order = al_next - al * sg_next / sg
    log_snr = (al / sg).log()
    # half the ratio of this step's length in log_snr to the last one's
    g = torch.zeros_like(al)
    g[1:-1] = (log_snr[2:] - log_snr[1:-1]) / (2 * (log_snr[1:-1] - log_snr[:-2]))
    zero = torch.zeros_like(al)
    rows = (1 / al, -sg / al, first_order * (1 + g), sg_next / sg, zero, zero, -first_order * g, zero)
    return torch.stack(rows, dim=1)


SAMPLERS = {"ddim": ddim_rows, "dpm++": dpm_solver_rows}
