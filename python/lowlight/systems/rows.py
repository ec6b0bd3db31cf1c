"""Pictures read and written some rows at a time, so that no float copy of a whole large one is held."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from lowlight_ext import brought

from .tiling import reflected


class Rows(Protocol):
    """Dark pictures to read and, in their place, bright ones to write."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """B, H, W."""

    def read(self, first: int, last: int) -> Tensor:
        """[B, 3, last - first, W] floating point in [0, 1]: the dark pictures' rows."""

    def write(self, first: int, bright: Tensor) -> None:
        """The bright pictures' rows from `first` on, as many as `bright` [B, 3, rows, W] has."""


class TensorRows:
    """Rows of a tensor [B, 3, H, W], written into `bright`, another of its kind."""

    def __init__(self, low: Tensor):
        self._low, self.bright = low, torch.empty_like(low, memory_format=torch.contiguous_format)
        self.shape = (low.shape[0], *low.shape[-2:])

    def read(self, first: int, last: int) -> Tensor:
        return self._low[..., first:last, :]

    def write(self, first: int, bright: Tensor) -> None:
        self.bright[..., first : first + bright.shape[-2], :] = bright


class PaddedRows:
    """Rows of pictures as `pad_to_multiple` pads them."""

    def __init__(self, rows: Rows, multiple: int):
        self._rows, (_, height, width) = rows, rows.shape
        self._y, columns = reflected(height, multiple).tolist(), reflected(width, multiple)
        self.height, self.width = len(self._y), len(columns)
        self._more = columns[width:]

    def read(self, first: int, last: int) -> Tensor:
        """[B, 3, last - first, width] floating point in [0, 1]."""
        wanted = self._y[first:last]
        top, bottom = min(wanted), max(wanted) + 1
        strip = self._rows.read(top, bottom)
        if last > self._rows.shape[1]:
            strip = strip.index_select(-2, brought(torch.tensor(wanted, device="cpu") - top, strip.device))
        if not len(self._more):
            return strip
        return torch.cat([strip, strip.index_select(-1, brought(self._more, strip.device))], dim=-1)


def strips(height: int, rows: int, halo: int = 0) -> list[tuple[int, int, int, int]]:
    """(first, last, top, bottom): strips of `rows` rows, fewer at the end, and what each sees with `halo` around it."""
    firsts = [rows * i for i in range(math.ceil(height / rows))]
    lasts = [min(first + rows, height) for first in firsts]
    return [(a, b, max(0, a - halo), min(height, b + halo)) for a, b in zip(firsts, lasts, strict=True)]
