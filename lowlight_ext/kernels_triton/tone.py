"""The tone curve: csrc/core/tone.h, operation for operation, so the same bits; float64 has libdevice's exp and log."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from lowlight_ext.common import accumulator, memory_format
from lowlight_ext.kernels_triton.activation import quotient
from lowlight_ext.kernels_triton.blocks import (
    bits_of,
    float64_of,
    fused,
    inlined,
    lanes,
    launch_groups,
    load,
    store,
)
from lowlight_ext.kernels_triton.tukey import exponential, power_less_one

# a program's; a thread has four with three channels each
MOST_PIXELS = 512


@inlined
def power_of(u, gamma):
    """u^gamma - 1."""
    if u.dtype == tl.float64:
        result = tl.exp(gamma * tl.log(u)) - 1.0
    else:
        result = power_less_one(u, gamma)
    return result


@inlined
def power_below_one(t):
    """e^t for t up to 0."""
    if t.dtype == tl.float64:
        result = tl.exp(t)
    else:
        scale, rest = exponential(t)
        result = fused(scale, rest, scale)
    return result


@inlined
def raised(x, per_floor, gamma_ptr, scale_ptr):
    """x under the curve of a channel, before highlights are rolled off."""
    gamma, scale = tl.load(gamma_ptr), tl.load(scale_ptr)
    # a block of one: the interpreter's single numbers have no bits
    white = power_of(tl.zeros([1], x.dtype) + (1.0 + per_floor), gamma)
    u = 1.0 + x * per_floor
    return tl.where(u > 0.0, quotient(scale, white) * power_of(u, gamma), float("nan"))


@inlined
def bent(y, knee, width, per_width):
    t = tl.where(y > knee, (knee - y) * per_width, 0.0)
    return tl.where(y > knee, 1.0 - width * power_below_one(t), y)


@triton.jit(do_not_specialize=["floor_bits", "share_bits", "blocks"])
def tone_kernel(
    x_ptr, out_ptr, gamma_ptr, scale_ptr, knee_ptr, floor_bits: tl.int64, share_bits: tl.int64, area, blocks,
    LAST: tl.constexpr, PIXELS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """A block of pixels of a sample, all three channels of each."""
    sample = tl.program_id(0) // blocks
    block = tl.program_id(0) - sample * blocks
    pixel = lanes(block, PIXELS, WIDE)
    inside = pixel < area
    if LAST:
        step, offset = 1, 3 * pixel
    else:
        step, offset = area, pixel
    offset += sample.to(tl.int64) * 3 * area
    gamma_ptr, scale_ptr = gamma_ptr + 3 * sample, scale_ptr + 3 * sample
    x0 = load(x_ptr + offset, inside)
    x1 = load(x_ptr + step + offset, inside)
    x2 = load(x_ptr + 2 * step + offset, inside)
    per_floor = (1.0 / float64_of(floor_bits)).to(x0.dtype)
    share = float64_of(share_bits).to(x0.dtype)
    knee = tl.load(knee_ptr + sample)
    width = tl.where(1.0 - knee < 1e-4, 1e-4, 1.0 - knee).to(x0.dtype)
    per_width = quotient(tl.full([1], 1.0, x0.dtype), width)
    y0 = raised(x0, per_floor, gamma_ptr, scale_ptr)
    y1 = raised(x1, per_floor, gamma_ptr + 1, scale_ptr + 1)
    y2 = raised(x2, per_floor, gamma_ptr + 2, scale_ptr + 2)
    b0, b1, b2 = bent(y0, knee, width, per_width), bent(y1, knee, width, per_width), bent(y2, knee, width, per_width)
    most, of_most = tl.where(y1 > y0, y1, y0), tl.where(y1 > y0, b1, b0)
    of_most = tl.where(y2 > most, b2, of_most)
    most = tl.where(y2 > most, y2, most)
    # NaN where one of them is
    all_three, seen = y0 + y1 + y2, most > 1e-6
    ratio = quotient(tl.where(seen, of_most, 1.0), tl.where(seen, most, 1.0))
    ratio = tl.where(all_three == all_three, ratio, all_three)
    store(out_ptr + offset, b0 + share * (y0 * ratio - b0), inside)
    store(out_ptr + step + offset, b1 + share * (y1 * ratio - b1), inside)
    store(out_ptr + 2 * step + offset, b2 + share * (y2 * ratio - b2), inside)


def tone_curve(x: Tensor, gamma: Tensor, scale: Tensor, knee: Tensor, floor: float, share: float) -> Tensor:
    """rolled_off(scale ((1 + x / floor)^gamma - 1) / ((1 + 1 / floor)^gamma - 1))."""
    layout = memory_format(x)
    x = x.contiguous(memory_format=layout)
    out = torch.empty_like(x, memory_format=layout)
    rows = [v.to(accumulator(x.dtype)).contiguous() for v in (gamma, scale, knee)]
    batch, _, height, width = x.shape
    launch_groups(
        tone_kernel, batch, height * width, x, x, out, *rows, bits_of(floor), bits_of(share), height * width,
        most=MOST_PIXELS, LAST=layout is not torch.contiguous_format,
    )  # fmt: skip
    return out
