"""What operators and their kernels have in common: number formats, memory formats, and where noise lies."""

from typing import NamedTuple, overload

import torch
from torch import Tensor

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


class Source(NamedTuple):
    """Where the noise of [B, C, H, W] is drawn: an int or int64 [1] (planes run over the batch), or seeds [B]."""

    seeds: Tensor | int
    stream: int = 0
    y0: int = 0
    x0: int = 0
    plane: int = 0


# (not a method: torch 2.6 traces none of a named tuple)
def seed_tensor(seeds: Tensor | int) -> Tensor:
    """int64 [1] or [B]."""
    return torch.tensor([seeds], device="cpu") if isinstance(seeds, int) else seeds


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """The dtype an operator computes in: float64 for float64, float32 for all others."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def memory_format(x: Tensor) -> torch.memory_format:
    """channels_last where x [B, C, H, W] (channels_last_3d where [B, C, D, H, W]) is that alone, else contiguous."""
    if x.is_contiguous():
        return torch.contiguous_format
    last = CHANNELS_LAST.get(x.dim())
    return last if last is not None and x.is_contiguous(memory_format=last) else torch.contiguous_format


@overload
def contiguous(x: Tensor, /) -> tuple[Tensor]: ...
@overload
def contiguous(*tensors: Tensor) -> tuple[Tensor, ...]: ...
@overload
def contiguous(*tensors: Tensor | None) -> tuple[Tensor | None, ...]: ...
def contiguous(*tensors: Tensor | None) -> tuple[Tensor | None, ...]:
    # a list first: a tuple of a generator takes twice as long
    return (*[None if x is None else x.contiguous() for x in tensors],)


def empty_statistics(x: Tensor, count: int) -> Tensor:
    """[2, B, count] in the accumulator's dtype for a kernel to write; zeros where x has nothing to take them of."""
    room, dtype = x.new_empty if x.numel() else x.new_zeros, accumulator(x.dtype)
    # a dtype that is named costs as much as the memory
    return room((2, x.shape[0], count)) if dtype == x.dtype else room((2, x.shape[0], count), dtype=dtype)


def row_step(count: int) -> int:
    """From one sample's row of a table of `count` to the next one's: a single row serves all."""
    return 0 if count == 1 else 1
