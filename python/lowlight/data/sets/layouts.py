"""Where the two sides of a paired data set lie: LOL-v1, LOL-v2, VE-LOL, LSRW, and folders like theirs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .list_files import is_list_file
from .matching import HIGH_NAMES, LOW_NAMES, natural, visible

SPLITS = ("eval15", "our485", "train", "heldout", "val", "test", "all")
# folders deep below the root in which sides are looked for: LSRW/Eval/Huawei below the folder of all data sets
DEPTH = 3

_PARTS = {
    **dict.fromkeys(("train", "training", "our485"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation", "eval15"), "test"),
}
_FILLERS = {"data", "dataset", "images", "pairs", "set"}


@dataclass(frozen=True)
class Source:
    """Pictures that pair with each other: two folders, or a list file.

    home: the folder that holds them. part: "train", "val" or "test" where the data set says so.
    """

    home: Path
    part: str | None
    low: Path | None = None
    high: Path | None = None
    list_file: Path | None = None

    def is_called(self, name: str) -> bool:
        return self.home.name.lower() == name


def find_sources(root: Path) -> list[Source]:
    """The pairs of folders in `root` and the folders below it; where there are none, the list files.

    Known are a dark and a bright folder beside each other (low/high, input/target, dark/bright, Low/Normal, lq/gt,
    short/long; upper or lower case), alone or as in VE-LOL-L-Cap-Low_test and VE-LOL-L-Cap-Normal_test. A part is
    named by such a folder or by one above it: our485, Train, "Training data", val, Test, Eval, eval15.
    Raises FileNotFoundError if there is neither.
    """
    folders = list(_walk(root, _part_of(root.name), DEPTH, set()))
    sources = [source for folder, part in folders for source in _sides(folder, part)]
    if not sources:
        sources = [source for folder, part in folders for source in _lists(folder, part)]
    if not sources:
        inside = [path.name.lower() for path in visible(root.iterdir()) if path.is_dir()]
        raise FileNotFoundError(
            f"scan_pairs: {root} needs a folder of dark pictures ({', '.join(LOW_NAMES)}) and one of bright ones "
            f"({', '.join(HIGH_NAMES)}), found {', '.join(sorted(inside)) or 'no folder'}"
        )
    return sources


def select(sources: list[Source], split: str | None, root: Path) -> list[Source]:
    """The sources that a split means. Raises FileNotFoundError if there are none, ValueError if it must be named."""
    parts = sorted({source.part for source in sources if source.part})
    if split == "all":
        return sources
    if split is None:
        if len(parts) < 2:
            return sources
        if any(not source.is_called("our485") and not source.is_called("eval15") for source in sources):
            raise ValueError(f"scan_pairs: {root} has the parts {', '.join(parts)}; name a split, or 'all'")
        return [source for source in sources if source.part == "test"]
    if split in ("eval15", "our485"):
        chosen = [source for source in sources if source.is_called(split)]
        if not chosen:
            raise FileNotFoundError(f"scan_pairs: split {split!r} needs the root of LOL-v1, no folder {root / split}")
        return chosen
    if split == "heldout":
        chosen = [source for source in sources if source.is_called("our485") or not parts]
    else:
        chosen = [source for source in sources if source.part == split or (split == "train" and not parts)]
    if not chosen:
        raise FileNotFoundError(f"scan_pairs: {root} has no part {split!r}, only {', '.join(parts) or 'one'}")
    return chosen


def _walk(folder: Path, part: str | None, depth: int, seen: set[str]) -> Iterator[tuple[Path, str | None]]:
    """(folder, part) from the top down; nothing below a folder that has sides, and no folder twice."""
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    yield folder, part
    if depth == 0 or _sides(folder, part):
        return
    for path in sorted(visible(folder.iterdir()), key=lambda path: natural(path.name)):
        if path.is_dir():
            yield from _walk(path, _part_of(path.name) or part, depth - 1, seen)


def _sides(folder: Path, part: str | None) -> list[Source]:
    """Dark and bright folders that agree in the rest of their names, one source a rest and part."""
    found: dict[tuple[tuple[str, ...], str | None], dict[str, tuple[int, Path]]] = {}
    for path in visible(folder.iterdir()):
        side = _side_of(path.name)
        if side is None or not path.is_dir():
            continue
        which, rank, rest, own_part = side
        sides = found.setdefault((rest, own_part), {})
        sides[which] = min(sides.get(which, (rank, path)), (rank, path))
    return [
        Source(folder, own_part or part, low=sides["low"][1], high=sides["high"][1])
        for (_, own_part), sides in found.items()
        if len(sides) == 2
    ]


def _side_of(name: str) -> tuple[str, int, tuple[str, ...], str | None] | None:
    """low or high, the rank of the word that says so, the other words, the part: VE-LOL-L-Cap-Low_test -> low ..."""
    words = _words(name)
    kinds = [word for word in words if word in LOW_NAMES or word in HIGH_NAMES]
    if len(kinds) != 1:
        return None
    part = next((_PARTS[word] for word in words if word in _PARTS), None)
    rest = tuple(word for word in words if word != kinds[0] and word not in _PARTS)
    which, names = ("low", LOW_NAMES) if kinds[0] in LOW_NAMES else ("high", HIGH_NAMES)
    return which, names.index(kinds[0]), rest, part


def _lists(folder: Path, part: str | None) -> list[Source]:
    files = [path for path in visible(folder.iterdir()) if path.suffix.lower() == ".txt" and is_list_file(path)]
    named = {path: [_PARTS[word] for word in _words(path.stem) if word in _PARTS] for path in files}
    return [Source(folder, words[-1] if words else part, list_file=path) for path, words in named.items()]


def _part_of(name: str) -> str | None:
    words = [word for word in _words(name) if word not in _FILLERS]
    return _PARTS.get(words[0]) if len(words) == 1 else None


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
