"""The anchored forward process and its gradients: one pass over memory, noise drawn on the way."""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from lowlight_ext.common import Source, accumulator, contiguous
from lowlight_ext.kernels_triton.blocks import empty_like, lanes, launch, launch_samples, load, store
from lowlight_ext.kernels_triton.noise import PLACE, offsets_of
from lowlight_ext.kernels_triton.step import drawn, launch_drawing


@triton.jit(do_not_specialize=["samples"])
def rows_kernel(alpha_bar_ptr, t_ptr, rows_ptr, samples, BLOCK: tl.constexpr):
    """[samples, 3] rows (sqrt(ab_t), sqrt(1 - ab_t), k_t); (1, 0, 0) where t < 0. In float64, rounded once."""
    sample = lanes(tl.program_id(0), BLOCK, True)
    inside = sample < samples
    t = tl.load(t_ptr + sample, mask=inside, other=-1)
    ab = tl.load(alpha_bar_ptr + t, mask=t >= 0, other=1.0)
    signal, sigma = tl.sqrt(ab), tl.sqrt(1.0 - ab)
    row = rows_ptr + 3 * sample
    store(row, signal, inside)
    store(row + 1, sigma, inside)
    # (1 - signal) / sigma without cancellation and without 0 / 0
    store(row + 2, sigma / (1.0 + signal), inside)


@triton.jit(do_not_specialize=[*PLACE, "blocks"])
def q_sample_kernel(
    x0_ptr, center_ptr, noise_ptr, out_ptr, anchored_ptr, rows_ptr, t_ptr,
    area, width, pitch, seeds_ptr, key_low, key_high, stream, y0: tl.int64, first: tl.int64, plane: tl.int64,
    channels, skip, blocks,
    DRAW: tl.constexpr, OWN: tl.constexpr, ALIGNED: tl.constexpr, PIXELS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """x_t = signal x0 + sigma n with n = z + k (2 center - 1); x0 itself where t < 0."""
    group = tl.program_id(0) // blocks
    block = tl.program_id(0) - group * blocks
    sample = group // channels
    signal, sigma = tl.load(rows_ptr + 3 * sample), tl.load(rows_ptr + 3 * sample + 1)
    offset, inside = offsets_of(block, area, width, pitch, skip, ALIGNED, PIXELS, WIDE)
    offset += group.to(tl.int64) * area
    x0 = load(x0_ptr + offset, inside)
    if DRAW:
        n = drawn(
            block, group, pitch, seeds_ptr, key_low, key_high, stream, y0, first, plane, channels, OWN, PIXELS, WIDE
        ).to(x0.dtype)
    else:
        n = load(noise_ptr + offset, inside)
    if center_ptr is not None:
        n = n + tl.load(rows_ptr + 3 * sample + 2) * (2.0 * load(center_ptr + offset, inside) - 1.0)
    # x0 itself, also where the noise is not finite
    value = tl.where(tl.load(t_ptr + sample) < 0, x0, signal * x0 + sigma * n)
    store(out_ptr + offset, value, inside)
    if anchored_ptr is not None:
        store(anchored_ptr + offset, n, inside)


@triton.jit(do_not_specialize=["blocks"])
def q_sample_backward_kernel(
    grad_ptr, grad_noise_ptr, to_x0_ptr, to_noise_ptr, to_center_ptr, rows_ptr, area, blocks,
    PIXELS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Gradients to those of x0, noise and center that have a place."""
    group = tl.program_id(0) // blocks
    block = tl.program_id(0) - group * blocks
    row = rows_ptr + 3 * group
    signal, sigma, anchor = tl.load(row), tl.load(row + 1), tl.load(row + 2)
    offset, inside = offsets_of(block, area, area, area, 0, True, PIXELS, WIDE)
    offset += group.to(tl.int64) * area
    g = load(grad_ptr + offset, inside)
    inner = sigma * g
    if grad_noise_ptr is not None:
        inner = inner + load(grad_noise_ptr + offset, inside)
    if to_x0_ptr is not None:
        store(to_x0_ptr + offset, signal * g, inside)
    if to_noise_ptr is not None:
        store(to_noise_ptr + offset, inner, inside)
    if to_center_ptr is not None:
        store(to_center_ptr + offset, 2.0 * anchor * inner, inside)


def _rows(t: Tensor, alpha_bar: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """-> (rows [B, 3] in the accumulator's dtype, times)."""
    alpha_bar, t = alpha_bar.double().contiguous(), t.contiguous()
    samples = t.shape[0]
    rows = torch.empty((samples, 3), dtype=accumulator(like.dtype), device=like.device)
    launch(rows_kernel, triton.cdiv(samples, 32), like, alpha_bar, t, rows, samples, BLOCK=32)
    return rows, t


def anchored_q_sample(
    x0: Tensor,
    t: Tensor,
    alpha_bar: Tensor,
    center: Tensor | None,
    noise: Tensor | None,
    source: Source | None,
    return_noise: bool,
) -> tuple[Tensor, Tensor | None]:
    """x_t = sqrt(ab_t) x0 + sqrt(1 - ab_t) n with n = noise + k_t (2 center - 1); -> (x_t, n or None)."""
    inputs, table = contiguous(x0, center, noise), _rows(t, alpha_bar, x0)
    x_t, anchored = empty_like(x0), empty_like(x0) if return_noise else None
    launch_drawing(q_sample_kernel, x0, source, *inputs, x_t, anchored, *table)
    return x_t, anchored


def anchored_q_sample_backward(
    grad: Tensor,
    grad_noise: Tensor | None,
    t: Tensor,
    alpha_bar: Tensor,
    needed: Sequence[bool] = (True, True, True),
) -> tuple[Tensor | None, ...]:
    """Gradients to x0, noise and center where `needed`."""
    inputs = contiguous(grad, grad_noise)
    rows, _ = _rows(t, alpha_bar, grad)
    results = tuple(empty_like(grad) if wanted else None for wanted in needed)
    launch_samples(q_sample_backward_kernel, grad, *inputs, *results, rows)
    return results
