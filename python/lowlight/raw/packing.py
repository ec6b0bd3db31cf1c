"""Mosaics and packed raw: each colour of the filter array a channel, at half size (Bayer) or a third (X-Trans).

Colours are numbered as raw files number them: 0 red, 1 green, 2 blue, 3 the green in blue's row of a Bayer array.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_BAYER = ([[0, 1], [3, 2]], [[1, 0], [2, 3]], [[3, 2], [0, 1]], [[2, 3], [1, 0]])
# what each packed channel shows; red and the first green of a Bayer array share a row of the sensor, blue and the other
BAYER_COLOURS = (0, 1, 2, 3)
XTRANS_COLOURS = (0, 1, 2, 0, 2, 1, 1, 1, 1)
# the 6 x 6 cell that the published packing of X-Trans names its places in; other sensors begin elsewhere in it
XTRANS = np.array([["RGB".index(c) for c in row] for row in
                   ("RBGBRG", "GGRGGB", "GGBGGR", "BRGRBG", "GGBGGR", "GGRGGB")], np.uint8)  # fmt: skip
# (row, column) in that cell for the places (0, 0), (0, 1), (1, 0), (1, 1) of the 2 x 2 packed pixels it becomes
_XTRANS_SITES = (
    ((0, 0), (0, 4), (3, 1), (3, 3)),
    ((0, 2), (0, 5), (3, 2), (3, 5)),
    ((0, 1), (0, 3), (3, 0), (3, 4)),
    ((1, 2), (2, 5), (5, 2), (4, 5)),
    ((2, 2), (1, 5), (4, 2), (5, 5)),
    *(tuple((y + row, x + column) for y in (0, 3) for x in (0, 3)) for row in (1, 2) for column in (0, 1)),
)


class Layout(NamedTuple):
    """How a filter array is packed."""

    colours: tuple[int, ...]  # of the channels
    cell: int  # pixels a side after which the array repeats
    side: int  # packed pixels a side that a cell becomes
    sites: tuple[tuple[tuple[int, int], ...], ...]  # [channel][packed pixel of the cell, row by row] -> row, column
    top: int  # rows and columns of the mosaic before the first cell
    left: int


def layout(pattern: np.ndarray) -> Layout:
    """The layout of a filter array, [2, 2] (Bayer in any order) or [6, 6] (X-Trans from any place on), of colours.

    The second green of a Bayer array may be numbered 1 or 3. Raises ValueError for any other pattern.
    """
    pattern = np.asarray(pattern)
    if pattern.shape == (2, 2) and pattern.dtype.kind in "iu":
        numbered = second_green(pattern)
        # red and blue across from each other, not side by side
        if numbered.tolist() in _BAYER:
            places = (np.nonzero(numbered == colour) for colour in BAYER_COLOURS)
            sites = tuple(((int(y[0]), int(x[0])),) for y, x in places)
            return Layout(BAYER_COLOURS, 2, 1, sites, 0, 0)
    if pattern.shape == (6, 6):
        # the array looks the same three rows and three columns on, so half of the rows are enough
        for top in range(3):
            for left in range(6):
                if np.array_equal(np.roll(pattern, (-top, -left), (0, 1)), XTRANS):
                    return Layout(XTRANS_COLOURS, 6, 2, _XTRANS_SITES, top, left)
    raise ValueError(f"pack: pattern must be a Bayer [2, 2] or X-Trans [6, 6] array of colours, got {pattern.tolist()}")


def second_green(pattern: np.ndarray) -> np.ndarray:
    """A Bayer pattern [2, 2] with the green in blue's row numbered 3, the one in red's row 1."""
    pattern = np.asarray(pattern)
    greens = (pattern == 1) | (pattern == 3)
    blue_row = (pattern == 2).any(axis=1, keepdims=True)
    return np.where(greens, np.where(blue_row, 3, 1), pattern).astype(np.uint8)


def colour_map(pattern: np.ndarray, height: int, width: int) -> np.ndarray:
    """[height, width]: the colour of each pixel of a mosaic."""
    rows, columns = pattern.shape
    return pattern[np.ix_(np.arange(height) % rows, np.arange(width) % columns)]


def pack(mosaic: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    """[H, W] of any dtype -> channels of one colour each, same dtype; the published order.

    Bayer: [4, H // 2, W // 2], red, green of its row, blue, green of its row. X-Trans: [9, h, w], h and w even, about
    a third, see XTRANS_COLOURS. Rows and columns that fill no whole cell are left out.
    Raises ValueError for another pattern or a mosaic smaller than a cell.
    """
    plan = layout(pattern)
    if mosaic.ndim != 2:
        raise ValueError(f"pack: mosaic must be [H, W], got {mosaic.shape}")
    cells_y, cells_x = (
        (size - first) // plan.cell for size, first in zip(mosaic.shape, (plan.top, plan.left), strict=True)
    )
    if min(cells_y, cells_x) < 1:
        raise ValueError(f"pack: a mosaic of {mosaic.shape} holds no whole cell of {plan.cell} x {plan.cell}")
    area = mosaic[plan.top : plan.top + cells_y * plan.cell, plan.left : plan.left + cells_x * plan.cell]
    packed = np.empty((len(plan.colours), cells_y * plan.side, cells_x * plan.side), mosaic.dtype)
    for into, out_of in _places(plan):
        packed[into] = area[out_of]
    return packed


def unpack(packed: np.ndarray, pattern: np.ndarray, shape: tuple[int, int] | None = None) -> np.ndarray:
    """The mosaic [H, W] that `pack` made these channels of.

    shape: of that mosaic; its pixels that `pack` left out repeat the nearest cell. None: the packed pixels alone (from
    the first whole cell on). Raises ValueError for another pattern, channels or a shape that do not fit.
    """
    plan = layout(pattern)
    if packed.ndim != 3 or len(packed) != len(plan.colours) or any(size % plan.side for size in packed.shape[1:]):
        sides = " of even sides" if plan.side == 2 else ""
        raise ValueError(f"unpack: packed must be [{len(plan.colours)}, h, w]{sides}, got {packed.shape}")
    if shape is None:
        return _spread(packed, plan)
    for size, packed_size, first in zip(shape, packed.shape[1:], (plan.top, plan.left), strict=True):
        if (size - first) // plan.cell * plan.side != packed_size:
            raise ValueError(f"unpack: packed {packed.shape} does not come of a mosaic of {tuple(shape)}")
    # one more cell on every side, of which the mosaic needs less
    around = _spread(_with_border(packed, plan.side), plan)
    top, left = plan.cell - plan.top, plan.cell - plan.left
    return np.ascontiguousarray(around[top : top + shape[0], left : left + shape[1]])


def _with_border(packed: np.ndarray, side: int) -> np.ndarray:
    """Packed pixels with their outermost cells, `side` packed pixels wide, once more around them."""
    rows, columns = (np.r_[0:side, 0:size, size - side : size] for size in packed.shape[1:])
    return packed[:, rows][:, :, columns]


def _spread(packed: np.ndarray, plan: Layout) -> np.ndarray:
    _, height, width = packed.shape
    mosaic = np.empty((height // plan.side * plan.cell, width // plan.side * plan.cell), packed.dtype)
    for into, out_of in _places(plan):
        mosaic[out_of] = packed[into]
    return mosaic


def _places(plan: Layout):
    """Pairs of indices: into packed channels, and into the mosaic they show."""
    for channel, sites in enumerate(plan.sites):
        for number, (row, column) in enumerate(sites):
            y, x = divmod(number, plan.side)
            yield (
                (channel, slice(y, None, plan.side), slice(x, None, plan.side)),
                (slice(row, None, plan.cell), slice(column, None, plan.cell)),
            )
