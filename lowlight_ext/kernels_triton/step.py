"""The diffusion step: one pass over memory, noise drawn on the way; csrc/core/step.h, sums from left to right."""

import math
from collections.abc import Sequence
from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from lowlight_ext.common import Source, accumulator, contiguous, row_step
from lowlight_ext.kernels_triton.blocks import (
    bits_of,
    empty_like,
    float64_of,
    inlined,
    launch_groups,
    launch_samples,
    load,
    store,
)
from lowlight_ext.kernels_triton.noise import PLACE, launch_planes, normal_pixels, offsets_of, words_of


@inlined
def row_of(rows_ptr, t_ptr, row_step, sample):
    """Where the row of a sample starts."""
    if t_ptr is not None:
        index = tl.load(t_ptr + sample)
    else:
        index = (sample * row_step).to(tl.int64)
    return rows_ptr + 8 * index


@inlined
def bound(bits, like):
    """One of the clamp's, which come as the bits of a float64, in the format of `like`."""
    return float64_of(bits).to(like.dtype)


@inlined
def drawn(
    block, group, pitch, seeds_ptr, key_low, key_high, stream, y0, first, plane, channels,
    OWN: tl.constexpr, PIXELS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Normals of the block's pixels."""
    w0, w1, w2, w3 = words_of(
        block, group, pitch, seeds_ptr, key_low, key_high, stream, y0, first, plane, channels, OWN, PIXELS // 4, WIDE
    )
    return normal_pixels(w0, w1, w2, w3)


@triton.jit(do_not_specialize=[*PLACE, "row_step", "lo_bits", "hi_bits", "blocks"])
def step_kernel(
    x_t_ptr, eps_ptr, center_ptr, previous_ptr, noise_ptr, out_ptr, x0_ptr, rows_ptr, t_ptr, row_step,
    lo_bits: tl.int64, hi_bits: tl.int64,
    area, width, pitch, seeds_ptr, key_low, key_high, stream, y0: tl.int64, first: tl.int64, plane: tl.int64,
    channels, skip, blocks,
    CLIP: tl.constexpr, DRAW: tl.constexpr,
    OWN: tl.constexpr, ALIGNED: tl.constexpr, PIXELS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """x0 = clamp(p x_t + q eps), x' = a x0 + b x_t + c (2 center - 1) + d eps + e x0_previous + s z."""
    group = tl.program_id(0) // blocks
    block = tl.program_id(0) - group * blocks
    row = row_of(rows_ptr, t_ptr, row_step, group // channels)
    p, q, a, b = tl.load(row), tl.load(row + 1), tl.load(row + 2), tl.load(row + 3)
    c, d, e, s = tl.load(row + 4), tl.load(row + 5), tl.load(row + 6), tl.load(row + 7)
    offset, inside = offsets_of(block, area, width, pitch, skip, ALIGNED, PIXELS, WIDE)
    offset += group.to(tl.int64) * area
    x_t, eps = load(x_t_ptr + offset, inside), load(eps_ptr + offset, inside)
    x0 = p * x_t + q * eps
    if CLIP:
        lo, hi = bound(lo_bits, x0), bound(hi_bits, x0)
        x0 = tl.where(x0 < lo, lo, tl.where(x0 > hi, hi, x0))
    value = a * x0 + b * x_t
    if center_ptr is not None:
        value = value + c * (2.0 * load(center_ptr + offset, inside) - 1.0)
    value = value + d * eps
    if previous_ptr is not None:
        value = value + e * load(previous_ptr + offset, inside)
    if noise_ptr is not None:
        value = value + s * load(noise_ptr + offset, inside)
    if DRAW:
        z = tl.zeros([PIXELS], tl.float32)
        # drawing costs more than the rest: not for a row that does not use it
        if s != 0:
            z = drawn(
                block, group, pitch, seeds_ptr, key_low, key_high, stream, y0, first, plane, channels, OWN, PIXELS, WIDE
            )
        value = value + s * z
    store(out_ptr + offset, value, inside)
    if x0_ptr is not None:
        store(x0_ptr + offset, x0, inside)


@triton.jit(do_not_specialize=["row_step", "lo_bits", "hi_bits", "blocks"])
def step_backward_kernel(
    grad_ptr, grad_x0_ptr, x_t_ptr, eps_ptr, to_x_t_ptr, to_eps_ptr, to_center_ptr, to_previous_ptr,
    rows_ptr, t_ptr, row_step, lo_bits: tl.int64, hi_bits: tl.int64, area, blocks,
    CLIP: tl.constexpr, PIXELS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Gradients to those of x_t, eps, center and x0_previous that have a place; the clamp passes them on its bounds."""
    group = tl.program_id(0) // blocks
    block = tl.program_id(0) - group * blocks
    row = row_of(rows_ptr, t_ptr, row_step, group)
    p, q, a, b = tl.load(row), tl.load(row + 1), tl.load(row + 2), tl.load(row + 3)
    c, d, e = tl.load(row + 4), tl.load(row + 5), tl.load(row + 6)
    offset, inside = offsets_of(block, area, area, area, 0, True, PIXELS, WIDE)
    offset += group.to(tl.int64) * area
    g = load(grad_ptr + offset, inside)
    inner = a * g
    if grad_x0_ptr is not None:
        inner = inner + load(grad_x0_ptr + offset, inside)
    if CLIP:
        x0 = p * load(x_t_ptr + offset, inside) + q * load(eps_ptr + offset, inside)
        inner = tl.where((x0 >= bound(lo_bits, x0)) & (x0 <= bound(hi_bits, x0)), inner, 0.0)
    if to_x_t_ptr is not None:
        store(to_x_t_ptr + offset, p * inner + b * g, inside)
    if to_eps_ptr is not None:
        store(to_eps_ptr + offset, q * inner + d * g, inside)
    if to_center_ptr is not None:
        store(to_center_ptr + offset, 2.0 * c * g, inside)
    if to_previous_ptr is not None:
        store(to_previous_ptr + offset, e * g, inside)


def _bounds(lo: float | None, hi: float | None) -> tuple[int, int]:
    return (0, 0) if lo is None or hi is None else (bits_of(lo), bits_of(hi))


def _table(rows: Tensor, t: Tensor | None, like: Tensor) -> tuple[Tensor, Tensor | None, int]:
    """-> (rows in the accumulator's dtype, times, step from one sample's row to the next)."""
    rows = rows.to(accumulator(like.dtype)).contiguous()
    return rows, None if t is None else t.contiguous(), row_step(rows.shape[0])


def launch_drawing(kernel: Any, like: Tensor, source: Source | None, *arguments: Any, **constants: Any) -> None:
    """`kernel` on pictures: plane by plane with noise drawn from `source`, or sample by sample where there is none."""
    if source is not None:
        launch_planes(kernel, like, source, *arguments, **constants, DRAW=True)
        return
    area = math.prod(like.shape[1:])
    nowhere = (area, area, area, None, 0, 0, 0, 0, 0, 0, 1, 0)
    constants |= {"DRAW": False, "OWN": 0, "ALIGNED": True}
    launch_groups(kernel, like.shape[0], area, like, *arguments, *nowhere, **constants)


def diffusion_step(
    x_t: Tensor,
    eps: Tensor,
    rows: Tensor,
    t: Tensor | None,
    center: Tensor | None,
    x0_previous: Tensor | None,
    noise: Tensor | None,
    source: Source | None,
    lo: float | None,
    hi: float | None,
    return_x0: bool,
) -> tuple[Tensor, Tensor | None]:
    """x0 = clamp(p x_t + q eps), x' = a x0 + b x_t + c phi + d eps + e x0_previous + s z; -> (x', x0 or None)."""
    inputs = contiguous(x_t, eps, center, x0_previous, noise)
    out, estimate = empty_like(x_t), empty_like(x_t) if return_x0 else None
    arguments = (*inputs, out, estimate, *_table(rows, t, x_t), *_bounds(lo, hi))
    launch_drawing(step_kernel, x_t, source, *arguments, CLIP=lo is not None)
    return out, estimate


def diffusion_step_backward(
    grad: Tensor,
    grad_x0: Tensor | None,
    x_t: Tensor,
    eps: Tensor,
    rows: Tensor,
    t: Tensor | None,
    lo: float | None,
    hi: float | None,
    needed: Sequence[bool] = (True, True, True, True),
) -> tuple[Tensor | None, ...]:
    """Gradients to x_t, eps, center and x0_previous where `needed`; the clamp passes them on its bounds."""
    results = tuple(empty_like(grad) if wanted else None for wanted in needed)
    arguments = (*contiguous(grad, grad_x0, x_t, eps), *results, *_table(rows, t, grad), *_bounds(lo, hi))
    launch_samples(step_backward_kernel, grad, *arguments, CLIP=lo is not None)
    return results
