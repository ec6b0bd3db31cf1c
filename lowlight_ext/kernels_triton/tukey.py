"""Tukey-lambda noise: csrc/core/tukey.h, exponential.h and sources.h, operation for operation, so the same bits."""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from lowlight_ext.common import Source
from lowlight_ext.kernels_triton.blocks import bits_of, float64_of, fused, inlined, store
from lowlight_ext.kernels_triton.noise import (
    PLACE,
    counters_of,
    exactly,
    in_order,
    key_of,
    launch_planes,
    log_uniform,
    odd_numerator,
    offsets_of,
    philox_rounds,
)

# whose words are whose
FIRST, SECOND, QUANTISATION, SIGNAL_NORMAL, ROW_NORMAL, READ_NORMAL, READ_TUKEY = (tl.constexpr(i) for i in range(1, 8))

# e^t: 1 / ln 2, 3 2^22 and its bits, -ln 2 in two parts, (e^f - 1 - f) / f^2 highest power first
LOG2_E, ROUNDER, ROUNDER_BITS = exactly("0x1.715476p+0"), exactly("0x1.8p+23"), tl.constexpr(0x4B400000)
MINUS_LN2_HIGH, MINUS_LN2_LOW = exactly("-0x1.62e43p-1"), exactly("0x1.05c61p-29")
E4, E3, E2, E1 = exactly("0x1.6d9914p-10"), exactly("0x1.12281cp-7"), exactly("0x1.555486p-5"), exactly("0x1.5554bp-3")


@inlined
def pixel_words(counter, line, layer, stream, key0, key1):
    """One word a pixel."""
    w0, w1, w2, w3 = philox_rounds(counter, line, layer, stream.to(tl.uint32), key0, key1)
    return in_order(w0, w1, w2, w3)


@inlined
def stream_word(stream, attempt, source):
    return stream + ((16 * attempt + source) << 16)


@inlined
def exponential(t):
    """-> (scale, rest), e^t = scale (1 + rest), for t in [-87, 88]; beyond taken as the bound."""
    t = tl.where(t < -87.0, -87.0, t)
    t = tl.where(t > 88.0, 88.0, t)
    shifted = fused(t, LOG2_E, ROUNDER)
    n = shifted.to(tl.int32, bitcast=True) - ROUNDER_BITS
    whole = shifted - ROUNDER
    f = fused(whole, MINUS_LN2_HIGH, t)
    f = fused(whole, MINUS_LN2_LOW, f)
    q = fused(f, E4, E3)
    q = fused(q, f, E2)
    q = fused(q, f, E1)
    q = fused(q, f, 0.5)
    return ((n + 127) << 23).to(tl.float32, bitcast=True), fused(f * f, q, f)


@inlined
def power_less_one(u, lam):
    """u^lam - 1 without cancellation, u in (0, 1)."""
    scale, rest = exponential(lam * log_uniform(u))
    return fused(scale, rest, scale - 1.0)


@inlined
def tukey_shape(lam):
    """float64 -> (lambda, 1 / lambda) in float32; a lambda whose effect lies below the last bit stands for 0."""
    lam = tl.where(tl.abs(lam) < 8.673617379884035e-19, 8.673617379884035e-19, lam)
    used = lam.to(tl.float32)
    # of the lambda that is used: its rounding must not show in the quotient
    return used, (1.0 / used.to(tl.float64)).to(tl.float32)


@inlined
def tukey_quantile(lam, inverse, word):
    m = odd_numerator(word)
    u, other = m.to(tl.float32) * 5.9604644775390625e-08, ((1 << 24) - m).to(tl.float32) * 5.9604644775390625e-08
    return (power_less_one(u, lam) - power_less_one(other, lam)) * inverse


@triton.jit(do_not_specialize=[*PLACE, "lambda_bits", "blocks"])
def tukey_kernel(
    out_ptr, lambda_bits: tl.int64,
    area, width, pitch, seeds_ptr, key_low, key_high, stream, y0: tl.int64, first: tl.int64, plane: tl.int64,
    channels, skip, blocks,
    OWN: tl.constexpr, ALIGNED: tl.constexpr, PIXELS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    group = tl.program_id(0) // blocks
    block = tl.program_id(0) - group * blocks
    key0, key1, layer = key_of(group, seeds_ptr, key_low, key_high, plane, channels, OWN)
    counter, line = counters_of(block, pitch, y0, first, PIXELS // 4, WIDE)
    word = pixel_words(counter, line, layer, stream_word(stream, 0, READ_TUKEY), key0, key1)
    lam, inverse = tukey_shape(float64_of(lambda_bits))
    offset, inside = offsets_of(block, area, width, pitch, skip, ALIGNED, PIXELS, WIDE)
    store(out_ptr + group.to(tl.int64) * area + offset, tukey_quantile(lam, inverse, word), inside)


def tukey_lambda(shape: Sequence[int], source: Source, lam: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Tukey-lambda noise of shape [B, C, H, W]."""
    out = torch.empty(shape, dtype=dtype, device=device)
    launch_planes(tukey_kernel, out, source, out, bits_of(lam))
    return out
