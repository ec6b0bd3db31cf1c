"""A mosaic as a DNG file, which raw converters open (Adobe DNG 1.4: one uncompressed 16-bit strip)."""

from __future__ import annotations

import os
import struct
from fractions import Fraction
from typing import Any

import numpy as np
from PIL import TiffImagePlugin as tiff
from PIL import TiffTags

from ..files.atomic import write_atomically
from ..files.pictures import PictureError
from .exif import ISO_FULL
from .files import RawPicture, levelled
from .packing import layout, second_green

_D65 = 21


def write_dng(path: str | os.PathLike, picture: RawPicture) -> None:
    """Writes the mosaic with its levels, white balance, colour matrix and exposure; complete, or not at all.

    `read_raw` gives the same picture again: mosaic, pattern, levels and whole-numbered ISO exactly, white balance,
    matrix and exposure time to six digits, what is None as None; offsets are taken off, to half a number.
    Bayer in any order and X-Trans; a monochrome sensor's as one linear plane, black by place. Raises PictureError for
    a mosaic that is not uint16 [H, W] or levels that are not 0 <= black < white <= 65535, ValueError for another
    pattern, OSError if the disk refuses.
    """
    mosaic, white = levelled(picture, whole=True), picture.white
    if mosaic.dtype != np.uint16 or mosaic.ndim != 2:
        raise PictureError(f"{path}: a DNG takes a mosaic [H, W] of uint16, got {mosaic.dtype} {mosaic.shape}")
    if not (picture.black.min() >= 0 and picture.black.max() < white <= 65535):
        raise PictureError(
            f"{path}: levels must be 0 <= black < white <= 65535, got black {picture.black.tolist()}, white {white}"
        )
    tags = tiff.ImageFileDirectory_v2(prefix=b"II")
    for tag, kind, value in (*_frame(mosaic, picture.kind == "grey"), *_filters(picture), *_colours(picture)):
        tags[tag] = value
        tags.tagtype[tag] = kind
    tags[tiff.EXIFIFD] = _exposure(picture)
    # the writer adds the directory's length to the strip's offset
    write_atomically(path, b"II" + struct.pack("<HL", 42, 8) + tags.tobytes(8) + mosaic.astype("<u2").tobytes())


def _frame(mosaic: np.ndarray, grey: bool = False) -> list[tuple[int, int, Any]]:
    height, width = mosaic.shape
    return [
        (254, TiffTags.LONG, 0),  # the full picture, not a preview
        (256, TiffTags.LONG, width),
        (257, TiffTags.LONG, height),
        (258, TiffTags.SHORT, 16),
        (259, TiffTags.SHORT, 1),  # not compressed
        (262, TiffTags.SHORT, 34892 if grey else 32803),  # linear, or a colour filter array
        (273, TiffTags.LONG, 0),
        (277, TiffTags.SHORT, 1),
        (278, TiffTags.LONG, height),
        (279, TiffTags.LONG, mosaic.nbytes),
        (284, TiffTags.SHORT, 1),
        (50706, TiffTags.BYTE, bytes((1, 4, 0, 0))),  # DNG version, and the oldest that readers must know
        (50707, TiffTags.BYTE, bytes((1, 1, 0, 0))),
    ]


def _filters(picture: RawPicture) -> list[tuple[int, int, Any]]:
    """The filter array and its levels, black by place in the array."""
    size = layout(picture.pattern).cell
    pattern = second_green(picture.pattern) if size == 2 else picture.pattern
    black = [Fraction(float(picture.black[colour])).limit_denominator(10**4) for colour in pattern.flat]
    array = [
        (33421, TiffTags.SHORT, (size, size)),
        (33422, TiffTags.BYTE, bytes(1 if colour == 3 else int(colour) for colour in pattern.flat)),
        (50710, TiffTags.BYTE, bytes((0, 1, 2))),
        (50711, TiffTags.SHORT, 1),  # on a rectangular grid
    ]
    return [
        *([] if picture.kind == "grey" else array),
        (50713, TiffTags.SHORT, (size, size)),
        (50714, TiffTags.RATIONAL, tuple(_ratio(level) for level in black)),
        (50717, TiffTags.LONG, round(picture.white)),
    ]


def _colours(picture: RawPicture) -> list[tuple[int, int, Any]]:
    make, model = picture.make or "unknown", picture.model or "unknown"
    tags = [
        (274, TiffTags.SHORT, picture.orientation),
        (50708, TiffTags.ASCII, model if model.startswith(make) else f"{make} {model}"),
    ]
    named = ((271, picture.make), (272, picture.model))
    tags += [(tag, TiffTags.ASCII, name) for tag, name in named if name is not None]
    if picture.camera_to_xyz is not None:
        to_camera = np.linalg.inv(picture.camera_to_xyz)
        ratios = tuple(_ratio(Fraction(round(value * 10**7), 10**7)) for value in to_camera.flat)
        tags += [(50721, TiffTags.SIGNED_RATIONAL, ratios), (50778, TiffTags.SHORT, _D65)]
    if picture.white_balance is not None:
        neutral = min(picture.white_balance) / picture.white_balance
        tags.append((50728, TiffTags.RATIONAL, tuple(_ratio(Fraction(round(v * 10**7), 10**7)) for v in neutral)))
    return tags


def _exposure(picture: RawPicture) -> dict[int, Any]:
    """EXIF's own directory."""
    tags: dict[int, Any] = {36864: b"0230"}
    if picture.exposure is not None:
        tags[33434] = _ratio(Fraction(picture.exposure).limit_denominator(10**6))
    if picture.iso is not None:
        # 16 bits, and a newer tag of 32 for what they cannot hold
        tags[34855] = min(round(picture.iso), ISO_FULL)
        tags[34866] = round(picture.iso)
    return tags


def _ratio(value: Fraction) -> tiff.IFDRational:
    return tiff.IFDRational(value.numerator, value.denominator)
