"""What became of every picture: JSON lines in the output's folder `manifest`, a file for each run."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any, NamedTuple

from ..files.json_text import json_text
from .stores import Stamp, Store

FOLDER = "manifest"
# seconds of lines that are kept in memory where a file cannot be appended to
_PATIENCE = 60.0


class Picture(NamedTuple):
    """One to be made: its source, in words that every machine understands, the source's state and the result's name."""

    source: str
    stamp: Stamp
    target: str


@dataclass
class Manifest:
    """What earlier runs wrote, the last line of each target. unread: sentences on lines that cannot be read."""

    lines: dict[str, dict[str, Any]] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)

    def take(self, name: str, data: bytes) -> None:
        """A run's lines. A last line without its end was cut off when the run was killed, and says nothing."""
        *whole, _ = data.split(b"\n")
        for number, text in enumerate(whole, 1):
            try:
                line = json.loads(text)
                if "target" in line:
                    self.lines[line["target"]] = line
            except (ValueError, TypeError):
                self.unread.append(f"{name}: line {number} cannot be read and counts for nothing")

    def knows(self, target: str) -> bool:
        return target in self.lines

    def done(self, picture: Picture, options: str) -> bool:
        """Whether the target was made, and last of this source as it is now, by these options."""
        line = self.lines.get(picture.target, {})
        return line.get("status") == "enhanced" and line.items() >= _identity(picture, options).items()


def read_manifest(store: Store, names: Mapping[str, Any]) -> Manifest:
    """Of all runs in their order. names: the files in the store."""
    result = Manifest()
    for name in sorted(names):
        if re.fullmatch(rf"{FOLDER}/[^/]+\.jsonl", name):
            result.take(store.path(name), store.read(name))
    return result


class Record:
    """This run's lines: one after another where the file is on this machine's file system, else in a file a minute.

    facts: of the run, in the first line. name: of the first file, there from the beginning.
    """

    def __init__(self, store: Store, facts: Mapping[str, Any]):
        self.run = secrets.token_hex(4)
        self._store, self._count, self._lines = store, 0, [json_text({"run": self.run, **facts}, None)]
        self._file: IO[str] | None = None
        self._stem = f"{FOLDER}/{datetime.now(timezone.utc):%Y%m%dT%H%M%S.%f}-{self.run}"
        self.name = f"{self._stem}.jsonl" if store.local else f"{self._stem}.00000.jsonl"
        if store.local is not None:
            path = Path(store.local, self.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            # made here, kept open as long as the run takes
            self._file = open(path, "x", encoding="utf-8")  # noqa: SIM115
        self.flush()

    def add(self, picture: Picture, options: str, facts: Mapping[str, Any]) -> None:
        self._lines.append(json_text({**_identity(picture, options), **facts}, None))
        if self._file is not None or time.monotonic() - self._flushed > _PATIENCE:
            self.flush()

    def flush(self) -> None:
        self._flushed = time.monotonic()
        text = "".join(self._lines)
        if self._file is not None:
            self._file.write(text)
            self._file.flush()
        elif text:
            self._store.write(f"{self._stem}.{self._count:05}.jsonl", text.encode())
            self._count += 1
        self._lines.clear()

    def close(self) -> None:
        self.flush()
        if self._file is not None:
            self._file.close()


def _identity(picture: Picture, options: str) -> dict[str, Any]:
    stamp = {"bytes": picture.stamp.size, "modified": picture.stamp.modified}
    return {"target": picture.target, "source": picture.source, **stamp, "options": options}
