"""Haar wavelets, one level: a program turns pairs of pixels of two image rows into pixels of four bands, or back."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from lowlight_ext.kernels_triton.blocks import NARROW, inlined, lanes, launch, load, pixels_a_program, store


@inlined
def image_offsets(block, packs, PACK: tl.constexpr, PAIRS: tl.constexpr, WIDE: tl.constexpr):
    """Of PAIRS pairs of pixels in even image rows: (index among the pixels of even rows, offset in the image, width).

    width = packs * PACK: a divisor known to the compiler is what lets it move several pixels at once.
    """
    width = packs * PACK
    pixel = lanes(block, 2 * PAIRS, WIDE)
    return pixel, pixel + pixel // width * width, width


@triton.jit
def haar_dwt2d_kernel(
    x_ptr, out_ptr, packs, band, evens, NORMALISE: tl.constexpr,
    PACK: tl.constexpr, PAIRS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """LL, HL, LH, HH of x, or of 2x - 1; `band` pixels each, twice as many, `evens`, in the even rows of x."""
    block = tl.program_id(0)
    pixel, even, width = image_offsets(block, packs, PACK, PAIRS, WIDE)
    inside = pixel < evens
    upper, lower = load(x_ptr + even, inside), load(x_ptr + even + width, inside)
    if NORMALISE:
        upper, lower = 2.0 * upper - 1.0, 2.0 * lower - 1.0
    left_total, right_total = tl.split(tl.reshape(upper + lower, [PAIRS, 2]))
    left_difference, right_difference = tl.split(tl.reshape(upper - lower, [PAIRS, 2]))
    item = lanes(block, PAIRS, WIDE)
    inside = item < band
    # one after the other: a multiple of `band` may need more bits than it
    hl_ptr = out_ptr + band
    lh_ptr = hl_ptr + band
    hh_ptr = lh_ptr + band
    store(out_ptr + item, 0.5 * (left_total + right_total), inside)
    store(hl_ptr + item, 0.5 * (right_total - left_total), inside)
    store(lh_ptr + item, -0.5 * (left_difference + right_difference), inside)
    store(hh_ptr + item, 0.5 * (left_difference - right_difference), inside)


@inlined
def denormalised(v):
    """clamp((v + 1) / 2, 0, 1); comparisons that keep NaN."""
    v = (v + 1.0) * 0.5
    return tl.where(v < 0.0, 0.0, tl.where(v > 1.0, 1.0, v))


@triton.jit
def haar_idwt2d_kernel(
    x_ptr, out_ptr, packs, band, evens, DENORMALISE: tl.constexpr,
    PACK: tl.constexpr, PAIRS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """The image of four bands of `band` pixels each, or clamp((y + 1) / 2, 0, 1) of it."""
    block = tl.program_id(0)
    item = lanes(block, PAIRS, WIDE)
    inside = item < band
    hl_ptr = x_ptr + band
    lh_ptr = hl_ptr + band
    hh_ptr = lh_ptr + band
    ll, hl = load(x_ptr + item, inside), load(hl_ptr + item, inside)
    lh, hh = load(lh_ptr + item, inside), load(hh_ptr + item, inside)
    left_total, right_total = ll - hl, ll + hl
    left_difference, right_difference = hh - lh, -(lh + hh)
    upper = 0.5 * tl.interleave(left_total + left_difference, right_total + right_difference)
    lower = 0.5 * tl.interleave(left_total - left_difference, right_total - right_difference)
    if DENORMALISE:
        upper, lower = denormalised(upper), denormalised(lower)
    pixel, even, width = image_offsets(block, packs, PACK, PAIRS, WIDE)
    inside = pixel < evens
    store(out_ptr + even, upper, inside)
    store(out_ptr + even + width, lower, inside)


def _transform(kernel, source: Tensor, out: Tensor, image: Tensor, **affine: bool) -> None:
    band, width = image.numel() // 4, image.shape[-1]
    if not band:
        return
    # the greatest power of two that divides the width, as far as it helps
    pack = min(width & -width, 16)
    pairs = pixels_a_program(band)
    constants = {"PACK": pack, "PAIRS": pairs, "WIDE": image.numel() >= NARROW, **affine}
    launch(kernel, triton.cdiv(band, pairs), image, source, out, width // pack, band, 2 * band, **constants)


def haar_dwt2d(x: Tensor, normalise: bool = False) -> Tensor:
    """[..., H, W] -> [4, ..., H/2, W/2]: the bands LL, HL, LH, HH of x, or of 2x - 1."""
    *batch, height, width = x.shape
    x = x.contiguous()
    bands = torch.empty((4, *batch, height // 2, width // 2), dtype=x.dtype, device=x.device)
    _transform(haar_dwt2d_kernel, x, bands, x, NORMALISE=normalise)
    return bands


def haar_idwt2d(bands: Tensor, denormalise: bool = False) -> Tensor:
    """[4, ..., h, w] -> [..., 2h, 2w]: the inverse y, or clamp((y + 1) / 2, 0, 1)."""
    _, *batch, height, width = bands.shape
    bands = bands.contiguous()
    image = torch.empty((*batch, 2 * height, 2 * width), dtype=bands.dtype, device=bands.device)
    _transform(haar_idwt2d_kernel, bands, image, image, DENORMALISE=denormalise)
    return image
