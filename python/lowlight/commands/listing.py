"""Which files of a folder or glob are pictures to enhance, and which are passed over, by kind and count."""

from __future__ import annotations

import glob
import os
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

from ..files.formats import FORMATS, READ_ONLY, missing_reader, spoken
from ..raw.develop import is_raw

PAIRS = ("raw", "picture", "both")
# what cameras write beside a raw file of the same name
_BESIDE_RAW = {".jpg", ".jpeg", ".heic", ".heif"}


def passed_over(path: Path) -> str | None:
    """Why a file is not enhanced, as a kind to be counted; None for a picture or raw file that can be read here."""
    suffix = path.suffix.lower()
    if is_raw(path):
        return None if find_spec("rawpy") and find_spec("exifread") else "raw (pip install 'lowlight-ext[raw]')"
    name = FORMATS.get(suffix) or READ_ONLY.get(suffix)
    if name is None:
        return suffix or "without extension"
    advice = missing_reader(name)
    return advice and f"{spoken(name)} ({advice})"


def pictures_of(entry: Path, recursive: bool, output: Path | None, left_out: Counter[str]) -> list[tuple[Path, Path]]:
    """(file, name relative to the folder) of a folder's pictures in natural reading order.

    Hidden files, hidden folders and the output's folder are not looked at; other files are counted in left_out.
    """
    return [(file, file.relative_to(entry)) for file in _in_folder(entry, recursive, output, left_out)]


def matches_of(entry: str, left_out: Counter[str]) -> list[tuple[Path, Path]]:
    """As `pictures_of`, of a glob, relative to the folders before its first wildcard."""
    root = _fixed_beginning(Path(entry))
    files = [path for match in sorted(glob.glob(entry, recursive=True)) if (path := Path(match)).is_file()]
    return [(path, path.relative_to(root)) for path in taken(files, left_out)]


def without_pairs(found: list[tuple[Path, Path]], pairs: str, left_out: Counter[str]) -> list[tuple[Path, Path]]:
    """Of a raw file and a camera's picture of one name in one folder the one that `pairs` says, or both."""
    if pairs == "both":
        return found

    def name(path: Path) -> tuple[Path, str]:
        return path.parent, path.stem.lower()

    raws = {name(path) for path, _ in found if is_raw(path)}
    beside = [path for path, _ in found if path.suffix.lower() in _BESIDE_RAW and name(path) in raws]
    names = {name(path) for path in beside}
    dropped = set(beside) if pairs == "raw" else {path for path, _ in found if is_raw(path) and name(path) in names}
    if dropped:
        left_out["of RAW+JPEG pairs (--pairs)"] += len(dropped)
    return [item for item in found if item[0] not in dropped]


def summary(left_out: Counter[str]) -> str:
    """Such as "3 files passed over: 2 HEIC (pip install ...), 1 .txt"; empty where there is none."""
    if not left_out:
        return ""
    total = left_out.total()
    parts = ", ".join(f"{count} {kind}" for kind, count in left_out.most_common())
    return f"{total} {'file' if total == 1 else 'files'} passed over: {parts}"


def _in_folder(folder: Path, recursive: bool, output: Path | None, left_out: Counter[str]) -> list[Path]:
    files, inside = [], []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            inside.append(path)
        elif path.is_file():
            files.append(path)
        elif path.is_symlink():
            left_out["linked to nothing"] += 1
    found = taken(files, left_out)
    if recursive:
        here = None if output is None else os.path.realpath(output)
        for path in inside:
            # a link to a folder may lead in a circle
            if not path.is_symlink() and os.path.realpath(path) != here:
                found += _in_folder(path, True, output, left_out)
    return found


def taken(files: list[Path], left_out: Counter[str]) -> list[Path]:
    """Those that are pictures or raw files by their names; the others are counted."""
    reasons = {path: passed_over(path) for path in files}
    left_out.update(reason for reason in reasons.values() if reason)
    return [path for path, reason in reasons.items() if reason is None]


def _fixed_beginning(pattern: Path) -> Path:
    """The folders of a glob before the first one with a wildcard."""
    fixed = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)
