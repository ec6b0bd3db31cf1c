"""Packed raws on disk, mapped into memory: decoding raw files is not what training waits for."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...files.atomic import write_atomically

if TYPE_CHECKING:
    from ...raw.files import RawPicture

# an entry: magic, length and CRC-32 of the header, header (JSON), zeros to a multiple of _ALIGN, uint16 little-endian
_MAGIC = b"LLPACKED"
_START = struct.Struct("<8sII")
_ALIGN = 64
# another layout of the entries is another suffix, and nobody reads the old ones
_SUFFIX = ".packed1"
_NUMBERS = ("white", "iso", "exposure", "make", "model", "orientation")
_ARRAYS = ("pattern", "black", "white_balance", "camera_to_xyz")


class CacheError(ValueError):
    """An entry of the cache that is damaged; the message names it and says what to do."""


@dataclass(frozen=True)
class CachedRaw:
    """One raw file: packed [4 or 9, h, w] uint16 as the sensor counted, mapped, and all else that the file says.

    picture: what `read_raw` gave, its mosaic without the numbers (zeros of the size, which take no memory).
    """

    packed: np.ndarray
    picture: RawPicture

    def crop(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """[C, height, width] float32 in [0, 1], as `raw.files.normalise`; reads this part of the file alone.

        Raises ValueError for a part that is not inside.
        """
        from ...raw.files import normalise_packed

        inside = self.packed.shape[1:]
        if min(top, left) < 0 or min(height, width) < 1 or top + height > inside[0] or left + width > inside[1]:
            raise ValueError(
                f"CachedRaw.crop: {height} x {width} at ({top}, {left}) is not inside of {inside[0]} x {inside[1]}"
            )
        return normalise_packed(self.packed[:, top : top + height, left : left + width], self.picture)

    def whole(self) -> np.ndarray:
        """[C, h, w] float32 in [0, 1]."""
        return self.crop(0, 0, *self.packed.shape[1:])


class RawCache:
    """Packed raws by the path of their raw file, decoded once and kept in a folder.

    An entry is that of a path, size and time of change: a file that changed is decoded anew. Entries are written under
    a temporary name and renamed, so several processes may share the folder; at worst two decode the same file.
    read: the decoder, `raw.files.read_raw` if None.
    """

    def __init__(self, folder: str | os.PathLike, *, read: Callable[[Path], RawPicture] | None = None):
        self.folder = Path(folder)
        self._read = read
        self.folder.mkdir(parents=True, exist_ok=True)

    def __getitem__(self, path: str | os.PathLike) -> CachedRaw:
        """The entry of a raw file, made if it is not there.

        Raises CacheError for a damaged entry, PictureError (from the decoder) and OSError for the raw file.
        """
        path = Path(path)
        entry, key = self.entry(path), _key(path)
        found = _open(entry, key)
        if found is None:
            from ...raw.files import read_raw

            write_atomically(entry, _encode((self._read or read_raw)(path), key))
            found = _open(entry, key)
        if found is None:
            raise CacheError(f"RawCache: {path} changes while it is read")
        return found

    def entry(self, path: str | os.PathLike) -> Path:
        """The file of the cache for a raw file."""
        path = Path(os.path.realpath(path))
        return self.folder / f"{path.stem[:80]}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}{_SUFFIX}"

    def fill(self, paths: Iterable[str | os.PathLike], on_file: Callable[[], None] = lambda: None) -> None:
        """Makes every entry that is not there yet; on_file is called after each. Raises as looking one up does."""
        for path in paths:
            self[path]
            on_file()

    def verify(self, path: str | os.PathLike) -> None:
        """Reads an entry whole and compares its checksum. Raises CacheError if the numbers are not those written."""
        entry, cached = self.entry(path), self[path]
        with open(entry, "rb") as file:
            header = _header(file.read(), entry)
        if zlib.crc32(np.ascontiguousarray(cached.packed).data) != header["crc"]:
            raise _damaged(entry, "its numbers are not those written")


def _key(path: Path) -> list[int]:
    """What tells a changed file from the one decoded: size in bytes, time of change in nanoseconds."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _encode(picture: RawPicture, key: list[int]) -> bytes:
    from ...raw.files import levelled
    from ...raw.packing import pack

    packed = np.ascontiguousarray(pack(levelled(picture, whole=True), picture.pattern).astype("<u2", copy=False))
    fields = {name: getattr(picture, name) for name in _NUMBERS}
    arrays = {name: getattr(picture, name) for name in _ARRAYS}
    fields |= {name: None if array is None else array.tolist() for name, array in arrays.items()}
    header = {"key": key, "shape": packed.shape, "size": picture.mosaic.shape, "crc": zlib.crc32(packed.data),
              "picture": fields}  # fmt: skip
    text = json.dumps(header).encode()
    start = _START.pack(_MAGIC, len(text), zlib.crc32(text)) + text
    return start + bytes(-len(start) % _ALIGN) + packed.tobytes()


def _open(entry: Path, key: list[int]) -> CachedRaw | None:
    """The entry; None if there is none or its raw file has changed. Raises CacheError if it is damaged."""
    try:
        with open(entry, "rb") as file:
            start = file.read(_START.size)
            length = _START.unpack(start)[1] if len(start) == _START.size else 0
            header = _header(start + file.read(min(length, 1 << 20)), entry)
            if header["key"] != key:
                return None
            offset = -(-(_START.size + length) // _ALIGN) * _ALIGN
            shape = tuple(header["shape"])
            expected, size = offset + 2 * int(np.prod(shape)), os.fstat(file.fileno()).st_size
            if size != expected:
                raise _damaged(entry, f"{size} bytes instead of {expected}")
            # of the file that is open: by its name it might be another by now
            packed = np.memmap(file, "<u2", "r", offset, shape)
    except FileNotFoundError:
        return None
    return CachedRaw(packed, _picture(header))


def _header(data: bytes, entry: Path) -> dict[str, Any]:
    if len(data) < _START.size:
        raise _damaged(entry, "it is cut off")
    magic, length, checksum = _START.unpack_from(data)
    text = data[_START.size : _START.size + length]
    if magic != _MAGIC or len(text) != length or zlib.crc32(text) != checksum:
        raise _damaged(entry, "its header is not whole")
    return json.loads(text)


def _picture(header: dict[str, Any]) -> RawPicture:
    from ...raw.files import RawPicture

    fields = dict(header["picture"])
    types = {"pattern": np.uint8, "black": np.float32, "white_balance": np.float64, "camera_to_xyz": np.float64}
    for name in _ARRAYS:
        fields[name] = None if fields[name] is None else np.array(fields[name], types[name])
    return RawPicture(np.broadcast_to(np.uint16(0), header["size"]), **fields)


def _damaged(entry: Path, why: str) -> CacheError:
    return CacheError(f"RawCache: {entry} is damaged ({why}); delete it and it is made anew from the raw file")
