"""Raw files among other pictures: which files they are, and a developed one as a files.pictures.Picture."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from ..files.pictures import Picture, PictureError
from .exif import ISO_FULL, Shot, read_exif
from .files import RawPicture, denormalise, normalise, read_raw
from .render import postprocess, render
from .sensors import SAID, OtherSensorError

RAW_SUFFIXES = {
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".k25", ".kdc", ".mef",
    ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
}  # fmt: skip
RENDERERS = ("own", "libraw")


def is_raw(path: str | os.PathLike) -> bool:
    """Whether the name is a raw file's; many raw files are TIFF files inside, which their content does not settle."""
    return Path(path).suffix.lower() in RAW_SUFFIXES


def read_developed(path: str | os.PathLike) -> Picture:
    """A raw file as an upright sRGB picture of 16 bits, as dark as it was taken; raises as read_raw does.

    What has another than one plane or a filter array (linear DNG, sRAW, Foveon) is developed by LibRaw, and said so.
    """
    try:
        picture = read_raw(path, ("mosaic", "grey"))
    except OtherSensorError as error:
        # the curve of sRGB; LibRaw's own is that of video
        samples = postprocess(path, gamma=(2.4, 12.92)).transpose(1, 2, 0)
        note = f"developed by LibRaw: {str(error).removeprefix(f'{path}: ')}"
        return Picture(np.ascontiguousarray(samples), bits=16, exif=_exif(read_exif(path)), notes=(note,))
    return develop(normalise(picture), picture)


def develop(
    packed: np.ndarray, picture: RawPicture, renderer: str = "own", path: str | os.PathLike | None = None
) -> Picture:
    """Packed raw [4 or 9, h, w] in [0, 1] as an upright sRGB picture of 16 bits, with EXIF of camera and exposure.

    picture: the raw it was made of, grey if its sensor was. renderer: "own" is `render`, "libraw" is `postprocess` of
    the file at `path` with these numbers in it, at the file's own depth. Raises what these raise, and ValueError for
    another renderer.
    """
    if renderer not in RENDERERS:
        raise ValueError(f"develop: renderer must be one of {', '.join(RENDERERS)}, got {renderer!r}")
    if renderer == "own":
        srgb = render(packed, picture)
    elif path is None:
        raise ValueError("develop: LibRaw renders files, and this picture was not read from one")
    elif picture.kind == "linear":
        raise PictureError(f"{path}: was demosaiced before, and LibRaw renders mosaics; the own renderer does it")
    else:
        srgb = postprocess(path, denormalise(packed, picture))
    grey, notes = picture.kind == "grey", (SAID[picture.kind],) if SAID[picture.kind] else ()
    rgb = np.broadcast_to(srgb.transpose(1, 2, 0), (*srgb.shape[1:], 3))
    return Picture(np.ascontiguousarray(rgb), grey=grey, bits=16, exif=_exif(picture), notes=notes)


def _exif(picture: RawPicture | Shot) -> bytes | None:
    """Camera, time and ISO as the photograph was taken; None where the file says nothing of them."""
    exif = Image.Exif()
    named = ((ExifTags.Base.Make, picture.make), (ExifTags.Base.Model, picture.model))
    exif.update({tag: name for tag, name in named if name is not None})
    shot: dict[int, Any] = {}
    if picture.exposure is not None:
        time = Fraction(picture.exposure).limit_denominator(10**6)
        shot[ExifTags.Base.ExposureTime] = IFDRational(time.numerator, time.denominator)
    if picture.iso is not None:
        shot[ExifTags.Base.ISOSpeedRatings] = min(round(picture.iso), ISO_FULL)
    if shot:
        exif[ExifTags.IFD.Exif] = shot
    return exif.tobytes() if len(exif) else None
