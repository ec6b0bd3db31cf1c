"""What the Triton kernels share: launches, number formats, and multiply-adds that round once.

A kernel is launched on a row of programs; each takes a block of pixels of one group (a plane where noise is drawn, else
a sample), so what belongs to a group is read once a program. Fusion of multiplications and additions is switched off.
"""

import math
import struct

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.runtime.jit import JITFunction

# pixels a program takes on a GPU, and under the interpreter, where a program costs milliseconds whatever its size
BLOCK, INTERPRETED_BLOCK, SMALLEST_BLOCK = 1024, 1 << 14, 16
# without fusion a multiplication and an addition round twice, as they do in C++
OPTIONS = {"num_warps": 4, "enable_fp_fusion": False}
# from this size on offsets within a group are 64 bits wide; the last block may reach beyond the end
NARROW = (1 << 31) - 4 * INTERPRETED_BLOCK

# decided where triton is imported: its own functions are then interpreted too
INTERPRETED = tl.constexpr(not isinstance(tl.interleave, JITFunction))


@triton.jit
def _square_less(values_ptr, out_ptr):
    a = tl.load(values_ptr)
    tl.store(out_ptr, tl.fma(a, a, tl.load(values_ptr + 1)))


def settled() -> bool:
    """Whether these kernels run as triton's own functions do: the switch did not move in between."""
    return isinstance(_square_less, JITFunction) is not INTERPRETED.value


def _fma_rounds_once() -> bool:
    """A GPU's does; the interpreter's multiplies and adds in numpy, with two roundings, before triton 3.9."""
    if not INTERPRETED.value or not settled():
        return True
    # (1 + 2^-12)^2 - (1 + 2^-11) = 2^-24 is lost where the square is rounded
    values, out = torch.tensor([1 + 2.0**-12, -1 - 2.0**-11]), torch.zeros(1)
    _square_less[(1,)](values, out)
    return out.item() == 2.0**-24


FMA_ROUNDS_ONCE = tl.constexpr(_fma_rounds_once())


def inlined(function):
    """triton.jit for what kernels call; the function itself under the interpreter, where a call costs a millisecond."""
    return function if INTERPRETED.value else triton.jit(function)


@inlined
def fused_in_double(a, b, c):
    """a * b + c of float32 rounded once, without an fma: csrc/core/real.h's, on a tensor a; finite operands only.

    The product is exact in float64, the sum is rounded to odd, and rounding 53 such bits to 24 adds no second error.
    """
    product = a.to(tl.float64) * b
    total = product + c
    part = total - product
    error = (product - (total - part)) + (c - part)
    bits = total.to(tl.int64, bitcast=True)
    step = tl.where((error.to(tl.int64, bitcast=True) ^ bits) < 0, -1, 1)
    odd = tl.where((error != 0) & ((bits & 1) == 0), bits + step, bits)
    return odd.to(tl.float64, bitcast=True).to(tl.float32)


@inlined
def fused(a, b, c):
    """a * b + c of float32 rounded once; a is a tensor, b and c may be numbers that float32 holds exactly."""
    if FMA_ROUNDS_ONCE:
        result = tl.fma(a, b, c)
    else:
        result = fused_in_double(a, b, c)
    return result


@inlined
def lanes(block, COUNT: tl.constexpr, WIDE: tl.constexpr):
    """Indices of block number `block` of COUNT items."""
    if WIDE:
        block = block.to(tl.int64)
    return block * COUNT + tl.arange(0, COUNT)


@inlined
def load(ptr, mask):
    """In the format that is computed in: float64 stays, all others become float32."""
    x = tl.load(ptr, mask=mask)
    if x.dtype == tl.float64:
        result = x
    elif INTERPRETED and x.dtype == tl.bfloat16:
        # the interpreter's conversion is wrong on subnormals
        result = (x.to(tl.uint16, bitcast=True).to(tl.uint32) << 16).to(tl.float32, bitcast=True)
    else:
        result = x.to(tl.float32)
    return result


@inlined
def store(ptr, value, mask):
    """Rounded to nearest even, once."""
    if INTERPRETED and ptr.dtype.element_ty == tl.bfloat16:
        # the interpreter's conversion truncates
        bits = value.to(tl.float32).to(tl.uint32, bitcast=True)
        rounded = tl.where(value != value, 0x7FC0, (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16)
        tl.store(ptr, rounded.to(tl.uint16).to(tl.bfloat16, bitcast=True), mask=mask)
    else:
        tl.store(ptr, value.to(ptr.dtype.element_ty), mask=mask)


@inlined
def float64_of(bits):
    """A float64 that came as `bits_of` it, a tl.int64: as a number it would come as float32."""
    return bits.to(tl.int64).to(tl.float64, bitcast=True)


def bits_of(value: float) -> int:
    return struct.unpack("<q", struct.pack("<d", value))[0]


def pixels_a_program(largest: int, most: int | None = None) -> int:
    """A power of two; `largest` is the size of a group, `most` on a GPU in place of BLOCK."""
    most = INTERPRETED_BLOCK if INTERPRETED.value else most or BLOCK
    return max(SMALLEST_BLOCK, min(most, triton.next_power_of_2(largest)))


def launch(kernel, programs: int, like: Tensor, *arguments, **constants) -> None:
    """On the device and the current stream of `like`."""
    if programs:
        with torch.cuda.device_of(like):
            kernel[(programs,)](*arguments, **(OPTIONS | constants))


def launch_groups(kernel, groups: int, size: int, like: Tensor, *arguments, most=None, **constants) -> None:
    """A row of programs for each of `groups` planes or samples of `size` pixels; the kernel takes their number last."""
    if like.numel():
        pixels = pixels_a_program(size, most)
        blocks = triton.cdiv(size, pixels)
        launch(kernel, groups * blocks, like, *arguments, blocks, **constants, PIXELS=pixels, WIDE=size >= NARROW)


def launch_samples(kernel, like: Tensor, *arguments, **constants) -> None:
    """Where no noise is drawn a sample is one long row; the kernel takes its size after `arguments`."""
    area = math.prod(like.shape[1:])
    launch_groups(kernel, like.shape[0], area, like, *arguments, area, **constants)


def empty_like(x: Tensor) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device=x.device)
