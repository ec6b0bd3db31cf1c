"""The gate of the NAF block: rows of two halves in memory, a sample each, or a pixel each where channels_last."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from lowlight_ext.common import memory_format
from lowlight_ext.kernels_triton.blocks import NARROW, inlined, launch, load, pixels_a_program, store
from lowlight_ext.kernels_triton.tiles import Picture, empty_picture, prepared

SIZES = ("packs", "rows")


@inlined
def gate_offsets(packs, rows, PACK: tl.constexpr, ROWS: tl.constexpr, HALVES: tl.constexpr, WIDE: tl.constexpr):
    """-> (numbers in a half, offset among the products, offset of the first factor, whether they are there)."""
    if WIDE:
        packs = packs.to(tl.int64)
    size = packs * PACK
    blocks = tl.cdiv(size, HALVES)
    block = tl.program_id(0)
    row_block = block // blocks
    row = (row_block * ROWS + tl.arange(0, ROWS))[:, None]
    at = ((block - row_block * blocks) * HALVES + tl.arange(0, HALVES))[None, :]
    there = (row < rows) & (at < size)
    return size, row * size + at, row * (2 * size) + at, there


@triton.jit(do_not_specialize=SIZES)
def gate_kernel(
    x_ptr, out_ptr, packs, rows, PACK: tl.constexpr, ROWS: tl.constexpr, HALVES: tl.constexpr, WIDE: tl.constexpr
):
    """The first half times the second."""
    size, product, factor, there = gate_offsets(packs, rows, PACK, ROWS, HALVES, WIDE)
    store(out_ptr + product, load(x_ptr + factor, there) * load(x_ptr + size + factor, there), there)


@triton.jit(do_not_specialize=SIZES)
def gate_backward_kernel(
    grad_ptr, x_ptr, to_x_ptr, packs, rows,
    PACK: tl.constexpr, ROWS: tl.constexpr, HALVES: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    size, product, factor, there = gate_offsets(packs, rows, PACK, ROWS, HALVES, WIDE)
    g = load(grad_ptr + product, there)
    left, right = load(x_ptr + factor, there), load(x_ptr + size + factor, there)
    store(to_x_ptr + factor, g * right, there)
    store(to_x_ptr + size + factor, g * left, there)


def _launch(kernel, picture: Picture, x: Tensor, *tensors: Tensor) -> None:
    if not x.numel():
        return
    rows = picture.batch * picture.pixels if picture.last else picture.batch
    size = x.numel() // (2 * rows)
    pack = min(size & -size, 16)
    most = pixels_a_program(x.numel() // 2)
    halves = min(triton.next_power_of_2(size), most)
    together = min(triton.next_power_of_2(rows), most // halves)
    launch(
        kernel, triton.cdiv(rows, together) * triton.cdiv(size, halves), x, *tensors, size // pack, rows,
        PACK=pack, ROWS=together, HALVES=halves, WIDE=x.numel() >= NARROW,
    )  # fmt: skip


def _halves(x: Tensor) -> Tensor:
    """The first of them."""
    return x[:, : x.shape[1] // 2]


def simple_gate(x: Tensor) -> Tensor:
    """The first half of the channels times the second."""
    picture, (x,) = prepared(x)
    out = torch.empty_like(_halves(x), memory_format=memory_format(x))
    _launch(gate_kernel, picture, x, x, out)
    return out


def simple_gate_backward(grad: Tensor, x: Tensor) -> Tensor:
    """The gradient to x."""
    picture, (x,) = prepared(x)
    grad, to_x = grad.contiguous(memory_format=memory_format(x)), empty_picture(x)
    _launch(gate_backward_kernel, picture, x, grad, x, to_x)
    return to_x
