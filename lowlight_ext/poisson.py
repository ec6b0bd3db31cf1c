"""Counts of photons and the read noise of a sensor, as functions of (seed, stream, plane, y, x) alone.

As `normal`, but from other words of Philox: counter word 3 is stream + 2^16 (16 attempt + source), one source a use
(csrc/core/sources.h), so that noise of one stream and several kinds is independent.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lowlight_ext import checks, kernels_compiled
from lowlight_ext.backends import implementation
from lowlight_ext.common import Source
from lowlight_ext.noise import check_draw, draw, placed
from lowlight_ext.registry import PLACE, register

MOST_MEAN = 1e7
MOST_LAMBDA = 5.0


def _check_mean(mean: Tensor, source: Source) -> None:
    check_draw("poisson", mean.shape, source, mean.dtype)


def _poisson(mean: Tensor, source: Source) -> Tensor:
    kernels = implementation("poisson", mean.device.type)
    out = kernels.poisson(mean, source)
    # C++ has looked and raised; on a GPU a look would wait for it, and end the recording of a graph
    if mean.is_cpu and kernels is not kernels_compiled and (wrong := int(out.isnan().sum())):
        raise checks.fail("poisson", "mean", "in [0, 1e7]", f"{wrong} values that are not")
    return out


_poisson_op = register(
    f"poisson(Tensor mean, {PLACE}) -> Tensor",
    _check_mean,
    lambda mean, source: mean.new_empty(mean.shape),
    kernel=_poisson,
    backward=lambda ctx, grad: (grad, None),
    context=lambda ctx, inputs, output: None,
)


def _check_lambda(shape: Sequence[int], source: Source, lam: float, dtype: torch.dtype, device: torch.device) -> None:
    check_draw("tukey_lambda", shape, source, dtype)
    if not abs(lam) <= MOST_LAMBDA:
        raise checks.fail("tukey_lambda", "lam", f"in [-{MOST_LAMBDA:g}, {MOST_LAMBDA:g}]", lam)


_tukey_op = register(
    f"tukey_lambda(SymInt[] shape, {PLACE}, float lam, ScalarType dtype, Device device) -> Tensor",
    _check_lambda,
    lambda shape, source, lam, dtype, device: torch.empty(shape, dtype=dtype, device=device),
)


def poisson(
    mean: Tensor, seed: int | Tensor, *, stream: int = 0, origin: tuple[int, int] = (0, 0), plane: int = 0
) -> Tensor:
    """Poisson counts, one for each mean: inversion below 10, transformed rejection (PTRS, Hoermann 1993) from 10 on.

    mean: [B, C, H, W], or any other shape, with the layout of `normal`; float32, float64, float16 or bfloat16, values
    in [0, 1e7], taken in float32. seed, stream, origin, plane: as `normal`. The result has the mean's shape and dtype
    (float16 and bfloat16 round counts above 2048 and 256, float16 overflows above 65504) and is contiguous.
    A count is a function of (seed, stream, plane, y, x) and its own mean: not of batch, tile, threads or device. It is
    the same integer on every backend: all decisions are made by the same float32 operations, but for the tail of
    inversion (one pixel in a thousand), where the reference's float64 exponential may differ with odds below 1e-12.
    Gradient: of the mean, straight through (d count / d mean = 1), as ExposureDiffusion trains.
    Raises TypeError on a mean that is no tensor, ValueError on a dtype, seed or place that does not fit, and on the CPU
    on a mean that is NaN, negative or above 1e7; on a GPU the count of such a mean is NaN.
    """
    checks.tensor("poisson", "mean", mean)
    checks.floating("poisson", "mean", mean)
    place, seeds = placed("poisson", tuple(mean.shape), seed)
    return _poisson_op(mean.reshape(place), Source(seeds, stream, *origin, plane)).reshape(mean.shape)


def tukey_lambda(
    shape: Sequence[int],
    seed: int | Tensor,
    lam: float,
    *,
    stream: int = 0,
    origin: tuple[int, int] = (0, 0),
    plane: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Tukey-lambda noise (u^lam - (1 - u)^lam) / lam, ln(u / (1 - u)) at lam = 0: read noise with heavy tails.

    lam: in [-5, 5]; 0.14 is nearly normal (of deviation 1.46), 2 uniform on [-1/2, 1/2]; smooth through 0.
    Everything else as `normal`. No gradients. Within 1e-6 (relative to 1 + |value|) of the reference, which evaluates
    in float64; the compiled backends agree to the bit in float32.
    Raises TypeError on a seed of another kind, ValueError on a place, dtype, shape or lam outside these ranges.
    """
    kind = (float(lam), dtype, torch.device(device))
    return draw("tukey_lambda", _tukey_op, shape, seed, stream, origin, plane, *kind)
