"""Folders on a file system that all machines see, or on one of pyarrow's or fsspec's by its address (s3://...)."""

from __future__ import annotations

import os
import posixpath
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ..files.atomic import write_atomically

# an object is there when all of it is; elsewhere a name shows what is being written to it
_WHOLE_OBJECTS = ("s3", "gcs", "abfs")


class StoreError(OSError):
    """A file system that cannot be had, or a file on it that cannot be read or written; the message says which."""


class Stamp(NamedTuple):
    """What tells one state of a file from another: bytes, and nanoseconds since 1970 where that is kept (else 0)."""

    size: int
    modified: int


def is_address(text: str) -> bool:
    return "://" in text


class Store:
    """A folder and the files below it, whose names are relative to it and have slashes.

    local: the folder, where it is one of this machine's file system; its files need not be fetched. shown: its name for
    people, without the passwords and settings that addresses may hold.
    """

    def __init__(self, address: str):
        self.address = address
        self.local: Path | None = None
        if "::" in address and is_address(address):
            raise StoreError(f"{address}: an address with :: in it, a store in a store, has no folder to write to")
        if is_address(address) and not address.startswith("file://"):
            base, mark, query = address.partition("?")
            self._parts = (base.rstrip("/"), mark + query)
            self.shown = re.sub(r"//[^/@]*@", "//", self._parts[0])
        else:
            self.local = Path(os.path.abspath(_path_of(address) if is_address(address) else address))
            self._parts = (str(self.local), "")
            self.shown = str(self.local)
        with self._named(""):
            self._files, self._root = _opened(address) if self.local is None else _here(self.local)

    def split(self) -> tuple[Store, str]:
        """The folder in which this is a file, and its name in it."""
        base, name = posixpath.split(self._parts[0])
        return Store(base + self._parts[1]), name

    def path(self, name: str) -> str:
        """The whole name of a file, for people and for other machines."""
        return f"{self.shown}/{name}" if name else self.shown

    def kind(self) -> str:
        """ "folder", "file" or "nothing"."""
        from pyarrow.fs import FileType

        with self._named(""):
            found = self._files.get_file_info(self._root)
        return {FileType.Directory: "folder", FileType.File: "file"}.get(found.type, "nothing")

    def entries(self, recursive: bool = True) -> dict[str, Stamp]:
        """The files in it, none where there is no such folder."""
        from pyarrow.fs import FileSelector, FileType

        with self._named(""):
            found = self._files.get_file_info(FileSelector(self._root, allow_not_found=True, recursive=recursive))
        begin = len(self._root.rstrip("/")) + 1
        return {info.path[begin:]: _stamp(info) for info in found if info.type == FileType.File}

    def stamp(self, name: str) -> Stamp | None:
        """None where there is no such file."""
        from pyarrow.fs import FileType

        with self._named(name):
            info = self._files.get_file_info(self._path(name))
        return _stamp(info) if info.type == FileType.File else None

    def read(self, name: str) -> bytes:
        with self._named(name), self._files.open_input_stream(self._path(name)) as stream:
            data: bytes = stream.read()
        return data

    def write(self, name: str, data: bytes) -> None:
        """All of it or nothing: put whole where objects are, else under a temporary name and renamed."""
        path = self._path(name)
        with self._named(name):
            if self.local is not None:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, data)
                return
            if self._files.type_name in _WHOLE_OBJECTS:
                self._put(path, data)
                return
            self._files.create_dir(posixpath.dirname(path), recursive=True)
            temporary = f"{posixpath.dirname(path)}/.{posixpath.basename(name)[:60]}.{secrets.token_hex(4)}.part"
            try:
                self._put(temporary, data)
                self._files.move(temporary, path)
            except BaseException:
                if self._files.get_file_info(temporary).is_file:
                    self._files.delete_file(temporary)
                raise

    def _put(self, path: str, data: bytes) -> None:
        with self._files.open_output_stream(path) as stream:
            stream.write(data)

    def _path(self, name: str) -> str:
        return posixpath.join(self._root, name)

    @contextmanager
    def _named(self, name: str) -> Iterator[None]:
        """Whatever a file system raises, of which there are many, as one error with the file's name."""
        try:
            yield
        except FileNotFoundError:
            raise StoreError(f"{self.path(name)}: no such file or folder") from None
        except Exception as error:
            lines = str(error).splitlines() or [type(error).__name__]
            raise StoreError(f"{self.path(name)}: {lines[0]}") from error


def _path_of(address: str) -> str:
    """Of file://..."""
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    return url2pathname(urlsplit(address).path)


def _here(folder: Path) -> tuple[Any, str]:
    from pyarrow.fs import LocalFileSystem

    return LocalFileSystem(), folder.as_posix()


def _opened(address: str) -> tuple[Any, str]:
    """(pyarrow's file system, path on it); fsspec's through pyarrow where pyarrow knows none."""
    import pyarrow
    from pyarrow import fs

    try:
        files, path = fs.FileSystem.from_uri(address)
    except (pyarrow.ArrowInvalid, NotImplementedError):
        from fsspec.core import url_to_fs

        files, path = url_to_fs(address)
        files = fs.PyFileSystem(fs.FSSpecHandler(files))
    return files, path


def _stamp(info: Any) -> Stamp:
    return Stamp(info.size or 0, info.mtime_ns or 0)
