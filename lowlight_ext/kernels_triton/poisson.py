"""Poisson counts: csrc/core/poisson.h, operation for operation, so the same integers as C++.

Inversion of the distribution function below 10, transformed rejection from there on. A block goes on until the last of
its pixels is decided; those that are keep what they have.
"""

import triton
import triton.language as tl
from torch import Tensor

from lowlight_ext.common import Source
from lowlight_ext.kernels_triton.blocks import empty_like, fused, inlined, load, store
from lowlight_ext.kernels_triton.noise import (
    PLACE,
    counters_of,
    exactly,
    key_of,
    launch_planes,
    log_uniform,
    offsets_of,
    uniform_of,
)
from lowlight_ext.kernels_triton.tukey import FIRST, SECOND, exponential, pixel_words, stream_word

INVERSION_BELOW, MOST_MEAN = tl.constexpr(10.0), tl.constexpr(1e7)
MOST_ATTEMPTS = tl.constexpr(64)
# steps of inversion, between two looks whether any pixel needs more; of the means below 10 none has more than 23 counts
# below the tail, which is a thousandth, and none more than 39 in the 2^-33 that ends it
STEPS, LOOKS, TAIL_LOOKS = tl.constexpr(8), tl.constexpr(3), tl.constexpr(5)
# pixels that take turns in the tail, a thread's, and the turn of those that have had theirs
TURNS, NONE = tl.constexpr(4), tl.constexpr(1 << 30)
# pixels of a program that draws counts: one warp, which waits for its own slowest pixel alone
BLOCK = 128

# ln k!, and ln(z / mean) where they are near each other
F5, F4, F3 = exactly("0x1.6eed0cp-13"), exactly("-0x1.1a7be4p-11"), exactly("-0x1.6af0d6p-13")
F2, F1, F0 = exactly("0x1.446468p-9"), exactly("-0x1.35bb76p-18"), exactly("-0x1.555504p-5")
D3, D2 = exactly("0x1.e67faep-4"), exactly("0x1.242bd4p-3")
D1, D0 = exactly("0x1.999a6ep-3"), exactly("0x1.555556p-2")
ROOT_TWO_PI = exactly("0x1.40d932p+1")


@inlined
def any_of(mask):
    return tl.max(mask.to(tl.int32), axis=0) > 0


@inlined
def first_not_below(left, probability, mean, LOOKS: tl.constexpr):
    """The first k with left <= P(0) + .. + P(k), of P(0) = probability; float32 or float64."""
    count = tl.zeros_like(left)
    for look in tl.static_range(LOOKS):
        if any_of(left > probability):
            for step in tl.static_range(STEPS):
                count = tl.where(left > probability, count + 1.0, count)
                left = left - probability
                probability = probability * (mean * (1.0 / (STEPS * look + step + 1)))
    return count


@inlined
def tail_counts(mean, word):
    """In float64; e^-mean as the 32nd power of a Taylor series."""
    mean = mean.to(tl.float64)
    x = mean * -0.03125
    zero = 1.0 + x / 12
    for i in tl.static_range(11):
        zero = 1.0 + zero * x / (11 - i)
    for _ in tl.static_range(5):
        zero = zero * zero
    level = 1.0 - (word.to(tl.float64) + 0.5) * 2.3283064365386963e-10
    return first_not_below(level, zero, mean, TAIL_LOOKS).to(tl.float32)


@inlined
def with_tails(count, mean, word, tail, PIXELS: tl.constexpr):
    """Counts in float64 where `tail`, one pixel in a thousand: of every four pixels one at a time."""
    groups: tl.constexpr = PIXELS // TURNS
    count, mean = tl.reshape(count, [groups, TURNS]), tl.reshape(mean, [groups, TURNS])
    # the words of a tail have 22 bits; a number of its own for each pixel of a group
    turn = tl.where(tail, word.to(tl.int32) * TURNS, NONE)
    turn = tl.reshape(turn, [groups, TURNS])
    turn = tl.where(turn < NONE, turn + tl.arange(0, TURNS)[None, :], NONE)
    now = tl.min(turn, axis=1)
    while tl.min(now, axis=0) < NONE:
        chosen = (turn == now[:, None]) & (turn < NONE)
        # a sum of one term; a group without a turn has mean 0 and is done at once
        counted = tail_counts(tl.sum(tl.where(chosen, mean, 0.0), axis=1), now // TURNS)
        count = tl.where(chosen, counted[:, None], count)
        turn = tl.where(chosen, NONE, turn)
        now = tl.min(turn, axis=1)
    return tl.reshape(count, [PIXELS])


@inlined
def inversion(mean, word, PIXELS: tl.constexpr):
    """Means in [0, 10); a large word is a small level."""
    level = (((word ^ 0xFFFFFFFF) >> 8).to(tl.int32).to(tl.float32) + 0.5) * 5.9604644775390625e-08
    scale, rest = exponential(0.0 - mean)
    count = first_not_below(level, fused(scale, rest, scale), mean, LOOKS)
    # a mean of 0 has no tail
    tail = ((word >> 22) == 0) & (mean > 0)
    if any_of(tail):
        count = with_tails(count, mean, word, tail, PIXELS)
    return count


@inlined
def floor_of(x):
    """Of |x| below 2^31."""
    whole = x.to(tl.int32).to(tl.float32)
    return tl.where(whole > x, whole - 1.0, whole)


@inlined
def factorial_correction(z):
    x = tl.div_rn(1.0, z)
    c = F5 * x + F4
    c = c * x + F3
    c = c * x + F2
    c = c * x + F1
    c = c * x + F0
    return c * x


@inlined
def deviance(mean, z, delta):
    v = tl.div_rn(delta, mean + z)
    w = v * v
    series = D3 * w + D2
    series = series * w + D1
    series = series * w + D0
    near = v * delta + ((2.0 * z) * (v * w)) * series
    far = z * log_uniform(tl.div_rn(z, mean)) - delta
    return tl.where(w < 0.04, near, far)


@inlined
def attempt_rejection(mean, root, first, second):
    """-> (candidates, whether they are accepted); root = sqrt(mean)."""
    b = 2.53 * root + 0.931
    a = 0.02483 * b - 0.059
    proposal = (first ^ 0x80000000).to(tl.int32, bitcast=True).to(tl.float32) * 2.3283064365386963e-10
    us = 0.5 - tl.abs(proposal)
    slope = tl.div_rn(a, us)
    shift = (2.0 * slope + b) * proposal
    shift = tl.where(shift < -1e9, -1e9, shift)
    shift = tl.where(shift > 1e9, 1e9, shift)
    whole = floor_of(mean)
    fraction = mean - whole
    offset = floor_of(shift + (fraction + 0.43))
    count = whole + offset
    v = uniform_of(second)
    quick = (us >= 0.07) & ((0.9277 - v) * (b - 2.0) >= 3.6224)
    width = b - 3.4
    above = ((v * us) * (1.1239 * width + 1.1328)) * (ROOT_TWO_PI * root)
    height = tl.div_rn(above, width * (slope + b * us))
    z, delta = count + 0.5, (offset + 0.5) - fraction
    under = log_uniform(height) + factorial_correction(z) <= 0.0 - deviance(mean, z, delta)
    return count, quick | (under & (count >= 0.0) & ((us >= 0.013) | (v <= us)))


@inlined
def rejection(mean, left, counter, line, layer, stream, key0, key1):
    """Counts where `left`; means in [10, 1e7]."""
    root, count, attempt = tl.sqrt_rn(mean), mean, 0
    while any_of(left) & (attempt < MOST_ATTEMPTS):
        first = pixel_words(counter, line, layer, stream_word(stream, attempt, FIRST), key0, key1)
        second = pixel_words(counter, line, layer, stream_word(stream, attempt, SECOND), key0, key1)
        candidate, accepted = attempt_rejection(mean, root, first, second)
        count = tl.where(left, candidate, count)
        # (triton 3.2 has no ~ of masks in its interpreter)
        left = left & (accepted == 0)
        attempt += 1
    return count


@inlined
def poisson_counts(mean, inside, counter, line, layer, stream, key0, key1, PIXELS: tl.constexpr):
    """Of float32 means; NaN where one is not in [0, 1e7]."""
    mean = tl.where(inside, mean, 0.0)
    small = (mean >= 0.0) & (mean < INVERSION_BELOW)
    large = (mean >= INVERSION_BELOW) & (mean <= MOST_MEAN)
    count = tl.where(small | large, 0.0, float("nan"))
    if any_of(small & (mean > 0.0)):
        word = pixel_words(counter, line, layer, stream_word(stream, 0, FIRST), key0, key1)
        count = tl.where(small, inversion(tl.where(small, mean, 0.0), word, PIXELS), count)
    if any_of(large):
        drawn = rejection(tl.where(large, mean, INVERSION_BELOW), large, counter, line, layer, stream, key0, key1)
        count = tl.where(large, drawn, count)
    return count


@triton.jit(do_not_specialize=[*PLACE, "blocks"])
def poisson_kernel(
    mean_ptr, out_ptr,
    area, width, pitch, seeds_ptr, key_low, key_high, stream, y0: tl.int64, first: tl.int64, plane: tl.int64,
    channels, skip, blocks,
    OWN: tl.constexpr, ALIGNED: tl.constexpr, PIXELS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    group = tl.program_id(0) // blocks
    block = tl.program_id(0) - group * blocks
    key0, key1, layer = key_of(group, seeds_ptr, key_low, key_high, plane, channels, OWN)
    counter, line = counters_of(block, pitch, y0, first, PIXELS // 4, WIDE)
    offset, inside = offsets_of(block, area, width, pitch, skip, ALIGNED, PIXELS, WIDE)
    offset += group.to(tl.int64) * area
    mean = load(mean_ptr + offset, inside).to(tl.float32)
    count = poisson_counts(mean, inside, counter, line, layer, stream, key0, key1, PIXELS)
    store(out_ptr + offset, count, inside)


def counting() -> dict:
    """How a kernel that draws counts is launched."""
    return {"most": BLOCK, "num_warps": 1}


def poisson(mean: Tensor, source: Source) -> Tensor:
    """Poisson counts of means [B, C, H, W], in their dtype; NaN for a mean that is none."""
    mean = mean.contiguous()
    out = empty_like(mean)
    launch_planes(poisson_kernel, mean, source, mean, out, **counting())
    return out
