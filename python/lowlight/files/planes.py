"""16-bit colour stored as planes, one after another: each plane of a TIFF is a grey picture, which Pillow reads."""

from __future__ import annotations

import struct
from io import BytesIO

import numpy as np
from PIL import Image
from PIL import TiffImagePlugin as tiff

from .formats import Source

_OFFSETS = {tiff.STRIPOFFSETS: tiff.STRIPBYTECOUNTS, tiff.TILEOFFSETS: tiff.TILEBYTECOUNTS}
# of a plane as of the whole
_KEPT = (
    tiff.IMAGEWIDTH, tiff.IMAGELENGTH, tiff.COMPRESSION, tiff.ROWSPERSTRIP, tiff.PREDICTOR, tiff.TILEWIDTH,
    tiff.TILELENGTH, tiff.FILLORDER,
)  # fmt: skip


def is_planar(image: Image.Image) -> bool:
    return isinstance(image, tiff.TiffImageFile) and image.tag_v2.get(tiff.PLANAR_CONFIGURATION) == 2


def read_16_bit_planes(image: Image.Image, source: Source) -> np.ndarray | None:
    """Samples [H, W, 3 or 4] uint16 of a TIFF file of RGB, or RGB and plain alpha, in planes; None for any other.

    Raises ValueError where the planes are not all there.
    """
    assert isinstance(image, tiff.TiffImageFile)
    tags, count = image.tag_v2, image.tag_v2.get(tiff.SAMPLESPERPIXEL, 1)
    plain = tags.get(tiff.PHOTOMETRIC_INTERPRETATION) == 2
    premultiplied = tags.get(tiff.EXTRASAMPLES, (2,)) != (2,)
    if not plain or set(tags[tiff.BITSPERSAMPLE]) != {16} or count not in (3, 4) or (count == 4 and premultiplied):
        return None
    data = source.getvalue() if isinstance(source, BytesIO) else _bytes(source)
    order = "<" if data[:2] == b"II" else ">"
    if struct.unpack_from(f"{order}H", data, 2)[0] != 42:
        return None
    return np.stack([_plane(data, order, tags, i, count) for i in range(count)], axis=2)


def _plane(data: bytes, order: str, tags: tiff.ImageFileDirectory_v2, index: int, count: int) -> np.ndarray:
    """[H, W] uint16: the file with another directory behind it, of a grey picture that is this plane alone."""
    offsets = next((tag for tag in _OFFSETS if tag in tags), None)
    if offsets is None or len(tags[offsets]) % count or len(tags[offsets]) != len(tags[_OFFSETS[offsets]]):
        raise ValueError(f"its {count} planes are not all there")
    number = len(tags[offsets]) // count
    grey: dict[int, tuple[int, ...]] = {tag: (int(tags[tag]),) for tag in _KEPT if tag in tags}
    grey |= {tiff.BITSPERSAMPLE: (16,), tiff.SAMPLESPERPIXEL: (1,), tiff.PHOTOMETRIC_INTERPRETATION: (1,)}
    for tag in (offsets, _OFFSETS[offsets]):
        grey[tag] = tuple(tags[tag][index * number : (index + 1) * number])
    start = len(data) + len(data) % 2
    head = data[:4] + struct.pack(f"{order}I", start)
    with Image.open(
        BytesIO(b"".join((head, data[8:].ljust(start - 8, b"\0"), _directory(order, start, grey))))
    ) as image:
        return np.asarray(image).astype(np.uint16)


def _directory(order: str, start: int, tags: dict[int, tuple[int, ...]]) -> bytes:
    """A TIFF directory that stands at `start`; every value is a 32-bit one."""
    entries, body = b"", b""
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}I", *values)
        if len(values) > 1:
            place = start + 2 + 12 * len(tags) + 4 + len(body)
            body, packed = body + packed, struct.pack(f"{order}I", place)
        entries += struct.pack(f"{order}HHI", tag, 4, len(values)) + packed
    return struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + body


def _bytes(path: Source) -> bytes:
    with open(path, "rb") as file:  # type: ignore[arg-type]
        return file.read()
