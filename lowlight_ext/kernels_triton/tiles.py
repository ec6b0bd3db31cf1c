"""What the kernels of the normalisations share: tiles of a picture in either memory format, moments, their hosts.

A sample lies in memory as [channels, pixels], or as [pixels, channels] where LAST (channels_last). A tile is that of CB
channels and PB pixels; values of one channel or of one pixel are vectors, which `expand_dims` gives the axis they lack:
1 - LAST is that of the pixels, LAST that of the channels. Every sum is split by the size of a sample alone, and added
up in one order: results do not depend on the batch. Moments are merged, of deviations from means (Chan et al. 1983).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from lowlight_ext.common import accumulator, memory_format
from lowlight_ext.kernels_triton.activation import quotient
from lowlight_ext.kernels_triton.blocks import NARROW, inlined, launch, load, pixels_a_program, store

# parts at most, and pixels at least, in which the sums over a sample's pixels are taken
PARTS, PART_PIXELS = 1024, 32


@inlined
def sizes(packs, outer, LAST: tl.constexpr, PACK: tl.constexpr, WIDE: tl.constexpr):
    """-> (channels, pixels). A divisor known to the compiler is what lets it move several numbers at once."""
    if WIDE:
        packs, outer = packs.to(tl.int64), outer.to(tl.int64)
    if LAST:
        channels, pixels = packs * PACK, outer
    else:
        channels, pixels = outer, packs * PACK
    return channels, pixels


@inlined
def block_of(program, c_blocks, p_blocks, LAST: tl.constexpr):
    """-> (sample, block of channels, block of pixels); programs that follow each other are neighbours in memory."""
    sample = program // (c_blocks * p_blocks)
    rest = program - sample * (c_blocks * p_blocks)
    if LAST:
        p_block = rest // c_blocks
        c_block = rest - p_block * c_blocks
    else:
        c_block = rest // p_blocks
        p_block = rest - c_block * p_blocks
    return sample, c_block, p_block


@inlined
def tile_of(
    c, first_pixel, end, channels, pixels,
    LAST: tl.constexpr, PB: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Of the channels c below `end`, and PB pixels: (offset in the sample, whether it is there)."""
    p = first_pixel + tl.arange(0, PB)
    there = tl.expand_dims(c < end, 1 - LAST) & tl.expand_dims(p < pixels, LAST)
    if WIDE:
        c, p = c.to(tl.int64), p.to(tl.int64)
    c, p = tl.expand_dims(c, 1 - LAST), tl.expand_dims(p, LAST)
    if LAST:
        offset = p * channels + c
    else:
        offset = c * pixels + p
    return offset, there


@inlined
def moments(v, there, count, AXIS: tl.constexpr):
    """Mean of `count` numbers and sum of the squares of the deviations from it, along an axis."""
    mean = quotient(tl.sum(tl.where(there, v, 0.0), AXIS), count)
    deviation = tl.where(there, v - tl.expand_dims(mean, AXIS), 0.0)
    # the mean was rounded: what it lacks is added, and taken from the squares
    total = tl.sum(deviation, AXIS)
    rest = quotient(total, count)
    squares = tl.sum(deviation * deviation, AXIS) - total * rest
    return mean + rest, tl.where(squares < 0.0, 0.0, squares)


@inlined
def merged(mean, squares, count, mean_b, squares_b, count_b):
    """Moments of `count` and `count_b` numbers together."""
    delta, share = mean_b - mean, quotient(count_b, count + count_b)
    return mean + delta * share, squares + squares_b + delta * delta * (count * share)


@inlined
def scaled(factor, ptr, c, there):
    """factor times a channel's parameter, if there is one."""
    if ptr is not None:
        factor = factor * load(ptr + c, there)
    return factor


@inlined
def shift_of(ptr, c, there, like):
    """A channel's bias, or 0."""
    if ptr is not None:
        shift = load(ptr + c, there)
    else:
        shift = tl.zeros(like.shape, like.dtype)
    return shift


@triton.jit(do_not_specialize=["rows", "channels"])
def parameters_kernel(
    plain_ptr, product_ptr, to_weight_ptr, to_bias_ptr, rows, channels, ROWS: tl.constexpr, CB: tl.constexpr
):  # fmt: skip
    """Gradients to weight and bias, where they have a place: totals of partial sums [rows, channels]."""
    c = tl.program_id(0) * CB + tl.arange(0, CB)
    plain, product = tl.zeros([ROWS, CB], tl.float64), tl.zeros([ROWS, CB], tl.float64)
    first = rows * 0
    while first < rows:
        row = first + tl.arange(0, ROWS)
        offset = row[:, None].to(tl.int64) * channels + c[None, :]
        there = (row[:, None] < rows) & (c[None, :] < channels)
        if to_bias_ptr is not None:
            plain += tl.load(plain_ptr + offset, mask=there, other=0.0).to(tl.float64)
        if to_weight_ptr is not None:
            product += tl.load(product_ptr + offset, mask=there, other=0.0).to(tl.float64)
        first += ROWS
    if to_bias_ptr is not None:
        store(to_bias_ptr + c, tl.sum(plain, 0).to(plain_ptr.dtype.element_ty), c < channels)
    if to_weight_ptr is not None:
        store(to_weight_ptr + c, tl.sum(product, 0).to(plain_ptr.dtype.element_ty), c < channels)


@dataclass(frozen=True)
class Tiling:
    """How the programs of a kernel divide pictures: tiles of `channels` and `pixels`, `tiles` of them a part."""

    picture: "Picture"
    channels: int
    pixels: int

    @property
    def channel_blocks(self) -> int:
        return triton.cdiv(self.picture.channels, self.channels)

    @property
    def pixel_blocks(self) -> int:
        return triton.cdiv(self.picture.pixels, self.pixels)

    @property
    def tiles(self) -> int:
        """Blocks of pixels in a part, of which one program takes the sums."""
        return max(triton.cdiv(self.pixel_blocks, PARTS), triton.cdiv(PART_PIXELS, self.pixels))

    @property
    def parts(self) -> int:
        return triton.cdiv(self.pixel_blocks, self.tiles)

    def programs(self, parts: int | None = None) -> int:
        """A program a tile, or a part."""
        return self.picture.batch * self.channel_blocks * (self.pixel_blocks if parts is None else parts)

    @property
    def constants(self) -> dict[str, int | bool]:
        return self.picture.constants | {"CB": self.channels, "PB": self.pixels}


@dataclass(frozen=True)
class Picture:
    """x [B, C, ...] as it lies in memory."""

    batch: int
    channels: int
    pixels: int
    last: bool

    @property
    def place(self) -> tuple[int, int]:
        """packs, outer: of `sizes`."""
        inner, outer = (self.channels, self.pixels) if self.last else (self.pixels, self.channels)
        return inner // self.pack, outer

    @property
    def pack(self) -> int:
        """The greatest power of two that divides the inner size, as far as it helps."""
        inner = self.channels if self.last else self.pixels
        return min(inner & -inner, 16) or 1

    @property
    def constants(self) -> dict[str, int | bool]:
        wide = self.channels * self.pixels >= NARROW
        return {"LAST": int(self.last), "PACK": self.pack, "WIDE": wide}

    def tiling(self) -> Tiling:
        """Of tiles as long as they may be along memory."""
        most = pixels_a_program(self.channels * self.pixels)
        channels, pixels = triton.next_power_of_2(self.channels), triton.next_power_of_2(self.pixels)
        if self.last:
            channels = min(channels, most)
            return Tiling(self, channels, min(pixels, most // channels))
        pixels = min(pixels, most)
        return Tiling(self, min(channels, most // pixels), pixels)


def prepared(x: Tensor, *pictures: Tensor) -> tuple[Picture, list[Tensor]]:
    """-> (x as it lies in memory, x and the tensors of its kind, dense in its memory format)."""
    layout = memory_format(x)
    picture = Picture(x.shape[0], x.shape[1], x.shape[2:].numel(), layout is not torch.contiguous_format)
    return picture, [y.contiguous(memory_format=layout) for y in (x, *pictures)]


def empty_picture(x: Tensor) -> Tensor:
    """Dense in the memory format of x."""
    return torch.empty_like(x, memory_format=memory_format(x))


def workspace(picture: Picture, parts: int, like: Tensor) -> Tensor:
    """[2, B * parts, C]: two partial sums, or moments, of each channel of each part of each sample."""
    return torch.empty((2, picture.batch * parts, picture.channels), dtype=accumulator(like.dtype), device=like.device)


def parameter_gradients(
    partial: Tensor | None, weight: Tensor | None, bias: Tensor | None, needed: Sequence[bool]
) -> list[Tensor | None]:
    """The second sum: partial [2, rows, C], if any is needed -> gradients to weight and bias where `needed`."""
    kinds = zip((weight, bias), needed, strict=True)
    results = [v.new_empty(v.shape) if wanted and v is not None else None for v, wanted in kinds]
    if partial is not None and any(needed):
        _, rows, channels = partial.shape
        launch(
            parameters_kernel, triton.cdiv(channels, 32), partial, *partial, *results, rows, channels, ROWS=32, CB=32
        )
    return results
