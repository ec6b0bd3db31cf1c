"""Normalisations, a slab (a group's numbers in a sample) a program: read once, kept, normalised."""

import triton
import triton.language as tl

from lowlight_ext.kernels_triton.activation import MISH, SILU, mish, mish_and_slope, silu, silu_slope
from lowlight_ext.kernels_triton.blocks import float64_of, inlined, load, store
from lowlight_ext.kernels_triton.tiles import moments, scaled, shift_of, sizes, tile_of

SIZES = ("packs", "outer", "groups", "slabs", "parts", "tiles", "eps_bits")


@inlined
def norm_input(ptr, there, ACT: tl.constexpr):
    v = load(ptr, there)
    if ACT == MISH:
        v = mish(v)
    return v


@inlined
def norm_output(v, mean, scale, shift, ACT: tl.constexpr):
    z = (v - mean) * scale + shift
    if ACT == SILU:
        z = silu(z)
    return z


@inlined
def gradient_input(ptr, there, ACT: tl.constexpr):
    """-> (what is normalised, its slope)."""
    v = load(ptr, there)
    if ACT == MISH:
        v, slope = mish_and_slope(v)
    else:
        slope = 1.0
    return v, slope


@inlined
def inner_gradient(grad, deviation, scale, shift, ACT: tl.constexpr):
    """To what was normalised, weighted and shifted."""
    if ACT == SILU:
        grad = grad * silu_slope(deviation * scale + shift)
    return grad


@inlined
def inverse_root(variance, eps_bits):
    """1 / sqrt(variance + eps) of a float64."""
    return 1.0 / tl.sqrt(variance + float64_of(eps_bits))


@inlined
def slab_statistics(stats_ptr, slab, slabs, there):
    """-> (mean, 1 / sqrt(variance + eps)) of slabs."""
    mean = tl.load(stats_ptr + slab, mask=there, other=0.0)
    return mean, tl.load(stats_ptr + slabs + slab, mask=there, other=0.0)


@triton.jit(do_not_specialize=SIZES)
def slab_kernel(
    x_ptr, out_ptr, stats_ptr, weight_ptr, bias_ptr, eps_bits: tl.int64, packs, outer, groups, slabs, ACT: tl.constexpr,
    LAST: tl.constexpr, PACK: tl.constexpr, CB: tl.constexpr, PB: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """The normalised slab, and its mean and 1 / sqrt(variance + eps)."""
    channels, pixels = sizes(packs, outer, LAST, PACK, WIDE)
    slab, per_group = tl.program_id(0), channels // groups
    sample = slab // groups
    base = sample.to(tl.int64) * channels * pixels
    start = (slab - sample * groups) * per_group
    c = start + tl.arange(0, CB)
    own = c < start + per_group
    offset, there = tile_of(c, 0, start + per_group, channels, pixels, LAST, PB, WIDE)
    v = norm_input(x_ptr + base + offset, there, ACT)
    means, squares = moments(v, there, pixels.to(v.dtype), 1 - LAST)
    # of channels of equal size, in float64
    wide = tl.where(own, means, 0.0).to(tl.float64)
    mean = tl.sum(wide, 0) / per_group
    deviation = tl.where(own, wide - mean, 0.0)
    within = tl.sum(tl.where(own, squares, 0.0).to(tl.float64), 0)
    variance = (within / pixels + tl.sum(deviation * deviation, 0)) / per_group
    mean, inverse = mean.to(v.dtype), inverse_root(variance, eps_bits).to(v.dtype)
    tl.store(stats_ptr + slab, mean)
    tl.store(stats_ptr + slabs + slab, inverse)
    shift = tl.expand_dims(shift_of(bias_ptr, c, own, means), 1 - LAST)
    scale = tl.expand_dims(scaled(means * 0.0 + inverse, weight_ptr, c, own), 1 - LAST)
    store(out_ptr + base + offset, norm_output(v, mean, scale, shift, ACT), there)


@triton.jit(do_not_specialize=SIZES)
def slab_backward_kernel(
    grad_ptr, x_ptr, stats_ptr, weight_ptr, bias_ptr, to_x_ptr, plain_ptr, product_ptr,
    packs, outer, groups, slabs, ACT: tl.constexpr,
    LAST: tl.constexpr, PACK: tl.constexpr, CB: tl.constexpr, PB: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """The gradient to the slab, and sums over each of its channels: sums_kernel's."""
    channels, pixels = sizes(packs, outer, LAST, PACK, WIDE)
    slab, per_group = tl.program_id(0), channels // groups
    sample = slab // groups
    base = sample.to(tl.int64) * channels * pixels
    start = (slab - sample * groups) * per_group
    c = start + tl.arange(0, CB)
    own = c < start + per_group
    mean, inverse = slab_statistics(stats_ptr, slab + c * 0, slabs, own)
    shift = tl.expand_dims(shift_of(bias_ptr, c, own, mean), 1 - LAST)
    scale = tl.expand_dims(scaled(inverse, weight_ptr, c, own), 1 - LAST)
    offset, there = tile_of(c, 0, start + per_group, channels, pixels, LAST, PB, WIDE)
    v, slope = gradient_input(x_ptr + base + offset, there, ACT)
    deviation = v - tl.expand_dims(mean, 1 - LAST)
    inner = inner_gradient(load(grad_ptr + base + offset, there), deviation, scale, shift, ACT)
    plain = tl.sum(tl.where(there, inner, 0.0), 1 - LAST)
    product = tl.sum(tl.where(there, inner * deviation, 0.0), 1 - LAST) * inverse
    if plain_ptr is not None:
        at = sample.to(tl.int64) * channels + c
        tl.store(plain_ptr + at, plain, mask=own)
        tl.store(product_ptr + at, product, mask=own)
    if to_x_ptr is not None:
        size = per_group.to(tl.float64) * pixels
        level = tl.sum(tl.where(own, scaled(plain, weight_ptr, c, own) * inverse, 0.0).to(tl.float64), 0) / size
        tilt = tl.sum(tl.where(own, scaled(product, weight_ptr, c, own) * inverse * inverse, 0.0).to(tl.float64), 0)
        level, tilt = level.to(inner.dtype), (tilt / size).to(inner.dtype)
        store(to_x_ptr + base + offset, (scale * inner - level - deviation * tilt) * slope, there)
