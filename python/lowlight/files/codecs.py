"""16-bit colour, which Pillow neither reads nor writes: PNG and TIFF, by Pillow's own decoders and zlib."""

from __future__ import annotations

import os
import struct
import zlib

import numpy as np
from PIL import Image, TiffTags
from PIL import TiffImagePlugin as tiff

from .formats import Source, opened
from .metadata import EXIF, GPS

# rawmodes that unpack the high byte of every 16-bit sample, and the one that unpacks the low byte of the same data
_LOW_BYTES = {
    f"{mode};16{order}": f"{mode};16{other}" for mode in ("RGB", "RGBA", "RGBX") for order, other in ("BL", "LB", "NB")
}
# 16-bit grey with alpha is four bytes a pixel: unpacked as if it were 8-bit RGBA
_GREY_ALPHA = "LA;16B"


def rawmode(image: Image.Image) -> str:
    """How Pillow will unpack the file's samples, such as "RGB;16B"; "" once the picture is loaded."""
    tiles = getattr(image, "tile", None)
    if not tiles:
        return ""
    arguments = tiles[0].args
    return arguments if isinstance(arguments, str) else str(arguments[0])


def read_16_bit_colour(image: Image.Image, source: Source, name: str) -> np.ndarray | None:
    """Samples [H, W, 2 (grey, alpha), 3 or 4] uint16 of a 16-bit PNG or TIFF opened from `source`, `name` its rawmode.

    Pillow keeps 8 of the 16 bits. Which 8 is a matter of the rawmode, so the file is decoded twice: once for the high
    bytes and, told the opposite byte order, once for the low bytes. None for a layout where that does not work.
    """
    if name == _GREY_ALPHA:
        return _decode_as(source, image.format, "RGBA").view(">u2").astype(np.uint16)
    if name not in _LOW_BYTES:
        return None
    low = _decode_as(source, image.format, _LOW_BYTES[name])
    return np.asarray(image).astype(np.uint16) << 8 | low


def is_16_bit(image: Image.Image, name: str) -> bool:
    """Whether the file of a colour picture keeps 16 bits a sample, `name` its rawmode."""
    return ";16" in name or (
        isinstance(image, tiff.TiffImageFile) and max(image.tag_v2.get(tiff.BITSPERSAMPLE, (8,))) > 8
    )


def is_lossless_webp(source: Source) -> bool:
    """Whether a WebP file's picture is stored without loss."""
    with opened(source) as file:
        file.seek(12)
        while len(head := file.read(8)) == 8:
            name, size = struct.unpack("<4sI", head)
            if name in (b"VP8 ", b"VP8L"):
                return name == b"VP8L"
            file.seek(size + size % 2, os.SEEK_CUR)
    return False


def _decode_as(source: Source, format: str | None, name: str) -> np.ndarray:
    with Image.open(source, formats=None if format is None else (format,)) as image:
        image.tile = [
            tile._replace(args=name if isinstance(tile.args, str) else (name, *tile.args[1:])) for tile in image.tile
        ]
        return np.asarray(image)


def encode_png16(samples: np.ndarray, exif: bytes | None = None, icc: bytes | None = None) -> bytes:
    """A PNG file of samples [H, W, 1 (grey), 2 (grey, alpha), 3 or 4] uint16."""
    height, width, channels = samples.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))]
    if icc:
        chunks.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(icc)))
    if exif:
        chunks.append((b"eXIf", exif.removeprefix(b"Exif\0\0")))
    chunks += [(b"IDAT", zlib.compress(_filter_rows(samples))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def _filter_rows(samples: np.ndarray) -> bytes:
    """PNG scanlines, each with the filter (Sub, Up or Paeth) of the smallest sum of absolute differences."""
    height, width, channels = samples.shape
    x = samples.astype(">u2").view(np.uint8).reshape(height, width, 2 * channels)
    padded = np.pad(x, ((1, 0), (1, 0), (0, 0)))
    left, up, corner = padded[1:, :-1], padded[:-1, 1:], padded[:-1, :-1]
    filtered = np.stack([x - left, x - up, x - _paeth(left, up, corner)]).reshape(3, height, -1)
    cost = np.abs(filtered.view(np.int8).astype(np.int16)).sum(axis=2, dtype=np.int64)
    best = cost.argmin(axis=0)
    rows = filtered[best, np.arange(height)]
    kinds = np.array([1, 2, 4], np.uint8)[best]
    return np.concatenate([kinds[:, None], rows], axis=1).tobytes()


def _paeth(left: np.ndarray, up: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """The Paeth predictor of the PNG specification, section 9.4."""
    a, b, c = (v.astype(np.int16) for v in (left, up, corner))
    from_a, from_b, from_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    return np.where((from_a <= from_b) & (from_a <= from_c), left, np.where(from_b <= from_c, up, corner))


def encode_tiff(samples: np.ndarray, exif: bytes | None = None, icc: bytes | None = None) -> bytes:
    """A TIFF file (deflate, horizontal differences) of samples [H, W, 1 (grey), 2, 3 or 4] uint8 or uint16."""
    if samples.dtype == np.uint16 and samples.shape[2] == 2:
        # few readers, Pillow not among them, open 16-bit grey with alpha
        samples = samples[..., [0, 0, 0, 1]]
    height, width, channels = samples.shape
    differences = samples.astype(samples.dtype.newbyteorder("<"))
    differences[:, 1:] -= samples[:, :-1]
    strip = zlib.compress(differences.tobytes())

    tags = tiff.ImageFileDirectory_v2(prefix=b"II")
    _add_exif(tags, exif)
    tags[tiff.IMAGEWIDTH], tags[tiff.IMAGELENGTH], tags[tiff.ROWSPERSTRIP] = width, height, height
    tags[tiff.BITSPERSAMPLE] = (8 * samples.itemsize,) * channels
    tags[tiff.SAMPLESPERPIXEL], tags[tiff.PLANAR_CONFIGURATION] = channels, 1
    # grey counts up from black, RGB; deflate; horizontal differences; the last channel is plain (unassociated) alpha
    tags[tiff.PHOTOMETRIC_INTERPRETATION] = 2 if channels >= 3 else 1
    tags[tiff.COMPRESSION], tags[tiff.PREDICTOR] = 8, 2
    if channels in (2, 4):
        tags[tiff.EXTRASAMPLES] = 2
    if icc:
        tags[tiff.ICCPROFILE] = icc
    # the writer adds the directory's length to the offset
    for tag, value in ((tiff.STRIPOFFSETS, 0), (tiff.STRIPBYTECOUNTS, len(strip))):
        tags[tag] = value
        tags.tagtype[tag] = TiffTags.LONG
    directory = b"II" + struct.pack("<HL", 42, 8) + tags.tobytes(8)
    return directory + strip


def _add_exif(tags: tiff.ImageFileDirectory_v2, exif: bytes | None) -> None:
    if not exif:
        return
    block = Image.Exif()
    block.load(exif)
    for tag, value in block.items():
        tags[tag] = block.get_ifd(tag) if tag in (EXIF, GPS) else value
