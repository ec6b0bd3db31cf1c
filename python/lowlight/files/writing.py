"""Pictures out: a format's bytes with all that it holds, and what it does not hold said."""

from __future__ import annotations

import os
from dataclasses import replace
from io import BytesIO
from typing import Any

from . import codecs
from . import formats as known
from .atomic import write_atomically
from .colour import is_grey, space_of
from .formats import PictureError, format_of
from .metadata import fitted_exif
from .samples import Picture, quantise, to_pil

_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"subsampling": "4:4:4"},
    "WEBP": {"method": 4, "exact": True},
    "AVIF": {"subsampling": "4:4:4"},
    "HEIF": {"chroma": 444},
}
QUALITY = 95  # where the user says none


def encode(picture: Picture, format: str, quality: int | None = None) -> tuple[bytes, tuple[str, ...]]:
    """The picture as a file of a format of FORMATS.values(), and notes on what that format cannot hold.

    16-bit pictures stay so in PNG and TIFF, become 8-bit elsewhere; alpha stays where the format has it and is laid
    over white elsewhere. quality: 1 to 100 for JPEG, WebP, AVIF, HEIC and JPEG XL, 95 if None, but a picture of a
    lossless WebP then stays lossless in WebP. JPEG: 4:4:4; TIFF: deflate. No metadata keeps a picture from being
    written: what does not fit is left out. Raises PictureError on NaN, a side the format cannot hold, a quality that is
    none.
    """
    if quality is not None and not 1 <= quality <= 100:
        raise PictureError(f"quality must be 1 to 100, got {quality}")
    notes: list[str] = []
    height, width = picture.rgb.shape[:2]
    if max(height, width) > known.LONGEST_SIDE.get(format, 2**31):
        raise PictureError(
            f"{width} x {height} is too large for {format} (at most {known.LONGEST_SIDE[format]} a side)"
        )
    bits = picture.bits if format in known.HOLDS_16_BIT else 8
    if bits < picture.bits:
        notes.append(f"16 bits became 8: {format} holds no more")
    if picture.alpha is not None and format not in known.HOLDS_ALPHA:
        notes.append(f"transparency laid over white: {format} holds none")
        opacity = picture.alpha[..., None]
        picture = replace(picture, rgb=picture.rgb * opacity + (1 - opacity), alpha=None)
    picture = _with_metadata_that_fits(picture, format, bits, notes)
    if format == "TIFF" or bits == 16:
        samples = quantise(picture.rgb, picture.alpha, picture.grey, bits)
        writer = codecs.encode_tiff if format == "TIFF" else codecs.encode_png16
        return writer(samples, picture.exif, picture.icc), tuple(notes)
    return _encode_8_bit(replace(picture, bits=8), format, quality, notes), tuple(notes)


def _with_metadata_that_fits(picture: Picture, format: str, bits: int, notes: list[str]) -> Picture:
    """Less the profile and the EXIF that the format, or the kind of samples in it, cannot hold."""
    # 16-bit grey with alpha becomes RGBA in a TIFF
    grey = picture.grey and not (format == "TIFF" and bits == 16 and picture.alpha is not None)
    if picture.icc and (format not in known.HOLDS_ICC or is_grey(picture.icc) != grey):
        space = space_of(picture.icc)
        rgb = picture.rgb if space is None else space.to_srgb(picture.rgb)
        notes.append(f"colour profile applied, not kept: {format} does not hold it with these samples")
        picture = replace(picture, rgb=rgb, icc=None)
    exif = picture.exif
    if exif and format not in known.HOLDS_EXIF:
        notes.append(f"EXIF dropped: {format} holds none")
        exif = None
    elif format == "JPEG":
        exif, dropped = fitted_exif(exif)
        notes += [f"EXIF tags dropped, too large for {format}: {', '.join(dropped)}"] if dropped else []
    return replace(picture, exif=exif)


def _encode_8_bit(picture: Picture, format: str, quality: int | None, notes: list[str]) -> bytes:
    options, image = dict(_OPTIONS.get(format, {})), to_pil(picture)
    if format == "WEBP" and picture.lossless and quality is None:
        options["lossless"] = True
    elif format in known.LOSSY:
        options["quality"] = QUALITY if quality is None else quality
    blocks = {str(name): block for name, block in image.info.items()}
    while True:
        buffer = BytesIO()
        try:
            image.save(buffer, format, **options, **blocks)
            return buffer.getvalue()
        # encoders raise nearly anything; what they do without metadata is the picture's own fault
        except Exception as error:
            if not blocks:
                raise PictureError(f"{format} cannot hold this picture ({error})") from None
            what = "EXIF" if blocks.popitem()[0] == "exif" else "colour profile"
            notes.append(f"{what} dropped: {format} does not take it ({error})")


def write_picture(path: str | os.PathLike, picture: Picture, quality: int | None = None) -> tuple[str, ...]:
    """Writes the picture in the format of the path's extension; complete, or not at all. Returns notes for the user.

    Raises PictureError if the extension or the picture cannot be written, OSError if the disk refuses.
    """
    data, notes = encode(picture, format_of(path), quality)
    write_atomically(path, data)
    return notes
