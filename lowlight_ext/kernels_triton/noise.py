"""Philox4x32-10, uniforms and normals: csrc/core/philox.h and normal.h, operation for operation, so the same bits."""

import struct
from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from lowlight_ext.common import Source
from lowlight_ext.graphs import brought
from lowlight_ext.kernels_triton.blocks import fused, inlined, lanes, launch, launch_groups, pixels_a_program, store

MASK = tl.constexpr(0xFFFFFFFF)
MULTIPLIER_0, MULTIPLIER_1 = tl.constexpr(0xD2511F53), tl.constexpr(0xCD9E8D57)
WEYL_0, WEYL_1 = tl.constexpr(0x9E3779B9), tl.constexpr(0xBB67AE85)


def exactly(digits: str) -> tl.constexpr:
    """A float32 in C's notation."""
    return tl.constexpr(float.fromhex(digits))


SQRT_HALF = tl.constexpr(0x3F3504F3)
# ln(1 + f) = f - f^2 / 2 + f^3 P(f), highest power first; ln 2 in two parts
P7, P6 = exactly("-0x1.38c49ep-4"), exactly("0x1.055d5ep-3")
P5, P4 = exactly("-0x1.0d8292p-3"), exactly("0x1.22d964p-3")
P3, P2 = exactly("-0x1.547288p-3"), exactly("0x1.99a01ap-3")
P1, P0 = exactly("-0x1.000226p-2"), exactly("0x1.555554p-2")
LN2_HIGH, LN2_LOW = exactly("0x1.62e43p-1"), exactly("-0x1.05c61p-29")
# sin(pi r / 2) = r pi/2 + r S(r^2), cos(pi r / 2) = 1 + r^2 C(r^2); S0 is what pi/2 lacks in float32
S3, S2 = exactly("-0x1.2da156p-8"), exactly("0x1.465eeap-4")
S1, S0 = exactly("-0x1.4abbbap-1"), exactly("-0x1.a32bd2p-25")
HALF_PI = exactly("0x1.921fb6p+0")
C4, C3 = exactly("0x1.d4f7eep-11"), exactly("-0x1.55b2b6p-6")
C2, C1 = exactly("0x1.03c1bp-2"), exactly("-0x1.3bd3ccp+0")


@inlined
def philox_rounds(w0, w1, w2, w3, key0, key1):
    """Four uint32 words of a counter; the keys are int64 holding 32 bits."""
    for i in tl.static_range(10):
        a, b = w0.to(tl.uint64) * MULTIPLIER_0, w2.to(tl.uint64) * MULTIPLIER_1
        # of 64 bits and then cut: the carry beyond 32 is meant
        k0, k1 = (key0 + i * WEYL_0).to(tl.uint32), (key1 + i * WEYL_1).to(tl.uint32)
        w0, w1, w2, w3 = (
            (b >> 32).to(tl.uint32) ^ w1 ^ k0,
            b.to(tl.uint32),
            (a >> 32).to(tl.uint32) ^ w3 ^ k1,
            a.to(tl.uint32),
        )
    return w0, w1, w2, w3


@inlined
def odd_numerator(word):
    return ((word >> 8) | 1).to(tl.int32)


@inlined
def uniform_of(word):
    return odd_numerator(word).to(tl.float32) * 5.9604644775390625e-08


@inlined
def log_uniform(u):
    bits = u.to(tl.int32, bitcast=True)
    e = (bits - SQRT_HALF) >> 23
    f = (bits - (e << 23)).to(tl.float32, bitcast=True) - 1.0
    exponent = e.to(tl.float32)
    f2 = f * f
    p = fused(f, P7, P6)
    p = fused(p, f, P5)
    p = fused(p, f, P4)
    p = fused(p, f, P3)
    p = fused(p, f, P2)
    p = fused(p, f, P1)
    p = fused(p, f, P0)
    tail = fused(exponent, LN2_LOW, (f2 * f) * p)
    tail = fused(f2, -0.5, tail)
    return fused(exponent, LN2_HIGH, f + tail)


@inlined
def turn(m):
    """cos and sin of 2 pi m 2^-24."""
    quadrant = (m + 0x200000) >> 22
    r = (m - (quadrant << 22)).to(tl.float32) * 2.384185791015625e-07
    z = r * r
    s = fused(z, S3, S2)
    s = fused(s, z, S1)
    s = fused(s, z, S0)
    s = fused(r, HALF_PI, r * s)
    c = fused(z, C4, C3)
    c = fused(c, z, C2)
    c = fused(c, z, C1)
    c = fused(c, z, 1.0)
    swap = (quadrant & 1) != 0
    cosine = tl.where(swap, s, c).to(tl.uint32, bitcast=True) ^ (((quadrant + 1) & 2).to(tl.uint32) << 30)
    sine = tl.where(swap, c, s).to(tl.uint32, bitcast=True) ^ ((quadrant & 2).to(tl.uint32) << 30)
    return cosine.to(tl.float32, bitcast=True), sine.to(tl.float32, bitcast=True)


@inlined
def normal_pair(even, odd):
    radius = tl.sqrt_rn(-2.0 * log_uniform(uniform_of(even)))
    cosine, sine = turn(odd_numerator(odd))
    return radius * cosine, radius * sine


@inlined
def in_order(a, b, c, d):
    """[n] each -> [4 n]: a0 b0 c0 d0 a1 ..."""
    return tl.interleave(tl.interleave(a, c), tl.interleave(b, d))


@inlined
def normal_pixels(w0, w1, w2, w3):
    a, b = normal_pair(w0, w1)
    c, d = normal_pair(w2, w3)
    return in_order(a, b, c, d)


@inlined
def key_of(group, seeds_ptr, key_low, key_high, plane, channels, OWN: tl.constexpr):
    """-> (key, counter word 2) of plane `group` = sample * channels + channel; see Place."""
    sample = group // channels
    if seeds_ptr is not None:
        seed = tl.load(seeds_ptr + sample * OWN)
        key0, key1 = seed & MASK, (seed >> 32) & MASK
    else:
        key0, key1 = key_low.to(tl.int64) & MASK, key_high.to(tl.int64) & MASK
    if OWN:
        group = group - sample * channels
    return key0, key1, (plane.to(tl.int64) + group).to(tl.uint32)


@inlined
def counters_of(block, pitch, y0, first, COUNTERS: tl.constexpr, WIDE: tl.constexpr):
    """-> counter words 0 and 1 of the block's counters; see Place."""
    item = lanes(block, COUNTERS, WIDE)
    per_row = pitch // 4
    y = item // per_row
    quad = item - y * per_row
    return (first.to(tl.int64) + quad).to(tl.uint32), (y0.to(tl.int64) + y).to(tl.uint32)


@inlined
def words_of(
    block, group, pitch, seeds_ptr, key_low, key_high, stream, y0, first, plane, channels,
    OWN: tl.constexpr, COUNTERS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Words of the block's counters in plane `group`."""
    key0, key1, layer = key_of(group, seeds_ptr, key_low, key_high, plane, channels, OWN)
    counter, line = counters_of(block, pitch, y0, first, COUNTERS, WIDE)
    return philox_rounds(counter, line, layer, stream.to(tl.uint32), key0, key1)


@inlined
def offsets_of(block, area, width, pitch, skip, ALIGNED: tl.constexpr, PIXELS: tl.constexpr, WIDE: tl.constexpr):
    """Of the block's pixels in their plane, and which of them lie in the picture."""
    if ALIGNED:
        offset = lanes(block, PIXELS, WIDE)
        inside = offset < area
    else:
        place = lanes(block, PIXELS, WIDE)
        y = place // pitch
        x = place - y * pitch - skip
        offset = y * width + x
        inside = (x >= 0) & (x < width) & (offset < area)
    return offset, inside


# the arguments of `Place`, in order; their values change from call to call and must not make a kernel anew. What may
# leave 32 bits is an int64 by its annotation: an int would be one or the other by its value, do_not_specialize or not
PLACE = ["key_low", "key_high", "stream", "y0", "first", "plane", "channels", "skip"]


@triton.jit(do_not_specialize=[*PLACE, "blocks"])
def noise_kernel(
    out_ptr,
    area, width, pitch, seeds_ptr, key_low, key_high, stream, y0: tl.int64, first: tl.int64, plane: tl.int64,
    channels, skip, blocks,
    NORMAL: tl.constexpr, OWN: tl.constexpr, ALIGNED: tl.constexpr, PIXELS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    group = tl.program_id(0) // blocks
    block = tl.program_id(0) - group * blocks
    w0, w1, w2, w3 = words_of(
        block, group, pitch, seeds_ptr, key_low, key_high, stream, y0, first, plane, channels, OWN, PIXELS // 4, WIDE
    )
    if NORMAL:
        value = normal_pixels(w0, w1, w2, w3)
    else:
        value = in_order(uniform_of(w0), uniform_of(w1), uniform_of(w2), uniform_of(w3))
    offset, inside = offsets_of(block, area, width, pitch, skip, ALIGNED, PIXELS, WIDE)
    store(out_ptr + group.to(tl.int64) * area + offset, value, inside)


@triton.jit(do_not_specialize=["count"])
def philox_kernel(counter_ptr, key_ptr, words_ptr, count, BLOCK: tl.constexpr):
    item = lanes(tl.program_id(0), BLOCK, True)
    inside = item < count
    counter, key, words = counter_ptr + 4 * item, key_ptr + 2 * item, words_ptr + 4 * item
    w0, w1, w2, w3 = philox_rounds(
        tl.load(counter, mask=inside).to(tl.uint32),
        tl.load(counter + 1, mask=inside).to(tl.uint32),
        tl.load(counter + 2, mask=inside).to(tl.uint32),
        tl.load(counter + 3, mask=inside).to(tl.uint32),
        tl.load(key, mask=inside) & MASK,
        tl.load(key + 1, mask=inside) & MASK,
    )
    tl.store(words, w0.to(tl.int64), mask=inside)
    tl.store(words + 1, w1.to(tl.int64), mask=inside)
    tl.store(words + 2, w2.to(tl.int64), mask=inside)
    tl.store(words + 3, w3.to(tl.int64), mask=inside)


class Place:
    """Where the noise of [B, C, H, W] lies, as the kernels take it: plane by plane, counters from x0 // 4 on a row."""

    def __init__(self, shape: Sequence[int], source: Source, device: torch.device) -> None:
        seeds, stream, y0, x0, plane = source
        batch, channels, height, width = shape
        if isinstance(seeds, Tensor) and seeds.numel() not in (1, batch):
            raise ValueError(f"seeds: takes 1 or {batch}, one a sample, got {seeds.numel()}")
        first, skip = x0 // 4, x0 % 4
        pitch = (skip + width + 3) // 4 * 4
        # one seed known to the host is an argument: a copy to the device would wait for it
        if isinstance(seeds, Tensor) and seeds.numel() == 1 and seeds.is_cpu:
            seeds = int(seeds)
        seed, one = (seeds, True) if isinstance(seeds, int) else (0, seeds.numel() == 1)
        self.seeds = None if isinstance(seeds, int) else brought(seeds, device).contiguous()
        self.groups, self.area, self.width, self.pitch = batch * channels, height * width, width, pitch
        self.size = pitch * height
        # words with their sign: an argument of 2^31 and more would be an int64, another kernel to compile in mid-run
        low, high = struct.unpack("<ii", struct.pack("<Q", seed & 0xFFFFFFFFFFFFFFFF))
        self.arguments = (low, high, stream, y0, first, plane, channels, skip)
        self.constants = {"OWN": int(not one), "ALIGNED": pitch == width and skip == 0}


def launch_planes(kernel: Any, like: Tensor, source: Source, *arguments: Any, **constants: Any) -> None:
    """`kernel` on pictures like `like`, plane by plane, with noise drawn from `source`."""
    at = Place(like.shape, source, like.device)
    place = (at.area, at.width, at.pitch, at.seeds, *at.arguments)
    launch_groups(kernel, at.groups, at.size, like, *arguments, *place, **constants, **at.constants)


def _noise(normal: bool, shape: Sequence[int], source: Source, dtype: torch.dtype, device: torch.device) -> Tensor:
    out = torch.empty(shape, dtype=dtype, device=device)
    launch_planes(noise_kernel, out, source, out, NORMAL=normal)
    return out


def normal(shape: Sequence[int], source: Source, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Standard normals of shape [B, C, H, W]."""
    return _noise(True, shape, source, dtype, device)


def uniform(shape: Sequence[int], source: Source, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Uniforms in (0, 1) of shape [B, C, H, W]."""
    return _noise(False, shape, source, dtype, device)


def philox(counter: Tensor, key: Tensor) -> Tensor:
    """Words [..., 4] of counter [..., 4] and key [..., 2]; int64 whose low 32 bits count."""
    counter, key = counter.contiguous(), key.contiguous()
    words = torch.empty(counter.shape, dtype=torch.int64, device=counter.device)
    count = counter.numel() // 4
    block = pixels_a_program(count)
    launch(philox_kernel, triton.cdiv(count, block), words, counter, key, words, count, BLOCK=block)
    return words
