"""What a photograph's EXIF says of the exposure and the camera."""

from __future__ import annotations

import logging
import math
import os
import struct
from io import BytesIO
from typing import BinaryIO, NamedTuple

# EXIF holds ISO in 16 bits; cameras write this for all above, and the true one in a newer tag
ISO_FULL = 65535


class Shot(NamedTuple):
    """Each None where the file does not say."""

    iso: float | None = None
    exposure: float | None = None  # seconds
    make: str | None = None
    model: str | None = None


def read_exif(path: str | os.PathLike) -> Shot:
    """ISO, exposure time, make and model of a raw file or any picture with EXIF (TIFF, JPEG and RAF structure).

    ISO and time are found in either directory (cameras put them in the main one or in EXIF's own). A file without
    EXIF, with damaged EXIF or not there gives an empty Shot. Raises ImportError without exifread.
    """
    import exifread

    # it warns of files without EXIF; with no handler at all that would go to the terminal
    logging.getLogger("exifread").addHandler(logging.NullHandler())
    try:
        with open(path, "rb") as file:
            tags = exifread.process_file(_exif_part(file), details=False)
    # damaged directories make the reader raise nearly anything
    except Exception:
        return Shot()
    iso = _number(tags, "ISOSpeedRatings")
    if iso is None or iso >= ISO_FULL:
        iso = _number(tags, "RecommendedExposureIndex") or _number(tags, "ISOSpeed") or iso
    return Shot(iso, _number(tags, "ExposureTime"), _text(tags, "Make"), _text(tags, "Model"))


def _exif_part(file: BinaryIO) -> BinaryIO:
    """The file, or of a RAF file the JPEG in it, which holds the EXIF."""
    head = file.read(92)
    file.seek(0)
    if not head.startswith(b"FUJIFILMCCD-RAW") or len(head) < 92:
        return file
    offset, length = struct.unpack(">II", head[84:92])
    file.seek(offset)
    return BytesIO(file.read(length))


def _number(tags: dict, name: str) -> float | None:
    """A positive number under that name in either directory, or None."""
    for directory in ("EXIF", "Image"):
        values = getattr(tags.get(f"{directory} {name}"), "values", None)
        if not isinstance(values, list) or not values:
            continue
        # whole numbers as they are, ratios of the reader's own kind, floating-point ones in a tuple
        value = values[0][0] if isinstance(values[0], tuple) else values[0]
        if hasattr(value, "num"):
            value = value.num / value.den if value.den else 0
        if isinstance(value, int | float) and 0 < value < math.inf:
            return float(value)
    return None


def _text(tags: dict, name: str) -> str | None:
    return str(tags.get(f"Image {name}", "")).strip("\0 ") or None
