"""Packing: the published places of every colour, any order of the filter array, and back."""

import numpy as np
import pytest
import torch
from raw_pictures import BAYER, pattern_of

import lowlight_ext
from lowlight.raw.packing import BAYER_COLOURS, XTRANS_COLOURS, colour_map, pack, second_green, unpack

# the published packing of X-Trans in another form: the channel that each place of the 6 x 6 cell goes to; the packed
# pixel is the 3 x 3 block the place lies in
XTRANS_CHANNELS = [[0, 2, 1, 2, 0, 1], [5, 6, 3, 5, 6, 4], [7, 8, 4, 7, 8, 3],
                   [2, 0, 1, 0, 2, 1], [5, 6, 4, 5, 6, 3], [7, 8, 3, 7, 8, 4]]  # fmt: skip
PHASES = [(y, x) for y in range(6) for x in range(6)]


def numbered(height, width):
    return np.arange(height * width, dtype=np.int32).reshape(height, width)


@pytest.mark.parametrize("order", BAYER)
def test_bayer_places(order):
    mosaic = numbered(6, 10)
    packed = pack(mosaic, np.array(order))
    assert packed.shape == (4, 3, 5)
    for y in range(6):
        for x in range(10):
            assert packed[order[y % 2][x % 2], y // 2, x // 2] == mosaic[y, x]


@pytest.mark.parametrize("order", BAYER)
def test_greens_are_told_by_their_row(order):
    """However the file numbers them: the first green shares red's row, as the noise of a row has it."""
    plain = np.where(np.array(order) == 3, 1, order)
    assert second_green(plain).tolist() == order
    assert np.array_equal(pack(numbered(4, 4), plain), pack(numbered(4, 4), np.array(order)))
    parameters = lowlight_ext.RawNoiseParameters(1.0, 1.0, "r", R_scale=50.0)
    noise = lowlight_ext.raw_noise(torch.full((1, 4, 8, 8), 0.5), parameters, 1)[0].numpy()
    rows = unpack(noise, plain)
    assert np.ptp(rows, axis=1).max() == 0
    assert len(np.unique(rows[:, 0])) == 16


def test_xtrans_places():
    mosaic = numbered(12, 18)
    packed = pack(mosaic, pattern_of((0, 0)))
    assert packed.shape == (9, 4, 6)
    for y in range(12):
        for x in range(18):
            assert packed[XTRANS_CHANNELS[y % 6][x % 6], y // 3, x // 3] == mosaic[y, x]


@pytest.mark.parametrize("order", [*BAYER, *PHASES], ids=str)
@pytest.mark.parametrize("size", [(24, 30), (25, 33), (29, 35)])
def test_channels_hold_one_colour_and_come_back(order, size):
    pattern = pattern_of(order)
    colours = colour_map(pattern, *size)
    expected = BAYER_COLOURS if len(pattern) == 2 else XTRANS_COLOURS
    packed = pack(colours, pattern)
    assert packed.dtype == colours.dtype
    for channel, colour in zip(packed, expected, strict=True):
        assert (channel == colour).all()
    # at the borders too
    assert np.array_equal(unpack(packed, pattern, size), colours)
    mosaic = numbered(*size)
    back = unpack(pack(mosaic, pattern), pattern, size)
    kept = np.isin(mosaic, pack(mosaic, pattern))
    assert kept.sum() == packed.size
    assert np.array_equal(back[kept], mosaic[kept])
    # the others repeat the nearest cell
    assert np.isin(back, mosaic[kept]).all()
    for own, repeated in zip(np.divmod(mosaic, size[1]), np.divmod(back, size[1]), strict=True):
        assert np.abs(own - repeated).max() <= len(pattern)


def test_without_a_shape_the_packed_pixels_come_back():
    mosaic = numbered(9, 13)
    assert np.array_equal(unpack(pack(mosaic, np.array(BAYER[1])), np.array(BAYER[1])), mosaic[:8, :12])


@pytest.mark.parametrize(
    "pattern",
    [[[0, 1], [2, 3]], [[0, 2], [1, 1]], [[0, 0], [1, 2]], [[0, 1, 2]], [[0, 1], [1, 4]], [[0.0, 1.0], [3.0, 2.0]],
     [[0] * 6] * 6],
)  # fmt: skip
def test_other_patterns_are_refused(pattern):
    with pytest.raises(ValueError, match="Bayer"):
        pack(numbered(12, 12), np.array(pattern))


def test_shapes_that_do_not_fit():
    bayer, xtrans = np.array(BAYER[0]), pattern_of((0, 0))
    with pytest.raises(ValueError, match=r"\[H, W\]"):
        pack(np.zeros((1, 4, 4)), bayer)
    with pytest.raises(ValueError, match="no whole cell"):
        pack(np.zeros((5, 40)), xtrans)
    with pytest.raises(ValueError, match=r"\[4, h, w\]"):
        unpack(np.zeros((9, 4, 4)), bayer)
    with pytest.raises(ValueError, match="even sides"):
        unpack(np.zeros((9, 4, 3)), xtrans)
    with pytest.raises(ValueError, match="does not come of"):
        unpack(np.zeros((4, 4, 4)), bayer, (8, 10))
