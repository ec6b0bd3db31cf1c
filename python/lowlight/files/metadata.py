"""EXIF: the orientation, found before and apart from all else, and the tags that can be written again."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from PIL import ExifTags, Image

from .formats import Source, opened

# tags of the old file's layout: wrong, or misleading, in the new one
_LAYOUT_TAGS = {
    254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 330, 338, 339, 347,
    513, 514, 529, 530, 531, 532, 700, 34377, 34675,
}  # fmt: skip
_ORIENTATION = int(ExifTags.Base.Orientation)
EXIF, GPS, _INTEROP = (int(ifd) for ifd in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop))
# how whole numbers are written, by TIFF's types
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q", 17: "q"}
_PREFIX = b"Exif\0\0"
# a segment of a JPEG holds 65533 bytes
JPEG_LIMIT = 65533


def find_orientation(tiff: bytes | mmap.mmap) -> tuple[int, slice, bytes]:
    """(orientation 1 to 8, where its value stands, the bytes of a 1 there) of a TIFF file or the TIFF in an EXIF block.

    Reads its first directory alone and nothing else of it, so that no other tag can be in the way. A number of any
    type counts, and a digit written as text. (1, slice(0, 0), b"") where there is none.
    """
    nothing = 1, slice(0, 0), b""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return nothing
    try:
        big = struct.unpack_from(f"{order}H", tiff, 2)[0] == 43
        start = struct.unpack_from(f"{order}{'Q' if big else 'I'}", tiff, 8 if big else 4)[0]
        count = struct.unpack_from(f"{order}{'Q' if big else 'H'}", tiff, start)[0]
        first, size, head = start + (8 if big else 2), 20 if big else 12, 12 if big else 8
        for entry in range(first, first + size * min(count, 65535), size):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, entry)
            if tag != _ORIENTATION:
                continue
            form = f"{order}{_INTEGERS.get(kind, 'B')}"
            value = struct.unpack_from(form, tiff, entry + head)[0] - (48 if kind == 2 else 0)
            place = slice(entry + head, entry + head + struct.calcsize(form))
            return value if value in range(1, 9) else 1, place, struct.pack(form, 49 if kind == 2 else 1)
    except struct.error:
        pass
    return nothing


def upright_tiff(source: Source) -> tuple[Source, int]:
    """What to decode in the place of a file, and how to turn what comes of it.

    A TIFF file that asks to be turned comes as a copy that does not: Pillow would turn some kinds of samples itself,
    of others scramble the rows. Any other file is given back, with 1.
    """
    with opened(source) as file:
        if file.read(4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return source, 1
        if isinstance(source, BytesIO):
            orientation, place, one = find_orientation(source.getvalue())
        else:
            # mapped: the directory may lie anywhere in a large file
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                orientation, place, one = find_orientation(data)
        if orientation == 1:
            return source, 1
        file.seek(0)
        copy = bytearray(file.read())
    copy[place] = one
    return BytesIO(copy), orientation


def orientation_of(image: Image.Image) -> int:
    """1 to 8, of an opened file's EXIF block or, without one, of what else Pillow looks at (XMP, a PNG's text)."""
    block = image.info.get("exif")
    if isinstance(block, bytes):
        while block.startswith(_PREFIX):
            block = block[len(_PREFIX) :]
        return find_orientation(block)[0]
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    # damaged EXIF makes the reader raise nearly anything
    except Exception:
        return 1
    return found if found in range(1, 9) else 1


def kept_exif(image: Image.Image, notes: list[str]) -> bytes | None:
    """EXIF to write back: orientation 1, nothing of the old file's layout, no stale thumbnail.

    Tags that cannot be written again are left out and named in the notes.
    """
    try:
        exif = image.getexif()
        main = {tag: value for tag, value in exif.items() if tag not in _LAYOUT_TAGS}
        for directory in (EXIF, GPS):
            if main.pop(directory, None) is not None and (inner := dict(exif.get_ifd(directory))):
                main[directory] = inner
        if isinstance(main.get(EXIF), dict) and _INTEROP in main[EXIF]:
            main[EXIF][_INTEROP] = dict(exif.get_ifd(_INTEROP))
    # a damaged EXIF block raises nearly anything, and costs the block, not the picture
    except Exception as error:
        notes.append(f"EXIF dropped: damaged ({error})")
        return None
    if _ORIENTATION in main:
        main[_ORIENTATION] = 1
    block, dropped = _writable(main, exif.endian)
    if dropped:
        notes.append(f"EXIF tags dropped that cannot be written again: {', '.join(dropped)}")
    return block


def fitted_exif(block: bytes | None, limit: int = JPEG_LIMIT) -> tuple[bytes | None, list[str]]:
    """The block with its largest tags left out until it has at most `limit` bytes, and the names of those."""
    dropped: list[str] = []
    while block is not None and len(block) > limit:
        exif = Image.Exif()
        exif.load(block)
        tags: dict[int, Any] = {t: dict(exif.get_ifd(t)) if t in (EXIF, GPS) else value for t, value in exif.items()}
        places = [(tags, t) for t in tags if t not in (EXIF, GPS)]
        places += [(tags[d], t) for d in (EXIF, GPS) if d in tags for t in tags[d]]
        holder, tag = max(places, key=lambda place: len(_packed({place[1]: place[0][place[1]]}, None) or b""))
        del holder[tag]
        dropped.append(_name(tag))
        block, _ = _writable(tags, exif.endian)
    return block, dropped


def _writable(tags: dict[int, Any], endian: str | None) -> tuple[bytes | None, list[str]]:
    """A block of all tags that Pillow can write, and the names of the rest."""
    if not tags:
        return None, []
    if block := _packed(tags, endian):
        return block, []
    dropped = []
    for directory in (EXIF, GPS):
        for tag in list(tags.get(directory, ())):
            if not _packed({directory: {tag: tags[directory][tag]}}, endian):
                dropped.append(_name(tag, directory))
                del tags[directory][tag]
    for tag in list(tags):
        if tags[tag] == {} or not _packed({tag: tags[tag]}, endian):
            dropped += [] if tags[tag] == {} else [_name(tag)]
            del tags[tag]
    return _packed(tags, endian) if tags else None, dropped


def _packed(tags: Mapping[int, Any], endian: str | None) -> bytes | None:
    exif = Image.Exif()
    # makers' notes count on the byte order of the block around them
    exif.endian = endian
    exif.update(tags)
    try:
        return exif.tobytes()
    # the writer raises nearly anything on values that are not of their tag's type
    except Exception:
        return None


def _name(tag: int, directory: int | None = None) -> str:
    return (ExifTags.GPSTAGS if directory == GPS else ExifTags.TAGS).get(tag) or f"tag {tag}"
