"""Pairs of one scene, dark and bright, found in the folders and lists that paired data sets come in."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from .layouts import SPLITS, Source, find_sources, select
from .list_files import read_list
from .matching import Pair, match_folders, natural

__all__ = ["HELDOUT_FROM", "SPLITS", "Pair", "find_pairs", "scan_pairs"]

# 14 of eval15's 15 scenes have a near-twin in our485; numbers from here on form a held-out split without twins below
HELDOUT_FROM = 690


def find_pairs(root: str | Path, split: str | None = None, *, high: str | Path | None = None) -> list[Pair]:
    """The pairs of `scan_pairs`, without what is wrong with the rest. Raises as it does, and if there is no pair."""
    pairs, problems = scan_pairs(root, split, high=high)
    if not pairs:
        found = "it is empty" if split is None else f"split {split} has none"
        raise ValueError(f"find_pairs: no pair of pictures in {root}: {problems[0] if problems else found}")
    return pairs


def scan_pairs(
    root: str | Path, split: str | None = None, *, high: str | Path | None = None
) -> tuple[list[Pair], list[str]]:
    """Pairs in natural order of their names, and a sentence for every picture that has no partner.

    root: a folder with a dark and a bright folder inside, or the root of LOL-v1, LOL-v2, VE-LOL, LSRW or of one of
    their parts (`layouts.find_sources` says what is known); or a list file (`list_files.read_list`; its order is kept);
    or, with `high` the folder of the bright ones, any folder of dark pictures. Names that several folders share are
    told apart by their folders: Huawei_1, Nikon_1.
    split: "train", "val", "test": the data set's own parts; "eval15", "our485": LOL-v1's own. In our485, and in a
    folder without parts, "train" are the numbers below 690 and "heldout" those from 690. "all": everything.
    None: eval15 at a root of LOL-v1, everything in a folder without several parts.
    Raises FileNotFoundError without such folders or such a part, ValueError for an unknown split, for a split of a
    list or of two folders given, and for None where there are several parts to choose from.
    """
    root = Path(root)
    if split is not None and split not in SPLITS:
        raise ValueError(f"scan_pairs: split must be one of {', '.join(SPLITS)}, got {split!r}")
    if (high is not None or root.is_file()) and split not in (None, "all"):
        raise ValueError(f"scan_pairs: a list file or two folders have no split {split!r}")
    if high is None and root.is_file():
        return read_list(root)
    for folder in (root, high):
        if folder is not None and not Path(folder).is_dir():
            raise FileNotFoundError(f"scan_pairs: no folder {folder}")
    if high is not None:
        return match_folders(root, Path(high))
    found: list[tuple[Source, Pair]] = []
    problems: list[str] = []
    for source in select(find_sources(root), split, root):
        if source.list_file:
            pairs, wrong = read_list(source.list_file)
        elif source.low and source.high:
            pairs, wrong = match_folders(source.low, source.high, _numbers(source, split))
        found += [(source, pair) for pair in pairs]
        problems += wrong
    return sorted(_told_apart(found, root), key=lambda pair: natural(pair.name)), problems


def _numbers(source: Source, split: str | None) -> Callable[[str], bool]:
    """Which names of a source are in the split."""
    if split not in ("train", "heldout") or not (source.is_called("our485") or source.part is None):
        return lambda name: True
    return lambda name: name.isdecimal() and (int(name) >= HELDOUT_FROM) == (split == "heldout")


def _told_apart(found: list[tuple[Source, Pair]], root: Path) -> list[Pair]:
    """The pairs; if several sources use one name, all with their source's folders in front, as in Huawei_1."""
    if max(Counter(pair.name for _, pair in found).values(), default=0) < 2:
        return [pair for _, pair in found]
    parts_of = defaultdict(set)
    for source, _ in found:
        parts_of[source.home].add(source.part)
    pairs = []
    for source, pair in found:
        words = [*source.home.relative_to(root).parts]
        if len(parts_of[source.home]) > 1:
            words.append(source.part or "rest")
        pairs.append(replace(pair, name="_".join([*words, pair.name])))
    return pairs
