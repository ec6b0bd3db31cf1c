"""List files as published code reads them: one path of a dark picture a line, `high` for `low` gives the bright one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from .matching import HIGH_NAMES, LOW_NAMES, Pair, is_picture

# folders above the list file against which its paths are tried
_PARENTS = 4


def is_list_file(path: Path) -> bool:
    """Whether the first line that is not empty ends in a picture's name."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            first = next((line.strip() for line in file if line.strip()), "")
    except (OSError, UnicodeDecodeError):
        return False
    return is_picture(first)


def read_list(path: Path) -> tuple[list[Pair], list[str]]:
    """Pairs in the list's order, and a sentence for every line that gives none.

    A line holds the path of the dark picture, or after a tab or blank the bright one's too. Without that, the bright
    one's is the line with every `low` replaced by `high` (the published rule) or, where no such file is, with the name
    of a bright folder for the last dark folder's (low/low00690.png: Normal/normal00690.png is found too).
    Relative paths are taken from the list's folder and those above it; paths that begin at another machine's root
    are tried without their first folders. Raises OSError if the list cannot be read, ValueError if it is not text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"read_list: {path} is not a list of paths: not text") from None
    bases = [path.parent, *path.parent.parents][: _PARENTS + 1]
    pairs: list[Pair] = []
    problems: list[str] = []
    first_line: dict[Path, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        low_name, high_names = _columns(line.strip().replace("\\", "/"))
        low = _locate(low_name, bases)
        if low is None:
            problems.append(f"{path}, line {number}: no file {low_name}")
            continue
        high = next((found for name in high_names if (found := _locate(name, bases)) not in (None, low)), None)
        if high is None:
            problems.append(f"{low}: no bright picture {' or '.join(high_names[:2]) or 'follows from its path'}")
        elif low in first_line:
            problems.append(f"{low}: is in {path} twice, in lines {first_line[low]} and {number}")
        else:
            first_line[low] = number
            pairs.append(Pair(low, high, low.stem))
    return pairs, problems


def _columns(line: str) -> tuple[str, list[str]]:
    """The dark picture's path and those the bright one's may be."""
    for columns in (line.split("\t"), line.split()):
        if len(columns) == 2 and all(is_picture(column) for column in columns):
            return columns[0].strip(), [columns[1].strip()]
    return line, list(dict.fromkeys(name for name in _bright_names(line) if name != line))


def _bright_names(line: str) -> Iterator[str]:
    yield line.replace("low", "high")
    folders, _, name = line.rpartition("/")
    parts = folders.split("/")
    for index in reversed(range(len(parts))):
        for kind in LOW_NAMES:
            if not re.search(rf"(?i)(?<![a-z]){kind}(?![a-z])", parts[index]):
                continue
            for bright in HIGH_NAMES:
                for cased in (bright, bright.capitalize(), bright.upper()):
                    folder = re.sub(rf"(?i)(?<![a-z]){kind}(?![a-z])", cased, parts[index])
                    above = "/".join([*parts[:index], folder, *parts[index + 1 :]])
                    yield f"{above}/{name}"
                    yield f"{above}/{re.sub(rf'(?i)^{kind}(?=[0-9_-])', bright, name)}"


def _locate(name: str, bases: list[Path]) -> Path | None:
    """The file of that name: as it stands if absolute, else its longest tail that exists below one of the folders."""
    written = PurePosixPath(name)
    if written.is_absolute() and os.path.isfile(name):
        return Path(name)
    parts = [part for part in written.parts if part not in (".", "/")]
    # a bare file name says too little to be looked for everywhere
    for skip in range(max(1, len(parts) - 1)):
        for base in bases:
            path = base.joinpath(*parts[skip:])
            # os.path's is_file is False for names that no file can have; pathlib's raises
            if os.path.isfile(path):
                return path
    return None
