"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def write_atomically(path: str | os.PathLike, data: bytes | memoryview) -> None:
    """Writes the bytes under a temporary name beside the path, then renames: the path is whole, old or absent."""
    # through a link to the file behind it, as an ordinary write would go
    target = Path(os.path.realpath(path))
    # file systems count a name's bytes, of which a character may have four
    name = os.fsencode(target.name)[:100].decode(errors="ignore")
    temporary = target.with_name(f".{name}.{secrets.token_hex(4)}.part")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
