"""Which files are pictures, who reads and writes them, and the one place where a file is opened as one."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

FORMATS = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP",
    ".avif": "AVIF", ".heic": "HEIF", ".heif": "HEIF", ".jxl": "JXL",
}  # fmt: skip
READ_ONLY = {".gif": "GIF"}
_NAMES = {"WEBP": "WebP", "HEIF": "HEIC", "JXL": "JPEG XL"}
# what a Pillow without a reader for it needs; all others are always there
_READERS = {
    "AVIF": ("", "pip install 'pillow>=11.3'"),
    "HEIF": ("pillow_heif", "pip install 'lowlight-ext[heif]'"),
    "JXL": ("pillow_jxl", "pip install 'lowlight-ext[jxl]'"),
}
HOLDS_ALPHA = {"PNG", "WEBP", "TIFF", "AVIF", "HEIF", "JXL"}
HOLDS_EXIF = HOLDS_ICC = HOLDS_ALPHA | {"JPEG"}
HOLDS_16_BIT = {"PNG", "TIFF"}
LOSSY = {"JPEG", "WEBP", "AVIF", "HEIF", "JXL"}
LONGEST_SIDE = {"JPEG": 65500, "WEBP": 16383, "AVIF": 65536, "HEIF": 16384}


# a file, or one in memory
Source = str | os.PathLike | BytesIO


class PictureError(ValueError):
    """A picture that cannot be read, understood or written; the message is one sentence meant for the user."""


class OtherFormatError(PictureError):
    """A file of a format that is not read, or not here."""


class TooLargeError(PictureError):
    """More pixels than are taken."""


@contextmanager
def opened(source: Source) -> Iterator[BinaryIO]:
    """The file's bytes from its beginning, wherever others have read to."""
    # of bytes in memory no copy is made
    with BytesIO(source.getvalue()) if isinstance(source, BytesIO) else open(source, "rb") as file:
        yield file


@contextmanager
def reading(path: str | os.PathLike) -> Iterator[None]:
    """The boundary of every reader of picture and raw files: whatever is raised inside leaves as a PictureError."""
    try:
        with warnings.catch_warnings():
            # Pillow warns from 89 megapixels on and refuses from 179; between the two is a large picture, not a bomb
            warnings.simplefilter("ignore")
            yield
    except PictureError as error:
        known = str(error).startswith(f"{path}: ")
        raise (error if known else type(error)(f"{path}: {error}")) from None
    except Image.DecompressionBombError as error:
        raise TooLargeError(f"{path}: too large to be a photograph ({error})") from None
    except IsADirectoryError:
        raise PictureError(f"{path}: is a folder, not a picture") from None
    except FileNotFoundError:
        raise PictureError(f"{path}: no such file") from None
    except MemoryError:
        raise PictureError(f"{path}: not enough memory to decode it") from None
    # decoders raise nearly anything on a damaged file
    except Exception as error:
        lines = (getattr(error, "strerror", None) or str(error)).splitlines()
        reason = lines[0] if lines else type(error).__name__
        raise PictureError(f"{path}: cannot be decoded ({reason})") from None


@contextmanager
def open_image(source: Source, path: str | os.PathLike | None = None) -> Iterator[Image.Image]:
    """The file opened by its content, whatever its extension; samples are not loaded yet. path: what to call it.

    What a decoder raises, then and while the file is open, becomes a PictureError of one sentence with the path in it.
    """
    path = str(source) if path is None else path
    with reading(path):
        try:
            image = Image.open(source, formats=readable())
        except UnidentifiedImageError:
            raise _unknown(source) from None
        with image:
            yield image


@lru_cache(maxsize=1)
def readable() -> tuple[str, ...]:
    """Pillow's names of the formats that can be read here."""
    found = ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"]
    return (*found, *(name for name in _READERS if missing_reader(name) is None))


@lru_cache
def missing_reader(name: str) -> str | None:
    """What to install for a format of FORMATS to be read and written, None where it can be already."""
    if name not in _READERS:
        return None
    module, advice = _READERS[name]
    try:
        plugin = import_module(module) if module else None
    except ImportError:
        return advice
    if name == "HEIF":
        plugin.register_heif_opener()  # type: ignore[union-attr]
    Image.init()
    return None if name in Image.OPEN and name in Image.SAVE else advice


def format_of(path: str | os.PathLike) -> str:
    """The format name for the path's extension; raises PictureError for one that cannot be written."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        what = f"cannot write '{suffix}' files" if suffix else "the output name has no extension"
        raise PictureError(f"{path}: {what}; use one of {', '.join(FORMATS)}")
    name = FORMATS[suffix]
    if advice := missing_reader(name):
        raise PictureError(f"{path}: {spoken(name)} is not written here: {advice}")
    return name


def spoken(name: str) -> str:
    """A format's name for people."""
    return _NAMES.get(name, name)


def _unknown(source: Source) -> PictureError:
    with opened(source) as file:
        head = file.read(16)
    if not head:
        return OtherFormatError("an empty file")
    kinds = {"HEIF": (b"heic", b"heix", b"hevc", b"mif1", b"msf1"), "AVIF": (b"avif", b"avis")}
    name = next((n for n, brands in kinds.items() if head[4:8] == b"ftyp" and head[8:12] in brands), None)
    if head.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        name = "JXL"
    if name is None:
        return OtherFormatError("not a PNG, JPEG, WebP, TIFF, BMP, GIF, AVIF, HEIC or JPEG XL picture")
    advice = missing_reader(name)
    if advice is None:
        return PictureError("cannot be decoded (damaged)")
    return OtherFormatError(f"a {spoken(name)} picture: {advice}")
