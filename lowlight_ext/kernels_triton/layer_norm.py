"""Layer norm over the channels of each pixel: a program keeps all channels of a block of pixels, or where they are too
many (`wide` kernels) reads them twice, block by block.
"""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from lowlight_ext.common import contiguous, empty_statistics
from lowlight_ext.kernels_triton.activation import quotient, reciprocal, root
from lowlight_ext.kernels_triton.blocks import bits_of, float64_of, inlined, launch, load, pixels_a_program, store
from lowlight_ext.kernels_triton.tiles import (
    Picture,
    Tiling,
    block_of,
    empty_picture,
    merged,
    moments,
    parameter_gradients,
    prepared,
    sizes,
    tile_of,
    workspace,
)

# numbers of a tile of all channels at most, and pixels at least where they follow each other in memory
KEPT, RUN = 2048, 16
# channels and pixels of a tile where channels are divided: those that follow each other in memory, the others
INNER, OUTER = 64, 16
SIZES = ("packs", "outer", "samples", "parts", "tiles", "eps_bits")


@inlined
def pixel_statistics(mean, squares, channels, eps_bits):
    """-> 1 / sqrt(variance + eps)."""
    variance = quotient(squares, channels.to(mean.dtype))
    return reciprocal(root(variance + float64_of(eps_bits).to(variance.dtype)))


@inlined
def normalised(v, mean, inverse, weight_ptr, bias_ptr, c, channels, LAST: tl.constexpr):
    """xhat weight + bias of a tile; mean and inverse are those of its pixels."""
    xhat = (v - tl.expand_dims(mean, LAST)) * tl.expand_dims(inverse, LAST)
    if weight_ptr is not None:
        xhat = xhat * tl.expand_dims(load(weight_ptr + c, c < channels), 1 - LAST)
    if bias_ptr is not None:
        xhat = xhat + tl.expand_dims(load(bias_ptr + c, c < channels), 1 - LAST)
    return xhat


@inlined
def store_statistics(stats_ptr, at, all_pixels, mean, inverse, there):
    tl.store(stats_ptr + at, mean, mask=there)
    tl.store(stats_ptr + all_pixels + at, inverse, mask=there)


@triton.jit(do_not_specialize=SIZES)
def layer_kernel(
    x_ptr, out_ptr, stats_ptr, weight_ptr, bias_ptr, eps_bits: tl.int64, packs, outer, samples,
    LAST: tl.constexpr, PACK: tl.constexpr, CB: tl.constexpr, PB: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """The result, and mean and 1 / sqrt(variance + eps) of each pixel; CB is not below the number of channels."""
    channels, pixels = sizes(packs, outer, LAST, PACK, WIDE)
    sample, _, block = block_of(tl.program_id(0), 1, tl.cdiv(pixels, PB), LAST)
    base = sample.to(tl.int64) * channels * pixels
    c, p = tl.arange(0, CB), block * PB + tl.arange(0, PB)
    offset, there = tile_of(c, block * PB, channels, channels, pixels, LAST, PB, WIDE)
    v = load(x_ptr + base + offset, there)
    mean, squares = moments(v, there, channels.to(v.dtype), LAST)
    inverse = pixel_statistics(mean, squares, channels, eps_bits)
    at, all_pixels = sample.to(tl.int64) * pixels + p, samples.to(tl.int64) * pixels
    store_statistics(stats_ptr, at, all_pixels, mean, inverse, p < pixels)
    store(out_ptr + base + offset, normalised(v, mean, inverse, weight_ptr, bias_ptr, c, channels, LAST), there)


@triton.jit(do_not_specialize=SIZES)
def wide_layer_kernel(
    x_ptr, out_ptr, stats_ptr, weight_ptr, bias_ptr, eps_bits: tl.int64, packs, outer, samples,
    LAST: tl.constexpr, PACK: tl.constexpr, CB: tl.constexpr, PB: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """layer_kernel of any number of channels."""
    channels, pixels = sizes(packs, outer, LAST, PACK, WIDE)
    sample, _, block = block_of(tl.program_id(0), 1, tl.cdiv(pixels, PB), LAST)
    base = sample.to(tl.int64) * channels * pixels
    p = block * PB + tl.arange(0, PB)
    mean = tl.zeros([PB], stats_ptr.dtype.element_ty)
    squares = tl.zeros([PB], stats_ptr.dtype.element_ty)
    first = channels * 0
    while first < channels:
        c = first + tl.arange(0, CB)
        offset, there = tile_of(c, block * PB, channels, channels, pixels, LAST, PB, WIDE)
        count = tl.minimum(channels - first, CB).to(mean.dtype)
        tile_mean, tile_squares = moments(load(x_ptr + base + offset, there), there, count, LAST)
        mean, squares = merged(mean, squares, first.to(mean.dtype), tile_mean, tile_squares, count)
        first += CB
    inverse = pixel_statistics(mean, squares, channels, eps_bits)
    at, all_pixels = sample.to(tl.int64) * pixels + p, samples.to(tl.int64) * pixels
    store_statistics(stats_ptr, at, all_pixels, mean, inverse, p < pixels)
    first = channels * 0
    while first < channels:
        c = first + tl.arange(0, CB)
        offset, there = tile_of(c, block * PB, channels, channels, pixels, LAST, PB, WIDE)
        v = load(x_ptr + base + offset, there)
        store(out_ptr + base + offset, normalised(v, mean, inverse, weight_ptr, bias_ptr, c, channels, LAST), there)
        first += CB


@inlined
def gradient_tile(grad_ptr, x_ptr, weight_ptr, offset, there, c, channels, mean, inverse, LAST: tl.constexpr):
    """-> (gradient to the result, xhat, gradient to xhat) of a tile, 0 where nothing is there."""
    grad = tl.where(there, load(grad_ptr + offset, there), 0.0)
    v = load(x_ptr + offset, there)
    xhat = tl.where(there, (v - tl.expand_dims(mean, LAST)) * tl.expand_dims(inverse, LAST), 0.0)
    inner = grad
    if weight_ptr is not None:
        inner = tl.where(there, grad * tl.expand_dims(load(weight_ptr + c, c < channels), 1 - LAST), 0.0)
    return grad, xhat, inner


@inlined
def input_gradient(inner, xhat, inverse, level, tilt, LAST: tl.constexpr):
    level, tilt = tl.expand_dims(level, LAST), tl.expand_dims(tilt, LAST)
    return (inner - level - xhat * tilt) * tl.expand_dims(inverse, LAST)


@triton.jit(do_not_specialize=SIZES)
def layer_backward_kernel(
    grad_ptr, x_ptr, stats_ptr, weight_ptr, to_x_ptr, plain_ptr, product_ptr, packs, outer, samples, parts, tiles,
    LAST: tl.constexpr, PACK: tl.constexpr, CB: tl.constexpr, PB: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """The gradient to x, and sums over each part's pixels of gradients and of their products with xhat."""
    channels, pixels = sizes(packs, outer, LAST, PACK, WIDE)
    sample, _, part = block_of(tl.program_id(0), 1, parts, LAST)
    base = sample.to(tl.int64) * channels * pixels
    grad_ptr, x_ptr = grad_ptr + base, x_ptr + base
    c = tl.arange(0, CB)
    plain = tl.zeros([CB], stats_ptr.dtype.element_ty)
    product = tl.zeros([CB], stats_ptr.dtype.element_ty)
    count = channels.to(plain.dtype)
    tile = part * tiles
    end = tl.minimum(tile + tiles, tl.cdiv(pixels, PB))
    while tile < end:
        p = tile * PB + tl.arange(0, PB)
        at, all_pixels = sample.to(tl.int64) * pixels + p, samples.to(tl.int64) * pixels
        mean = tl.load(stats_ptr + at, mask=p < pixels, other=0.0)
        inverse = tl.load(stats_ptr + all_pixels + at, mask=p < pixels, other=0.0)
        offset, there = tile_of(c, tile * PB, channels, channels, pixels, LAST, PB, WIDE)
        grad, xhat, inner = gradient_tile(grad_ptr, x_ptr, weight_ptr, offset, there, c, channels, mean, inverse, LAST)
        if plain_ptr is not None:
            plain += tl.sum(grad, 1 - LAST)
            product += tl.sum(grad * xhat, 1 - LAST)
        if to_x_ptr is not None:
            level, tilt = quotient(tl.sum(inner, LAST), count), quotient(tl.sum(inner * xhat, LAST), count)
            store(to_x_ptr + base + offset, input_gradient(inner, xhat, inverse, level, tilt, LAST), there)
        tile += 1
    if plain_ptr is not None:
        row = (sample.to(tl.int64) * parts + part) * channels + c
        tl.store(plain_ptr + row, plain, mask=c < channels)
        tl.store(product_ptr + row, product, mask=c < channels)


@triton.jit(do_not_specialize=SIZES)
def wide_layer_backward_kernel(
    grad_ptr, x_ptr, stats_ptr, weight_ptr, to_x_ptr, plain_ptr, product_ptr, packs, outer, samples, parts, tiles,
    LAST: tl.constexpr, PACK: tl.constexpr, CB: tl.constexpr, PB: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """layer_backward_kernel of any number of channels, a tile of pixels a part."""
    channels, pixels = sizes(packs, outer, LAST, PACK, WIDE)
    sample, _, part = block_of(tl.program_id(0), 1, parts, LAST)
    base = sample.to(tl.int64) * channels * pixels
    grad_ptr, x_ptr = grad_ptr + base, x_ptr + base
    p = part * PB + tl.arange(0, PB)
    at, all_pixels = sample.to(tl.int64) * pixels + p, samples.to(tl.int64) * pixels
    mean = tl.load(stats_ptr + at, mask=p < pixels, other=0.0)
    inverse = tl.load(stats_ptr + all_pixels + at, mask=p < pixels, other=0.0)
    level, tilt = tl.zeros([PB], mean.dtype), tl.zeros([PB], mean.dtype)
    first = channels * 0
    while first < channels:
        c = first + tl.arange(0, CB)
        offset, there = tile_of(c, part * PB, channels, channels, pixels, LAST, PB, WIDE)
        grad, xhat, inner = gradient_tile(grad_ptr, x_ptr, weight_ptr, offset, there, c, channels, mean, inverse, LAST)
        level += tl.sum(inner, LAST)
        tilt += tl.sum(inner * xhat, LAST)
        if plain_ptr is not None:
            row = (sample.to(tl.int64) * parts + part) * channels + c
            tl.store(plain_ptr + row, tl.sum(grad, 1 - LAST), mask=c < channels)
            tl.store(product_ptr + row, tl.sum(grad * xhat, 1 - LAST), mask=c < channels)
        first += CB
    if to_x_ptr is not None:
        level, tilt = quotient(level, channels.to(mean.dtype)), quotient(tilt, channels.to(mean.dtype))
        first = channels * 0
        while first < channels:
            c = first + tl.arange(0, CB)
            offset, there = tile_of(c, part * PB, channels, channels, pixels, LAST, PB, WIDE)
            grad, xhat, inner = gradient_tile(
                grad_ptr, x_ptr, weight_ptr, offset, there, c, channels, mean, inverse, LAST
            )
            store(to_x_ptr + base + offset, input_gradient(inner, xhat, inverse, level, tilt, LAST), there)
            first += CB


def _tiling(picture: Picture, like: Tensor) -> tuple[Tiling, bool]:
    """-> (tiles, whether each has all channels)."""
    room = KEPT // 2 if like.dtype == torch.float64 else KEPT
    channels = triton.next_power_of_2(picture.channels)
    least = 1 if picture.last else RUN
    if channels * least > room:
        sides = (INNER, OUTER) if picture.last else (OUTER, INNER)
        return Tiling(picture, *sides), False
    pixels = max(least, min(pixels_a_program(picture.pixels * channels), room) // channels)
    return Tiling(picture, channels, pixels), True


def layer_norm2d(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, Tensor]:
    """Normalised over the channels of each pixel, times weight plus bias; -> (the result, statistics [2, B, n])."""
    picture, (x,) = prepared(x)
    affine = contiguous(weight, bias)
    out, stats = empty_picture(x), empty_statistics(x, picture.pixels)
    if x.numel():
        tiling, whole = _tiling(picture, x)
        launch(
            layer_kernel if whole else wide_layer_kernel, picture.batch * tiling.pixel_blocks, x,
            x, out, stats, *affine, bits_of(eps), *picture.place, picture.batch, **tiling.constants,
        )  # fmt: skip
    return out, stats


def layer_norm2d_backward(
    grad: Tensor,
    x: Tensor,
    stats: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    needed: Sequence[bool] = (True, True, True),
) -> tuple[Tensor | None, ...]:
    """Gradients to x, weight and bias where `needed`."""
    picture, (x, grad) = prepared(x, grad)
    to_x = empty_picture(x) if needed[0] else None
    (factor,), stats = contiguous(weight), stats.contiguous()
    if not x.numel():
        return to_x, *parameter_gradients(workspace(picture, 0, x), weight, bias, needed[1:])
    tiling, whole = _tiling(picture, x)
    parts, tiles = (tiling.parts, tiling.tiles) if whole else (tiling.pixel_blocks, 1)
    partial = workspace(picture, parts, x) if needed[1] or needed[2] else None
    launch(
        layer_backward_kernel if whole else wide_layer_backward_kernel, picture.batch * parts, x,
        grad, x, stats, factor, to_x, *((None, None) if partial is None else partial),
        *picture.place, picture.batch, parts, tiles, **tiling.constants,
    )  # fmt: skip
    return to_x, *parameter_gradients(partial, weight, bias, needed[1:])
