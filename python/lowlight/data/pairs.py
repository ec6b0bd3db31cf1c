"""Pairs of one scene, dark and bright, found in the folders that paired data sets come in."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"})
LOW_NAMES = ("low", "input", "dark", "lq", "short")
HIGH_NAMES = ("high", "target", "bright", "normal", "gt", "long")
SPLITS = ("eval15", "our485", "train", "heldout", "all")

# 14 of eval15's 15 scenes have a near-twin in our485; numbers from here on form a held-out split without twins below
HELDOUT_FROM = 690


@dataclass(frozen=True)
class Pair:
    """One scene: the dark picture, the bright one, and the name they share."""

    low: Path
    high: Path
    name: str


def find_pairs(root: str | Path, split: str | None = None) -> list[Pair]:
    """The pairs of `scan_pairs`, without what is wrong with the rest. Raises as it does, and if there is no pair."""
    pairs, problems = scan_pairs(root, split)
    if not pairs:
        raise ValueError(f"find_pairs: no pair of pictures in {root}: {problems[0] if problems else 'it is empty'}")
    return pairs


def scan_pairs(root: str | Path, split: str | None = None) -> tuple[list[Pair], list[str]]:
    """Pairs in natural order of their names, and a sentence for every picture that has no partner.

    root: a folder with a dark and a bright folder inside (low/high, input/target, dark/bright, Low/Normal, lq/gt,
    short/long; upper or lower case), or the root of LOL-v1 (our485 and eval15 inside). Pictures pair by stem, their
    suffixes may differ, and a stem may begin with its folder's name (low00690.png, normal00690.png).
    split: "eval15", "our485" (LOL-v1's own), "train" (our485's numbers below 690), "heldout" (690 and above), "all";
    None is eval15 at a root of LOL-v1 and all in any other folder.
    Raises FileNotFoundError without such folders, ValueError for an unknown split.
    """
    root = Path(root)
    if split is not None and split not in SPLITS:
        raise ValueError(f"scan_pairs: split must be one of {', '.join(SPLITS)}, got {split!r}")
    if not root.is_dir():
        raise FileNotFoundError(f"scan_pairs: no folder {root}")
    pairs: list[Pair] = []
    problems: list[str] = []
    for folder in _folders(root, split):
        found, wrong = _match(*_sides(folder), split)
        pairs += found
        problems += wrong
    return sorted(pairs, key=lambda pair: _natural(pair.name)), problems


def _folders(root: Path, split: str | None) -> list[Path]:
    """The folders with two sides that a split means."""
    is_lol = any((root / name).is_dir() for name in ("eval15", "our485"))
    if not is_lol:
        if split in ("eval15", "our485") and root.name != split:
            raise FileNotFoundError(f"scan_pairs: split {split!r} needs the root of LOL-v1, no folder {root / split}")
        return [root]
    names = {None: ("eval15",), "eval15": ("eval15",), "all": ("our485", "eval15")}.get(split, ("our485",))
    missing = [name for name in names if not (root / name).is_dir()]
    if missing:
        raise FileNotFoundError(f"scan_pairs: no folder {root / missing[0]}")
    return [root / name for name in names]


def _sides(folder: Path) -> tuple[Path, Path]:
    """The folders of the dark and of the bright pictures."""
    inside = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    low = next((inside[name] for name in LOW_NAMES if name in inside), None)
    high = next((inside[name] for name in HIGH_NAMES if name in inside), None)
    if low is None or high is None:
        raise FileNotFoundError(
            f"scan_pairs: {folder} needs a folder of dark pictures ({', '.join(LOW_NAMES)}) and one of bright ones "
            f"({', '.join(HIGH_NAMES)}), found {', '.join(sorted(inside)) or 'no folder'}"
        )
    return low, high


def _match(low: Path, high: Path, split: str | None) -> tuple[list[Pair], list[str]]:
    lows, highs = _pictures(low), _pictures(high)
    pairs: list[Pair] = []
    problems: list[str] = []
    for name in sorted((name for name in lows.keys() | highs.keys() if _belongs(name, split)), key=_natural):
        dark, bright = lows.get(name, []), highs.get(name, [])
        if len(dark) == len(bright) == 1:
            pairs.append(Pair(dark[0], bright[0], name))
        elif len(dark) > 1 or len(bright) > 1:
            files = ", ".join(str(path) for path in (dark if len(dark) > 1 else bright))
            problems.append(f"{name}: more than one picture of that name: {files}")
        else:
            there, missing = (dark[0], high) if dark else (bright[0], low)
            problems.append(f"{there}: no picture of that name in {missing}")
    return pairs, problems


def _pictures(folder: Path) -> dict[str, list[Path]]:
    """Stem -> pictures; a leading name of a side is not part of the stem."""
    by_name: dict[str, list[Path]] = defaultdict(list)
    for path in _visible(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES:
            by_name[_shared_name(path.stem)].append(path)
    return by_name


def _visible(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if path.is_file() and not path.name.startswith("."))


def _shared_name(stem: str) -> str:
    match = re.fullmatch(rf"(?:{'|'.join(LOW_NAMES + HIGH_NAMES)})[_-]?(\d.*)", stem, re.IGNORECASE)
    return match.group(1) if match else stem


def _belongs(name: str, split: str | None) -> bool:
    if split not in ("train", "heldout"):
        return True
    return name.isdecimal() and (int(name) >= HELDOUT_FROM) == (split == "heldout")


def _natural(name: str) -> tuple:
    """2 before 10: runs of digits compare as numbers."""
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part)
