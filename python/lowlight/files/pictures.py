"""Pictures in and out: any PNG, JPEG, WebP, TIFF or BMP to float RGB and back, with all that must survive the trip."""

import os
import warnings
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from . import codecs
from .atomic import write_atomically

FORMATS = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP",
}  # fmt: skip
READABLE = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")
HOLDS_ALPHA = {"PNG", "WEBP", "TIFF"}
HOLDS_EXIF = {"PNG", "JPEG", "WEBP", "TIFF"}
HOLDS_16_BIT = {"PNG", "TIFF"}
LONGEST_SIDE = {"JPEG": 65500, "WEBP": 16383}

# tags of the old file's layout: wrong, or misleading, in the new one
_LAYOUT_TAGS = {
    254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 330, 338, 339, 347,
    513, 514, 529, 530, 531, 532, 700, 34377, 34675,
}  # fmt: skip
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


class PictureError(ValueError):
    """A picture that cannot be read, understood or written; the message is one sentence meant for the user."""


@dataclass
class Picture:
    """One upright picture and what its file carried besides colours.

    rgb: [H, W, 3] float32 in [0, 1], values as stored (sRGB or what `icc` says); three equal channels if `grey`.
    alpha: [H, W] float32 in [0, 1], or None. bits: 8 or 16, the depth it was stored with.
    exif, icc: raw blocks to write back. notes: what could not be kept or was decided on the way, for the user.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    grey: bool = False
    bits: int = 8
    exif: bytes | None = None
    icc: bytes | None = None
    notes: tuple[str, ...] = ()


def read_picture(path: str | os.PathLike) -> Picture:
    """Reads the file (by content, whatever its extension), upright: the EXIF orientation is applied and reset.

    Raises PictureError if the file is missing, unreadable, truncated, of another format or absurdly large.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns from 89 megapixels on and refuses from 179; between the two is a large picture, not a bomb
            warnings.simplefilter("ignore")
            with Image.open(path, formats=READABLE) as image:
                return decode(image, path)
    except PictureError as error:
        raise PictureError(f"{path}: {error}") from None
    except UnidentifiedImageError:
        raise PictureError(f"{path}: not a PNG, JPEG, WebP, TIFF or BMP picture") from None
    except Image.DecompressionBombError as error:
        raise PictureError(f"{path}: too large to be a photograph ({error})") from None
    except IsADirectoryError:
        raise PictureError(f"{path}: is a folder, not a picture") from None
    except FileNotFoundError:
        raise PictureError(f"{path}: no such file") from None
    except MemoryError:
        raise PictureError(f"{path}: not enough memory to decode it") from None
    # decoders raise nearly anything on a damaged file
    except (OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, KeyError, OverflowError) as error:
        raise PictureError(f"{path}: cannot be decoded ({getattr(error, 'strerror', None) or error})") from None


def decode(image: Image.Image, path: str | os.PathLike | None = None) -> Picture:
    """A PIL image of any mode as a Picture.

    path: the file it was opened from and not loaded yet: then 16-bit colour is read in full, and the orientation its
    EXIF asks for is applied and reset. Without it the image is taken as it stands, and `exif` stays None.
    Raises PictureError for a mode that is not a picture's.
    """
    notes: list[str] = []
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        notes.append(f"only the first of {frames} pages was taken")
    icc = image.info.get("icc_profile")
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        notes.append(f"stored as {image.mode}, written as RGB")
        icc = icc if image.mode == "YCbCr" else None
    # before EXIF, because asking a PNG for it loads the samples, and with that forgets how they were stored
    rawmode = codecs.rawmode(image)
    exif, orientation = (None, 1) if path is None else _exif(image, notes)
    samples, bits = _samples(image, path, rawmode)
    samples = turn_upright(samples, orientation)
    channels = samples.shape[2]
    has_alpha, grey = channels in (2, 4), channels <= 2
    values = samples.astype(np.float32) / np.float32(2**bits - 1)
    rgb = np.repeat(values[..., :1], 3, axis=2) if grey else np.ascontiguousarray(values[..., :3])
    alpha = np.ascontiguousarray(values[..., -1]) if has_alpha else None
    return Picture(rgb, alpha, grey, bits, exif, icc, tuple(notes))


def _samples(image: Image.Image, path: str | os.PathLike | None, rawmode: str) -> tuple[np.ndarray, int]:
    """Stored samples [H, W, 1 (grey), 2 (grey, alpha), 3 or 4] as uint8 or uint16, and the depth in bits."""
    if image.mode.startswith("I"):
        return _grey_16_bit(image, rawmode), 16
    if image.mode == "F":
        raise PictureError("floating-point pixels have no agreed range; convert it to 16 bit first")
    if path is not None and codecs.is_16_bit(image, rawmode):
        samples = codecs.read_16_bit_colour(image, path, rawmode)
        if samples is None:
            raise PictureError("16-bit colour as planes or with premultiplied alpha; save it as plain RGB first")
        return _cut_out(samples, image.info.get("transparency")), 16
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


def _exif(image: Image.Image, notes: list[str]) -> tuple[bytes | None, int]:
    """EXIF to write back (orientation 1, nothing of the old file's layout, no stale thumbnail), and the orientation."""
    try:
        exif = image.getexif()
        # read them now: a TIFF file is closed once its samples are loaded
        for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            exif.get_ifd(directory)
        orientation = exif.get(ExifTags.Base.Orientation, 1)
        for tag in _LAYOUT_TAGS & set(exif):
            del exif[tag]
        if not exif:
            return None, 1
        if orientation != 1:
            exif[ExifTags.Base.Orientation] = 1
        return exif.tobytes(), orientation if orientation in range(1, 9) else 1
    # a damaged EXIF block raises nearly anything, and costs the block, not the picture
    except Exception as error:
        notes.append(f"EXIF dropped: damaged ({error})")
        return None, 1


def turn_upright(samples: np.ndarray, orientation: int) -> np.ndarray:
    """Rows and columns [H, W, C] as EXIF orientation 1..8 wants them seen."""
    if orientation >= 5:
        samples = samples.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return samples


def encode(picture: Picture, format: str) -> tuple[bytes, tuple[str, ...]]:
    """The picture as a file of a format of FORMATS.values(), and notes on what that format cannot hold.

    16-bit pictures stay so in PNG and TIFF, become 8-bit elsewhere; alpha stays in PNG, WebP and TIFF and is laid over
    white elsewhere. JPEG: quality 95, 4:4:4; WebP: quality 95; TIFF: deflate. Raises PictureError on NaN or a side the
    format cannot hold.
    """
    notes = []
    height, width = picture.rgb.shape[:2]
    if max(height, width) > LONGEST_SIDE.get(format, 2**31):
        raise PictureError(f"{width} x {height} is too large for {format} (at most {LONGEST_SIDE[format]} a side)")
    bits = picture.bits if format in HOLDS_16_BIT else 8
    if bits < picture.bits:
        notes.append(f"16 bits became 8: {format} holds no more")
    if picture.alpha is not None and format not in HOLDS_ALPHA:
        notes.append(f"transparency laid over white: {format} holds none")
        opacity = picture.alpha[..., None]
        picture = replace(picture, rgb=picture.rgb * opacity + (1 - opacity), alpha=None)
    if format == "TIFF" or bits == 16:
        samples = quantise(picture.rgb, picture.alpha, picture.grey, bits)
        writer = codecs.encode_tiff if format == "TIFF" else codecs.encode_png16
        return writer(samples, picture.exif, picture.icc), tuple(notes)
    return _encode_8_bit(replace(picture, bits=8), format), tuple(notes)


def quantise(rgb: np.ndarray, alpha: np.ndarray | None, grey: bool, bits: int) -> np.ndarray:
    """Samples [H, W, 1..4] uint8 or uint16 of RGB [H, W, 3] and alpha [H, W] in [0, 1]; grey is Rec. 601 luma.

    Raises PictureError if rgb holds NaN or infinity.
    """
    if not np.isfinite(rgb).all():
        raise PictureError("the picture holds NaN or infinite values")
    colours = (rgb @ LUMA)[..., None] if grey else rgb
    stacked = colours if alpha is None else np.concatenate([colours, alpha[..., None]], axis=2)
    return np.rint(np.clip(stacked, 0, 1) * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)


def to_pil(picture: Picture) -> Image.Image:
    """A PIL image (L, LA, RGB, RGBA, I;16 for 16-bit grey; 16-bit RGB becomes 8-bit), EXIF and ICC in its info."""
    bits = picture.bits if picture.grey and picture.alpha is None else 8
    samples = quantise(picture.rgb, picture.alpha, picture.grey, bits)
    image = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    blocks = {"exif": picture.exif, "icc_profile": picture.icc}
    image.info.update({name: block for name, block in blocks.items() if block})
    return image


def _encode_8_bit(picture: Picture, format: str) -> bytes:
    known: dict[str, dict[Any, Any]] = {
        "PNG": {},
        "JPEG": {"quality": 95, "subsampling": "4:4:4"},
        "WEBP": {"quality": 95, "method": 4, "exact": True},
        "BMP": {},
    }
    options, image = known[format], to_pil(picture)
    if format in HOLDS_EXIF:
        options |= image.info
    buffer = BytesIO()
    try:
        image.save(buffer, format, **options)
    except (ValueError, OSError) as error:
        raise PictureError(f"{format} cannot hold this picture ({error})") from None
    return buffer.getvalue()


def write_picture(path: str | os.PathLike, picture: Picture) -> tuple[str, ...]:
    """Writes the picture in the format of the path's extension; complete, or not at all. Returns notes for the user.

    Raises PictureError if the extension or the picture cannot be written, OSError if the disk refuses.
    """
    data, notes = encode(picture, format_of(path))
    write_atomically(path, data)
    return notes


def format_of(path: str | os.PathLike) -> str:
    """The format name for the path's extension; raises PictureError for one that cannot be written."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        what = f"cannot write '{suffix}' files" if suffix else "the output name has no extension"
        raise PictureError(f"{path}: {what}; use one of {', '.join(FORMATS)}")
    return FORMATS[suffix]
