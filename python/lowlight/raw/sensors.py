"""What a raw file holds, as a mosaic: a filter array's numbers, one grey plane, or one of three colours a place."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np

from ..files.pictures import PictureError
from .packing import layout, second_green

# a monochrome sensor's pattern says how it is packed, and nothing of colours; of a demosaiced (linear) picture each
# place keeps the one colour that a sensor of this array would have measured there
RGGB = np.array([[0, 1], [3, 2]], np.uint8)
# what a user is told of each kind of picture
SAID = {
    "mosaic": "",
    "grey": "of a monochrome sensor",
    "linear": "demosaiced before, made a mosaic again: its noise may not be the sensor's",
}
KINDS = tuple(SAID)


class OtherSensorError(PictureError):
    """A raw file whose sensor has not the filter array that is asked for: it can be developed all the same."""


class Sensor(NamedTuple):
    """kind: one of KINDS. mosaic: [H, W], the visible part. pattern: its colours, see RawPicture."""

    kind: str
    mosaic: np.ndarray
    pattern: np.ndarray


def sensor_of(raw: Any, is_dng: bool, kinds: Collection[str]) -> Sensor:
    """What a rawpy.RawPy holds; raises OtherSensorError where that is not one of `kinds`, or nothing of the three.

    Three colours a place are taken of DNG alone, where they are linear camera colours; in other files they are small
    raw (sRAW, luma and chroma) or Foveon's layers, which LibRaw develops.
    """
    if raw.raw_type.name == "Flat" and raw.num_colors == 1:
        found = Sensor("grey", np.array(raw.raw_image_visible), RGGB)
        missing = "of a monochrome sensor"
    elif raw.raw_type.name == "Stack" and raw.num_colors == 3 and is_dng:
        found = Sensor("linear", one_colour_a_place(raw.raw_image_visible), RGGB)
        missing = "already demosaiced"
    elif raw.raw_type.name != "Flat" or raw.raw_pattern is None or raw.num_colors != 3:
        raise OtherSensorError("no mosaic of red, green and blue (small raw, Foveon or other colours)")
    else:
        return Sensor("mosaic", np.array(raw.raw_image_visible), _pattern(raw))
    if found.kind not in kinds:
        raise OtherSensorError(f"no mosaic of red, green and blue ({missing})")
    return found


def one_colour_a_place(planes: np.ndarray) -> np.ndarray:
    """[H, W] of [H, W, 3 or more]: what an RGGB sensor measures of these colours."""
    mosaic = planes[..., 1].copy()
    mosaic[::2, ::2], mosaic[1::2, 1::2] = planes[::2, ::2, 0], planes[1::2, 1::2, 2]
    return mosaic


def _pattern(raw: Any) -> np.ndarray:
    """The colours from the first visible pixel on."""
    letters = [chr(letter) for letter in raw.color_desc]
    pattern = np.array([["RGB".find(letters[index]) for index in row] for row in raw.raw_pattern])
    try:
        layout(pattern)
    except ValueError:
        raise OtherSensorError(f"a filter array that is neither Bayer nor X-Trans: {pattern.tolist()}") from None
    return second_green(pattern) if pattern.shape == (2, 2) else pattern.astype(np.uint8)
