"""Pairs of one scene, dark and bright: two folders matched by the stems of their pictures."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"})
LOW_NAMES = ("low", "input", "dark", "lq", "short")
HIGH_NAMES = ("high", "target", "bright", "normal", "gt", "long")


@dataclass(frozen=True)
class Pair:
    """One scene: the dark picture, the bright one, and the name they share."""

    low: Path
    high: Path
    name: str


def match_folders(
    low: Path, high: Path, wanted: Callable[[str], bool] = lambda name: True
) -> tuple[list[Pair], list[str]]:
    """Pairs of two folders in natural order of their names, and a sentence for every picture without a partner.

    Pictures pair by stem, whatever their suffixes. What is left over then pairs by the stem without its folder's kind
    in front or behind: low00690 and normal00690, a_dark and a_bright. Only names that are `wanted` count.
    """
    lows, highs = by_stem(low), by_stem(high)
    common = lows.keys() & highs.keys()
    groups = {stem: (lows.pop(stem), highs.pop(stem)) for stem in common}
    lows, highs = _by_shared_name(lows, LOW_NAMES), _by_shared_name(highs, HIGH_NAMES)
    for name in lows.keys() | highs.keys():
        dark, bright = lows.get(name, []), highs.get(name, [])
        if name in groups:
            dark, bright = groups[name][0] + dark, groups[name][1] + bright
        groups[name] = dark, bright
    pairs: list[Pair] = []
    problems: list[str] = []
    for name, (dark, bright) in sorted(groups.items(), key=lambda item: natural(item[0])):
        if not wanted(name):
            continue
        if len(dark) == len(bright) == 1:
            pairs.append(Pair(dark[0], bright[0], name))
        elif len(dark) > 1 or len(bright) > 1:
            files = ", ".join(str(path) for path in (dark if len(dark) > 1 else bright))
            problems.append(f"{name}: more than one picture of that name: {files}")
        else:
            there, missing = (dark[0], high) if dark else (bright[0], low)
            problems.append(f"{there}: no picture of that name in {missing}")
    return pairs, problems


def natural(name: str) -> tuple:
    """Sorting key with 2 before 10: runs of digits compare as numbers."""
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part)


def visible(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if not path.name.startswith("."))


def is_picture(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES


def by_stem(folder: Path) -> dict[str, list[Path]]:
    """The pictures in a folder by their names without suffix."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in visible(folder.iterdir()):
        if is_picture(path.name) and path.is_file():
            found[path.stem].append(path)
    return found


def _by_shared_name(pictures: dict[str, list[Path]], kinds: tuple[str, ...]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = defaultdict(list)
    for stem, paths in pictures.items():
        found[_without_kind(stem, kinds)] += paths
    return found


def _without_kind(stem: str, kinds: tuple[str, ...]) -> str:
    """low00690, low_a, low-a, a_low, a.low -> 00690, a; lowland stays."""
    kind = "|".join(kinds)
    match = re.fullmatch(rf"(?:{kind})(?:[_. -]+(?P<a>.+)|(?P<b>\d.*))|(?P<c>.+?)[_. -]+(?:{kind})", stem, re.I)
    return next(filter(None, match.groups())) if match else stem
