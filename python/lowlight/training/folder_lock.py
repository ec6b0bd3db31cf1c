"""One training a folder: the second one is refused, a killed one's lock is none."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from filelock import FileLock, Timeout

_OWNER = ".owner"


class FolderLock:
    """Held from `acquire` to `release`, or to the end of the process, however that comes."""

    def __init__(self, folder: Path):
        """Raises ValueError for a file."""
        if folder.is_file():
            raise ValueError(f"{folder} is a file, and a training leaves a folder: take another name")
        self._folder, self._lock = folder, FileLock(folder / ".lock")

    def acquire(self) -> None:
        """May be called again by who holds it. Raises ValueError where another process, or object, does."""
        if self._lock.is_locked:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        owner = self._folder / _OWNER
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            who = owner.read_text(encoding="utf-8") if owner.is_file() else "another process"
            raise ValueError(f"{self._folder} belongs to a training that goes on, {who}: take another folder") from None
        owner.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")

    def release(self) -> None:
        if self._lock.is_locked:
            (self._folder / _OWNER).unlink(missing_ok=True)
            self._lock.release()
