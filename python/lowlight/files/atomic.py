"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

_swept: set[Path] = set()


class UnwritableError(OSError):
    """A file that could not be written: one sentence that names it, not the temporary file before it."""

    def __str__(self) -> str:
        reason = self.strerror or "unknown reason"
        return f"{self.filename} cannot be written: {reason[0].lower()}{reason[1:]}"


@contextlib.contextmanager
def _writing(path: str | os.PathLike) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnwritableError(error.errno, error.strerror or str(error), str(path)) from error


def make_way(path: str | os.PathLike) -> None:
    """Makes the folder that the file will lie in. Raises UnwritableError."""
    with _writing(path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)


def check_way(path: str | os.PathLike) -> None:
    """Raises UnwritableError where the file cannot come to be, as far as can be told without writing: before work."""
    folder = Path(path).absolute().parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    with _writing(path):
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{folder} is not a folder")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, f"nothing may be written in {folder}")


def write_atomically(
    path: str | os.PathLike, data: bytes | memoryview, *, durable: bool = False, previous: Path | None = None
) -> None:
    """Writes the bytes under a temporary name beside the path, then renames: the path is whole, old or absent.

    durable: returns when the disk has it, so that a power cut takes nothing either. previous: what the file was before
    goes there. What others left half written in the folder an hour ago or more is deleted, once a process.
    Raises UnwritableError.
    """
    with _writing(path):
        _write(path, data, durable, previous)


def _write(path: str | os.PathLike, data: bytes | memoryview, durable: bool, previous: Path | None) -> None:
    # through a link to the file behind it, as an ordinary write would go
    target = Path(os.path.realpath(path))
    # file systems count a name's bytes, of which a character may have four
    name = os.fsencode(target.name)[:100].decode(errors="ignore")
    temporary = target.with_name(f".{name}.{secrets.token_hex(4)}.part")
    if target.parent not in _swept:
        _swept.add(target.parent)
        sweep(target.parent)
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        if previous is not None and target.exists():
            os.replace(target, previous)
        os.replace(temporary, target)
        if durable:
            _sync_folder(target.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def sweep(folder: Path, seconds: float = 3600) -> int:
    """Delete what killed processes left of files they were writing in a folder, and say how many there were.

    seconds: how long nobody may have written to one. 0 is for a folder that nobody else writes to.
    """
    count = 0
    for part in folder.glob(".*.part"):
        # another process may sweep too
        with contextlib.suppress(OSError):
            if re.search(r"\.[0-9a-f]{8}\.part$", part.name) and time.time() - part.stat().st_mtime >= seconds:
                part.unlink()
                count += 1
    return count


def _sync_folder(folder: Path) -> None:
    """The names in it; a folder cannot be opened everywhere (Windows)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
