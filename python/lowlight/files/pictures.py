"""Pictures in, and all of this room's doors: any picture file to float RGB and back, with all that must survive."""

from __future__ import annotations

import os
from io import BytesIO

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from . import codecs, heif
from .colour import LUMA, MatrixSpace, Space, converted, is_grey, space_of
from .formats import FORMATS, HOLDS_16_BIT, PictureError, Source, format_of, open_image, reading, spoken
from .metadata import kept_exif, orientation_of, upright_tiff
from .planes import is_planar, read_16_bit_planes
from .profiles import declared_profile, hdr_to_srgb
from .samples import Picture, quantise, to_pil, turn_upright
from .writing import encode, write_picture

__all__ = [
    "FORMATS", "HOLDS_16_BIT", "LUMA", "Picture", "PictureError", "decode", "encode", "format_of", "open_image",
    "quantise", "read_picture", "read_srgb", "reading", "srgb_of", "to_pil", "turn_upright", "write_picture",
]  # fmt: skip


def read_picture(path: str | os.PathLike, data: bytes | None = None) -> Picture:
    """Reads the file (by content, whatever its extension), upright: the EXIF orientation is applied and reset.

    data: its bytes, where they are not on a disk; `path` then is what messages call it.

    Raises PictureError if the file is missing, unreadable, truncated, of another format or absurdly large.
    """
    with reading(path):
        source, orientation = upright_tiff(path if data is None else BytesIO(data))
        with open_image(source, path) as image:
            return decode(image, source, orientation)


def read_srgb(path: str | os.PathLike) -> np.ndarray:
    """[H, W, 3] float32 in [0, 1], upright, in sRGB whatever space the file keeps its colours in; no alpha.

    What learns of or measures pictures reads them by this, so that they are to it what the network is shown.
    Raises PictureError as read_picture does.
    """
    return srgb_of(read_picture(path))[0]


def decode(image: Image.Image, source: Source | None = None, orientation: int = 1) -> Picture:
    """A PIL image of any mode as a Picture.

    source: the file it was opened from and not loaded yet: then 16-bit colour is read in full, and the orientation its
    EXIF asks for is applied and reset. Without it the image is taken as it stands, and `exif` stays None.
    orientation: of a TIFF file, which is kept from Pillow. Raises PictureError for a mode that is not a picture's.
    """
    notes = _left_out(image)
    # before EXIF, because asking a PNG for it loads the samples, and with that forgets how they were stored
    rawmode = codecs.rawmode(image)
    lossless = source is not None and image.format == "WEBP" and codecs.is_lossless_webp(source)
    icc, cicp = _profile(image, source, notes)
    exif = None
    if source is not None:
        orientation = orientation if isinstance(image, TiffImageFile) else orientation_of(image)
        exif = kept_exif(image, notes)
    samples, bits = _samples(image, source, rawmode, notes)
    icc = None if image.mode in ("CMYK", "LAB", "HSV") else icc
    samples = turn_upright(samples, orientation)
    channels = samples.shape[2]
    has_alpha, grey = channels in (2, 4), channels <= 2
    values = samples.astype(np.float32) / np.float32(2**bits - 1)
    rgb = np.repeat(values[..., :1], 3, axis=2) if grey else np.ascontiguousarray(values[..., :3])
    if icc and is_grey(icc) != grey:
        rgb, icc = _without_profile(rgb, icc, grey, notes), None
    if cicp is not None:
        rgb = hdr_to_srgb(rgb, cicp)
        notes.append("HDR written as sRGB: light above 203 cd/m2 is clipped")
    alpha = np.ascontiguousarray(values[..., -1]) if has_alpha else None
    return Picture(rgb, alpha, grey, bits, exif, icc, tuple(notes), lossless)


def srgb_of(picture: Picture) -> tuple[np.ndarray, Space | None, tuple[str, ...]]:
    """The picture's colours in sRGB, [H, W, 3] float32 in [0, 1], the space to bring others back to, and notes.

    The space is None, and the colours are the picture's own array, where it is in sRGB already.
    """
    space = space_of(picture.icc)
    if space is None:
        return picture.rgb, None, ()
    share = space.outside(picture.rgb) if isinstance(space, MatrixSpace) else 0.0
    note = f"{share:.0%} of its pixels lie outside of sRGB, which the network works in, and come back at its edge"
    return space.to_srgb(picture.rgb), space, (note,) if share >= 0.01 else ()


def _left_out(image: Image.Image) -> list[str]:
    """What of the file is not the one picture that is taken."""
    notes = []
    frames = getattr(image, "n_frames", 1)
    if image.format == "MPO" and frames > 1:
        more = "the second picture" if frames == 2 else f"{frames - 1} more pictures"
        notes.append(f"{more} in the file dropped (MPO: another eye, a preview or a gain map)")
    elif frames > 1:
        notes.append(f"only the first of {frames} pages was taken")
    xmp = image.info.get("xmp") or b""
    if b"hdrgm:" in (xmp if isinstance(xmp, bytes) else str(xmp).encode()):
        notes.append("gain map dropped: the picture is what a display without HDR shows")
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        notes.append(f"stored as {image.mode}, written as RGB")
    return notes


def _profile(
    image: Image.Image, source: Source | None, notes: list[str]
) -> tuple[bytes | None, tuple[int, int] | None]:
    """As profiles.declared_profile; what cannot be understood costs the profile, not the picture."""
    try:
        icc, cicp = declared_profile(image, source)
        if image.mode not in ("CMYK", "LAB"):
            space_of(icc)
    except ValueError as error:
        notes.append(f"colour profile dropped, taken as sRGB: {error}")
        return None, None
    return icc, cicp


def _without_profile(rgb: np.ndarray, icc: bytes, grey: bool, notes: list[str]) -> np.ndarray:
    """Colours in sRGB where the profile is of the other kind: grey has a place in RGB's, not colours in grey's."""
    space = space_of(icc)
    if not grey:
        notes.append("colour profile dropped: it is one of grey pictures")
        return rgb
    if space is None:
        return rgb
    notes.append("colour profile applied, not kept: it is one of colours, and the picture is grey")
    return space.to_srgb(rgb)


def _samples(image: Image.Image, source: Source | None, rawmode: str, notes: list[str]) -> tuple[np.ndarray, int]:
    """Stored samples [H, W, 1 (grey), 2 (grey, alpha), 3 or 4] as uint8 or uint16, and the depth in bits."""
    if image.mode.startswith("I"):
        return _grey_16_bit(image, rawmode), 16
    if image.mode == "F":
        raise PictureError("floating-point pixels have no agreed range; convert it to 16 bit first")
    if source is not None and codecs.is_16_bit(image, rawmode):
        if is_planar(image):
            samples = read_16_bit_planes(image, source)
        else:
            samples = codecs.read_16_bit_colour(image, source, rawmode)
        if samples is None:
            raise PictureError("16-bit colour with premultiplied alpha or of another kind; save it as plain RGB first")
        return _cut_out(samples, image.info.get("transparency")), 16
    if (depth := heif.depth_of(image, source)) > 8:
        deep = heif.read_deep(image, source, depth)
        if deep is not None:
            return deep, 16
        notes.append(f"{depth} bits became 8, with which {spoken(image.format or '')} is read here")
    icc = image.info.get("icc_profile")
    if image.mode == "LAB" or (image.mode == "CMYK" and icc):
        try:
            return np.asarray(converted(image, icc if image.mode == "CMYK" else None)), 8
        except ValueError as error:
            if image.mode == "LAB":
                raise PictureError(f"Lab colours: {error}") from None
            notes.append(f"colour profile dropped: {error}")
    if image.mode in ("1", "L"):
        mode = "LA" if "transparency" in image.info else "L"
    elif image.mode in ("LA", "La"):
        mode = "LA"
    else:
        mode = "RGBA" if image.has_transparency_data else "RGB"
    array = np.asarray(image.convert(mode))
    return array.reshape(*array.shape[:2], -1), 8


def _grey_16_bit(image: Image.Image, rawmode: str) -> np.ndarray:
    """Samples [H, W, 1 or 2] uint16 of modes I;16 and I (16-bit grey in 32-bit integers, as some writers keep it)."""
    if ";12" in rawmode:
        raise PictureError("12 bits a channel; convert it to 16 bit first")
    inverted = isinstance(image, TiffImageFile) and image.tag_v2.get(262) == 0
    values = np.asarray(image)
    if image.mode == "I" and values.size and (values.min() < 0 or values.max() > 65535):
        raise PictureError(f"32-bit values from {values.min()} to {values.max()}; at most 16 bits a channel are read")
    values = values.astype(np.uint16)[..., None]
    return _cut_out(65535 - values if inverted else values, image.info.get("transparency"))


def _cut_out(samples: np.ndarray, key: int | tuple[int, ...] | None) -> np.ndarray:
    """Adds the alpha channel that a PNG colour key (one value or colour that is transparent) stands for."""
    if key is None:
        return samples
    opaque = (samples != np.array(key, np.uint16)).any(axis=2, keepdims=True)
    return np.concatenate([samples, opaque * np.uint16(65535)], axis=2)
