"""Noise of a raw sensor and the exposure process: one pass over memory, everything random drawn on the way.

csrc/core/exposure.h, operation for operation, so the same bits; digital numbers unless said otherwise.
"""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from lowlight_ext.common import Source, contiguous, row_step
from lowlight_ext.kernels_triton.blocks import bits_of, empty_like, float64_of, inlined, launch_samples, load, store
from lowlight_ext.kernels_triton.noise import (
    PLACE,
    counters_of,
    in_order,
    key_of,
    launch_planes,
    normal_pair,
    normal_pixels,
    offsets_of,
    philox_rounds,
    uniform_of,
)
from lowlight_ext.kernels_triton.poisson import counting, poisson_counts
from lowlight_ext.kernels_triton.step import launch_drawing
from lowlight_ext.kernels_triton.tukey import (
    QUANTISATION,
    READ_NORMAL,
    READ_TUKEY,
    ROW_NORMAL,
    SIGNAL_NORMAL,
    pixel_words,
    stream_word,
    tukey_quantile,
    tukey_shape,
)

# bits of `parts`, as in csrc/core/exposure.h
QUANTISED, POISSON, SHOT, ROWS, READ, TUKEY = (tl.constexpr(1 << i) for i in range(6))


@inlined
def root_of(x):
    if x.dtype == tl.float64:
        root = tl.sqrt(x)
    else:
        root = tl.sqrt_rn(x)
    return root


@inlined
def not_below_zero(x):
    """NaN passes."""
    return tl.where(x < 0.0, 0.0, x)


@inlined
def unit(x):
    x = not_below_zero(x)
    return tl.where(x > 1.0, 1.0, x)


@inlined
def normals(counter, line, layer, stream, key0, key1):
    w0, w1, w2, w3 = philox_rounds(counter, line, layer, stream.to(tl.uint32), key0, key1)
    return normal_pixels(w0, w1, w2, w3)


@inlined
def row_normals(counter, line, channel, layer, stream, key0, key1):
    """Of the sensor's rows, one a pixel: pixel 0 of the row, in the sample's first plane `layer`.

    A packed row holds R and G1 of one row of the sensor, B and G2 of the next.
    """
    sensor_row = line * 2 + (channel >> 1).to(tl.uint32)
    w0, w1, _w2, _w3 = philox_rounds(counter * 0, sensor_row, layer, stream.to(tl.uint32), key0, key1)
    z, _ = normal_pair(w0, w1)
    return in_order(z, z, z, z)


@triton.jit(do_not_specialize=[*PLACE, "row_step", "saturation_bits", "blocks"])
def raw_noise_kernel(
    clean_ptr, out_ptr, columns_ptr, row_step, saturation_bits: tl.int64,
    area, width, pitch, seeds_ptr, key_low, key_high, stream, y0: tl.int64, first: tl.int64, plane: tl.int64,
    channels, skip, blocks,
    PARTS: tl.constexpr, CLIP: tl.constexpr,
    OWN: tl.constexpr, ALIGNED: tl.constexpr, PIXELS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """y = clean S / ratio, then u, P or p, r, g or G, then y ratio / S; columns as in csrc/core/exposure.h."""
    group = tl.program_id(0) // blocks
    block = tl.program_id(0) - group * blocks
    sample = group // channels
    channel = group - sample * channels
    key0, key1, layer = key_of(group, seeds_ptr, key_low, key_high, plane, channels, OWN)
    counter, line = counters_of(block, pitch, y0, first, PIXELS // 4, WIDE)
    offset, inside = offsets_of(block, area, width, pitch, skip, ALIGNED, PIXELS, WIDE)
    offset += group.to(tl.int64) * area
    clean = load(clean_ptr + offset, inside)
    # in float64, rounded once
    column, saturation = columns_ptr + 6 * (sample * row_step).to(tl.int64), float64_of(saturation_bits)
    gain, ratio = tl.load(column), tl.load(column + 1)
    y = clean * (saturation / ratio).to(clean.dtype)
    if QUANTISED & PARTS:
        u = uniform_of(pixel_words(counter, line, layer, stream_word(stream, 0, QUANTISATION), key0, key1))
        y = not_below_zero(y + (u.to(y.dtype) - 0.5))
    if POISSON & PARTS:
        mean = not_below_zero(y * (1.0 / gain).to(y.dtype)).to(tl.float32)
        count = poisson_counts(mean, inside, counter, line, layer, stream, key0, key1, PIXELS)
        y = gain.to(y.dtype) * count.to(y.dtype)
    elif SHOT & PARTS:
        variance = gain.to(y.dtype) * y
        z = normals(counter, line, layer, stream_word(stream, 0, SIGNAL_NORMAL), key0, key1)
        y = y + root_of(tl.where(variance < 1e-10, 1e-10, variance)) * z.to(y.dtype)
    if ROWS & PARTS:
        _, _, whole = key_of(group - channel, seeds_ptr, key_low, key_high, plane, channels, OWN)
        z = row_normals(counter, line, channel, whole, stream_word(stream, 0, ROW_NORMAL), key0, key1)
        y = y + tl.load(column + 5).to(y.dtype) * z.to(y.dtype)
    if READ & PARTS:
        z = normals(counter, line, layer, stream_word(stream, 0, READ_NORMAL), key0, key1)
        y = y + tl.load(column + 2).to(y.dtype) * z.to(y.dtype)
    elif TUKEY & PARTS:
        lam, inverse = tukey_shape(tl.load(column + 4))
        word = pixel_words(counter, line, layer, stream_word(stream, 0, READ_TUKEY), key0, key1)
        y = y + tl.load(column + 3).to(y.dtype) * tukey_quantile(lam, inverse, word).to(y.dtype)
    y = y * (ratio / saturation).to(y.dtype)
    if CLIP:
        y = unit(y)
    store(out_ptr + offset, y, inside)


@triton.jit(do_not_specialize=[*PLACE, "row_step", "blocks"])
def exposure_kernel(
    output_ptr, original_ptr, counts_ptr, out_ptr, columns_ptr, row_step,
    area, width, pitch, seeds_ptr, key_low, key_high, stream, y0: tl.int64, first: tl.int64, plane: tl.int64,
    channels, skip, blocks,
    DRAW: tl.constexpr, OWN: tl.constexpr, ALIGNED: tl.constexpr, PIXELS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """x = c (b clamp(original) + n), n ~ Poisson(a clamp(output)), or the counts given, or with neither the mean."""
    group = tl.program_id(0) // blocks
    block = tl.program_id(0) - group * blocks
    offset, inside = offsets_of(block, area, width, pitch, skip, ALIGNED, PIXELS, WIDE)
    offset += group.to(tl.int64) * area
    column = columns_ptr + 3 * (group // channels * row_step).to(tl.int64)
    if counts_ptr is not None:
        counts = load(counts_ptr + offset, inside)
    else:
        counts = load(output_ptr + offset, inside)
        counts = tl.load(column).to(counts.dtype) * unit(counts)
    if DRAW:
        key0, key1, layer = key_of(group, seeds_ptr, key_low, key_high, plane, channels, OWN)
        counter, line = counters_of(block, pitch, y0, first, PIXELS // 4, WIDE)
        mean = counts.to(tl.float32)
        counts = poisson_counts(mean, inside, counter, line, layer, stream, key0, key1, PIXELS).to(counts.dtype)
    # only now: drawing needs the registers
    original = load(original_ptr + offset, inside)
    b, c = tl.load(column + 1).to(original.dtype), tl.load(column + 2).to(original.dtype)
    store(out_ptr + offset, c * (b * unit(original) + counts), inside)


@inlined
def clamped_gradient(factor, g, x):
    """Of factor times unit(x), which passes the gradient on its bounds."""
    return tl.where((x >= 0.0) & (x <= 1.0), factor * g, 0.0)


@triton.jit(do_not_specialize=["row_step", "blocks"])
def exposure_backward_kernel(
    grad_ptr, output_ptr, original_ptr, to_output_ptr, to_original_ptr, columns_ptr, row_step, area, blocks,
    PIXELS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Gradients to those of output, straight through the counts, and original that have a place."""
    group = tl.program_id(0) // blocks
    block = tl.program_id(0) - group * blocks
    offset, inside = offsets_of(block, area, area, area, 0, True, PIXELS, WIDE)
    offset += group.to(tl.int64) * area
    g = load(grad_ptr + offset, inside)
    column = columns_ptr + 3 * (group * row_step).to(tl.int64)
    a, b, c = tl.load(column).to(g.dtype), tl.load(column + 1).to(g.dtype), tl.load(column + 2).to(g.dtype)
    if to_output_ptr is not None:
        store(to_output_ptr + offset, clamped_gradient(c * a, g, load(output_ptr + offset, inside)), inside)
    if to_original_ptr is not None:
        store(to_original_ptr + offset, clamped_gradient(c * b, g, load(original_ptr + offset, inside)), inside)


def _columns(rows: Tensor) -> tuple[Tensor, int]:
    """-> (float64 rows, step from one sample's row to the next)."""
    return rows.to(torch.float64).contiguous(), row_step(rows.shape[0])


def raw_noise(clean: Tensor, rows: Tensor, parts: int, saturation: float, clip: bool, source: Source) -> Tensor:
    """Clean raw [B, 4, H, W] -> noisy raw; rows (K, ratio, g_scale, G_scale, G_shape, R_scale)."""
    clean = clean.contiguous()
    columns, out = _columns(rows), empty_like(clean)
    constants = {"PARTS": parts, "CLIP": clip, **(counting() if parts & POISSON.value else {})}
    launch_planes(raw_noise_kernel, clean, source, clean, out, *columns, bits_of(saturation), **constants)
    return out


def exposure_step(
    output: Tensor, original: Tensor, rows: Tensor, counts: Tensor | None, source: Source | None
) -> Tensor:
    """c (b clamp(original) + n), n ~ Poisson(a clamp(output)), or the counts given, or with neither the mean."""
    inputs, out = contiguous(output, original, counts), empty_like(output)
    constants = {} if source is None else counting()
    launch_drawing(exposure_kernel, output, source, *inputs, out, *_columns(rows), **constants)
    return out


def exposure_step_backward(
    grad: Tensor, output: Tensor, original: Tensor, rows: Tensor, needed: Sequence[bool] = (True, True)
) -> tuple[Tensor | None, ...]:
    """Gradients to output and original where `needed`."""
    inputs, columns = contiguous(grad, output, original), _columns(rows)
    results = tuple(empty_like(grad) if wanted else None for wanted in needed)
    launch_samples(exposure_backward_kernel, grad, *inputs, *results, *columns)
    return results
