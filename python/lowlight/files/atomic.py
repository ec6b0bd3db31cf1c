"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from pathlib import Path

_swept: set[Path] = set()


def write_atomically(
    path: str | os.PathLike, data: bytes | memoryview, *, durable: bool = False, previous: Path | None = None
) -> None:
    """Writes the bytes under a temporary name beside the path, then renames: the path is whole, old or absent.

    durable: returns when the disk has it, so that a power cut takes nothing either. previous: what the file was before
    goes there. What others left half written in the folder an hour ago or more is deleted, once a process.
    """
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
