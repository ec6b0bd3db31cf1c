"""Group norm with silu, instance norm after mish. A slab, that is a group's numbers in a sample, is one program's if it
is small (slabs.py); else its channels are divided among programs, whose moments or sums a program of its own merges.
"""

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from lowlight_ext.common import contiguous, empty_statistics
from lowlight_ext.kernels_triton.activation import MISH, NONE, SILU
from lowlight_ext.kernels_triton.blocks import bits_of, inlined, launch, load, store
from lowlight_ext.kernels_triton.slabs import (
    SIZES,
    gradient_input,
    inner_gradient,
    inverse_root,
    norm_input,
    norm_output,
    slab_backward_kernel,
    slab_kernel,
    slab_statistics,
)
from lowlight_ext.kernels_triton.tiles import (
    Picture,
    Tiling,
    block_of,
    empty_picture,
    merged,
    moments,
    parameter_gradients,
    prepared,
    scaled,
    shift_of,
    sizes,
    tile_of,
    workspace,
)

# numbers of a slab that one program takes, of float32; and partial sums that it merges at a time
SLAB, ENTRIES = 2048, 1024


@triton.jit(do_not_specialize=SIZES)
def moments_kernel(
    x_ptr, mean_ptr, squares_ptr, packs, outer, parts, tiles, ACT: tl.constexpr,
    LAST: tl.constexpr, PACK: tl.constexpr, CB: tl.constexpr, PB: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Of each channel in each part of a sample: [samples, parts, channels]."""
    channels, pixels = sizes(packs, outer, LAST, PACK, WIDE)
    sample, c_block, part = block_of(tl.program_id(0), tl.cdiv(channels, CB), parts, LAST)
    x_ptr += sample.to(tl.int64) * channels * pixels
    c = c_block * CB + tl.arange(0, CB)
    mean = tl.zeros([CB], mean_ptr.dtype.element_ty)
    squares = tl.zeros([CB], mean_ptr.dtype.element_ty)
    first = part * tiles
    tile, end = first, tl.minimum(first + tiles, tl.cdiv(pixels, PB))
    while tile < end:
        offset, there = tile_of(c, tile * PB, channels, channels, pixels, LAST, PB, WIDE)
        before = ((tile - first) * PB).to(mean.dtype)
        count = tl.minimum(pixels - tile * PB, PB).to(mean.dtype)
        tile_mean, tile_squares = moments(norm_input(x_ptr + offset, there, ACT), there, count, 1 - LAST)
        mean, squares = merged(mean, squares, before, tile_mean, tile_squares, count)
        tile += 1
    at = (sample.to(tl.int64) * parts + part) * channels + c
    tl.store(mean_ptr + at, mean, mask=c < channels)
    tl.store(squares_ptr + at, squares, mask=c < channels)


@inlined
def entries_of(first, slab, groups, per_group, parts, ENTRIES: tl.constexpr):
    """Partial results of a slab: (channel, part, where in [samples, parts, channels], whether it is there)."""
    entry = first + tl.arange(0, ENTRIES)
    sample = slab // groups
    part = entry // per_group
    c = (slab - sample * groups) * per_group + entry - part * per_group
    at = (sample.to(tl.int64) * parts + part) * (groups * per_group) + c
    return c, part, at, part < parts


@triton.jit(do_not_specialize=SIZES)
def statistics_kernel(
    mean_ptr, squares_ptr, stats_ptr, eps_bits: tl.int64, packs, outer, groups, slabs, parts, tiles,
    LAST: tl.constexpr, PACK: tl.constexpr, PB: tl.constexpr, ENTRIES: tl.constexpr,
):  # fmt: skip
    """Mean and 1 / sqrt(variance + eps) of a slab from the moments of its parts, in float64."""
    channels, pixels = sizes(packs, outer, LAST, PACK, True)
    slab, per_group = tl.program_id(0), channels // groups
    total = tl.zeros([ENTRIES], tl.float64)
    first = slab * 0
    while first < parts * per_group:
        _, part, at, there = entries_of(first, slab, groups, per_group, parts, ENTRIES)
        count = tl.minimum(pixels - part * tiles * PB, tiles * PB).to(tl.float64)
        total += tl.where(there, count * tl.load(mean_ptr + at, mask=there, other=0.0).to(tl.float64), 0.0)
        first += ENTRIES
    size = per_group.to(tl.float64) * pixels
    mean = tl.sum(total, 0) / size
    squares = tl.zeros([ENTRIES], tl.float64)
    first = slab * 0
    while first < parts * per_group:
        _, part, at, there = entries_of(first, slab, groups, per_group, parts, ENTRIES)
        count = tl.minimum(pixels - part * tiles * PB, tiles * PB).to(tl.float64)
        deviation = tl.load(mean_ptr + at, mask=there, other=0.0).to(tl.float64) - mean
        within = tl.load(squares_ptr + at, mask=there, other=0.0).to(tl.float64)
        squares += tl.where(there, within + count * deviation * deviation, 0.0)
        first += ENTRIES
    variance = tl.sum(squares, 0) / size
    tl.store(stats_ptr + slab, mean.to(stats_ptr.dtype.element_ty))
    tl.store(stats_ptr + slabs + slab, inverse_root(variance, eps_bits).to(stats_ptr.dtype.element_ty))


@triton.jit(do_not_specialize=SIZES)
def normalise_kernel(
    x_ptr, out_ptr, stats_ptr, weight_ptr, bias_ptr, packs, outer, groups, slabs, ACT: tl.constexpr,
    LAST: tl.constexpr, PACK: tl.constexpr, CB: tl.constexpr, PB: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    channels, pixels = sizes(packs, outer, LAST, PACK, WIDE)
    sample, c_block, p_block = block_of(tl.program_id(0), tl.cdiv(channels, CB), tl.cdiv(pixels, PB), LAST)
    base = sample.to(tl.int64) * channels * pixels
    c = c_block * CB + tl.arange(0, CB)
    mean, inverse = slab_statistics(stats_ptr, sample * groups + c // (channels // groups), slabs, c < channels)
    shift = tl.expand_dims(shift_of(bias_ptr, c, c < channels, mean), 1 - LAST)
    scale = tl.expand_dims(scaled(inverse, weight_ptr, c, c < channels), 1 - LAST)
    offset, there = tile_of(c, p_block * PB, channels, channels, pixels, LAST, PB, WIDE)
    v = norm_input(x_ptr + base + offset, there, ACT)
    store(out_ptr + base + offset, norm_output(v, tl.expand_dims(mean, 1 - LAST), scale, shift, ACT), there)


@triton.jit(do_not_specialize=SIZES)
def sums_kernel(
    grad_ptr, x_ptr, stats_ptr, weight_ptr, bias_ptr, plain_ptr, product_ptr, packs, outer, groups, slabs, parts, tiles,
    ACT: tl.constexpr, LAST: tl.constexpr, PACK: tl.constexpr, CB: tl.constexpr, PB: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Of each channel in each part of a sample: sums of inner gradients, and of their products with xhat."""
    channels, pixels = sizes(packs, outer, LAST, PACK, WIDE)
    sample, c_block, part = block_of(tl.program_id(0), tl.cdiv(channels, CB), parts, LAST)
    base = sample.to(tl.int64) * channels * pixels
    c = c_block * CB + tl.arange(0, CB)
    mean, inverse = slab_statistics(stats_ptr, sample * groups + c // (channels // groups), slabs, c < channels)
    shift = tl.expand_dims(shift_of(bias_ptr, c, c < channels, mean), 1 - LAST)
    scale = tl.expand_dims(scaled(inverse, weight_ptr, c, c < channels), 1 - LAST)
    plain, product = tl.zeros([CB], mean.dtype), tl.zeros([CB], mean.dtype)
    tile = part * tiles
    end = tl.minimum(tile + tiles, tl.cdiv(pixels, PB))
    while tile < end:
        offset, there = tile_of(c, tile * PB, channels, channels, pixels, LAST, PB, WIDE)
        deviation = norm_input(x_ptr + base + offset, there, ACT) - tl.expand_dims(mean, 1 - LAST)
        inner = inner_gradient(load(grad_ptr + base + offset, there), deviation, scale, shift, ACT)
        plain += tl.sum(tl.where(there, inner, 0.0), 1 - LAST)
        product += tl.sum(tl.where(there, inner * deviation, 0.0), 1 - LAST)
        tile += 1
    at = (sample.to(tl.int64) * parts + part) * channels + c
    tl.store(plain_ptr + at, plain, mask=c < channels)
    tl.store(product_ptr + at, product * inverse, mask=c < channels)


@triton.jit(do_not_specialize=SIZES)
def slopes_kernel(
    plain_ptr, product_ptr, stats_ptr, weight_ptr, slopes_ptr, packs, outer, groups, slabs, parts,
    LAST: tl.constexpr, PACK: tl.constexpr, ENTRIES: tl.constexpr,
):  # fmt: skip
    """What mean and variance of a slab take from the gradient: its level, and its tilt along the deviation."""
    channels, pixels = sizes(packs, outer, LAST, PACK, True)
    slab, per_group = tl.program_id(0), channels // groups
    level, tilt = tl.zeros([ENTRIES], tl.float64), tl.zeros([ENTRIES], tl.float64)
    first = slab * 0
    while first < parts * per_group:
        c, _, at, there = entries_of(first, slab, groups, per_group, parts, ENTRIES)
        plain = tl.load(plain_ptr + at, mask=there, other=0.0).to(tl.float64)
        product = tl.load(product_ptr + at, mask=there, other=0.0).to(tl.float64)
        level += tl.where(there, scaled(plain, weight_ptr, c, there), 0.0)
        tilt += tl.where(there, scaled(product, weight_ptr, c, there), 0.0)
        first += ENTRIES
    inverse = tl.load(stats_ptr + slabs + slab).to(tl.float64)
    factor = inverse / (per_group.to(tl.float64) * pixels)
    tl.store(slopes_ptr + slab, (tl.sum(level, 0) * factor).to(slopes_ptr.dtype.element_ty))
    tl.store(slopes_ptr + slabs + slab, (tl.sum(tilt, 0) * factor * inverse).to(slopes_ptr.dtype.element_ty))


@triton.jit(do_not_specialize=SIZES)
def gradient_kernel(
    grad_ptr, x_ptr, stats_ptr, weight_ptr, bias_ptr, slopes_ptr, to_x_ptr, packs, outer, groups, slabs,
    ACT: tl.constexpr, LAST: tl.constexpr, PACK: tl.constexpr, CB: tl.constexpr, PB: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    channels, pixels = sizes(packs, outer, LAST, PACK, WIDE)
    sample, c_block, p_block = block_of(tl.program_id(0), tl.cdiv(channels, CB), tl.cdiv(pixels, PB), LAST)
    base = sample.to(tl.int64) * channels * pixels
    c = c_block * CB + tl.arange(0, CB)
    slab = sample * groups + c // (channels // groups)
    mean, inverse = slab_statistics(stats_ptr, slab, slabs, c < channels)
    level, tilt = slab_statistics(slopes_ptr, slab, slabs, c < channels)
    shift = tl.expand_dims(shift_of(bias_ptr, c, c < channels, mean), 1 - LAST)
    scale = tl.expand_dims(scaled(inverse, weight_ptr, c, c < channels), 1 - LAST)
    level, tilt = tl.expand_dims(level, 1 - LAST), tl.expand_dims(tilt, 1 - LAST)
    offset, there = tile_of(c, p_block * PB, channels, channels, pixels, LAST, PB, WIDE)
    v, slope = gradient_input(x_ptr + base + offset, there, ACT)
    deviation = v - tl.expand_dims(mean, 1 - LAST)
    inner = inner_gradient(load(grad_ptr + base + offset, there), deviation, scale, shift, ACT)
    store(to_x_ptr + base + offset, (scale * inner - level - deviation * tilt) * slope, there)


def _slab(picture: Picture, groups: int, like: Tensor) -> Tiling | None:
    """The tile of a whole slab, if a program has room for it."""
    tiling = Tiling(picture, triton.next_power_of_2(picture.channels // groups), triton.next_power_of_2(picture.pixels))
    width = 2 if like.dtype == torch.float64 else 1
    return tiling if tiling.channels * tiling.pixels * width <= SLAB else None


def _forward(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, groups: int, act: int
) -> tuple[Tensor, Tensor]:
    picture, (x,) = prepared(x)
    weight, bias = contiguous(weight, bias)
    out, stats = empty_picture(x), empty_statistics(x, groups)
    if not x.numel():
        return out, stats
    slabs = picture.batch * groups
    place = (*picture.place, groups, slabs)
    if whole := _slab(picture, groups, x):
        launch(slab_kernel, slabs, x, x, out, stats, weight, bias, bits_of(eps), *place, ACT=act, **whole.constants)
        return out, stats
    tiling = picture.tiling()
    constants = {"ACT": act, **tiling.constants}
    parts, tiles = tiling.parts, tiling.tiles
    partial = workspace(picture, parts, x)
    launch(moments_kernel, tiling.programs(parts), x, x, *partial, *picture.place, parts, tiles, **constants)
    launch(
        statistics_kernel, slabs, x, *partial, stats, bits_of(eps), *place, parts, tiles,
        LAST=int(picture.last), PACK=picture.pack, PB=tiling.pixels, ENTRIES=ENTRIES,
    )  # fmt: skip
    launch(normalise_kernel, tiling.programs(), x, x, out, stats, weight, bias, *place, **constants)
    return out, stats


def _backward(
    grad: Tensor,
    x: Tensor,
    stats: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    groups: int,
    act: int,
    needed: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    picture, (x, grad) = prepared(x, grad)
    affine = contiguous(weight, bias)
    to_x = empty_picture(x) if needed[0] else None
    inputs, place = (grad, x, stats.contiguous(), *affine), (*picture.place, groups, picture.batch * groups)
    partial: Tensor | None
    if not x.numel():
        partial = workspace(picture, 0, x)
    elif whole := _slab(picture, groups, x):
        partial = workspace(picture, 1, x) if needed[1] or needed[2] else None
        sums = (None, None) if partial is None else tuple(partial)
        launch(
            slab_backward_kernel, picture.batch * groups, x, *inputs, to_x, *sums, *place, ACT=act, **whole.constants
        )
    else:
        partial = _divided_backward(picture, inputs, to_x, place, act)
    return to_x, *parameter_gradients(partial, weight, bias, needed[1:])


def _divided_backward(
    picture: Picture, inputs: tuple[Any, ...], to_x: Tensor | None, place: tuple[int, ...], act: int
) -> Tensor:
    """Writes the gradient to x, if it has a place -> partial sums for those to weight and bias."""
    x, stats, weight = inputs[1:4]
    tiling = picture.tiling()
    constants = {"ACT": act, **tiling.constants}
    parts = tiling.parts
    partial = workspace(picture, parts, x)
    launch(sums_kernel, tiling.programs(parts), x, *inputs, *partial, *place, parts, tiling.tiles, **constants)
    if to_x is not None:
        slopes = torch.empty_like(stats)
        launch(
            slopes_kernel, slopes[0].numel(), x, *partial, stats, weight, slopes, *place, parts,
            LAST=int(picture.last), PACK=picture.pack, ENTRIES=ENTRIES,
        )  # fmt: skip
        launch(gradient_kernel, tiling.programs(), x, *inputs, slopes, to_x, *place, **constants)
    return partial


def group_norm_silu(
    x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float, activation: bool
) -> tuple[Tensor, Tensor]:
    """silu(xhat weight + bias), without silu where not `activation`; -> (the result, statistics [2, B, groups])."""
    return _forward(x, weight, bias, eps, groups, SILU.value if activation else NONE.value)


def group_norm_silu_backward(
    grad: Tensor,
    x: Tensor,
    stats: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    groups: int,
    activation: bool,
    needed: Sequence[bool] = (True, True, True),
) -> tuple[Tensor | None, ...]:
    """Gradients to x, weight and bias where `needed`."""
    act = SILU.value if activation else NONE.value
    return _backward(grad, x, stats, weight, bias, groups, act, needed)


def mish_instance_norm(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """mish(x) normalised over each channel of each sample; -> (the result, statistics [2, B, C])."""
    return _forward(x, None, None, eps, x.shape[1], MISH.value)


def mish_instance_norm_backward(grad: Tensor, x: Tensor, stats: Tensor) -> Tensor | None:
    """The gradient to x."""
    return _backward(grad, x, stats, None, None, x.shape[1], MISH.value, (True, False, False))[0]
