"""See-in-the-Dark (Chen et al., CVPR 2018): its folders and the lists of pairs that published code reads.

Sony/short/10003_00_0.04s.ARW and Sony/long/10003_00_10s.ARW: the last field is the exposure. A list has one pair a
line: two file names, and for some a ratio (Sony_train.txt ..., SID_Sony_15_paired.txt), or the data set's own
`./Sony/short/... ./Sony/long/... ISO200 F8`.
"""

from __future__ import annotations

import math
import re
from pathlib import Path, PurePosixPath

from .raw_pairs import RawPair

SPLITS = ("train", "val", "test")
# longer exposures count as this many times the short one
MOST_RATIO = 300.0


def find_sid(root: str | Path, split: str | Path = "test", *, camera: str = "Sony") -> list[RawPair]:
    """The pairs of `scan_sid`, of which none may be wrong: a score over a part of the list is another score.

    split: train, val, test, whose list lies in the root (Sony_test.txt or Sony_test_list.txt), or a list file's path.
    Raises FileNotFoundError without a list or with files missing, naming the first; ValueError for a line that is none.
    """
    root = Path(root)
    list_file = _list_of(root, split, camera) if split in SPLITS else Path(split)
    pairs, problems = scan_sid(list_file, root, camera=camera)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise FileNotFoundError(f"find_sid: {problems[0]}{more}")
    return pairs


def scan_sid(
    list_file: str | Path, root: str | Path | None = None, *, camera: str = "Sony"
) -> tuple[list[RawPair], list[str]]:
    """Pairs in the list's order, and a sentence for every line whose files are not there.

    root: the data set's folder, which holds Sony/short and Sony/long, or short and long; the list's own folder if None.
    Ratios: those of the list, else long over short of the file names, at most 300.
    Raises FileNotFoundError if the list is not there, ValueError for a line that is no pair.
    """
    list_file = Path(list_file)
    root = list_file.parent if root is None else Path(root)
    pairs, problems = [], []
    for number, short_name, long_name, ratio in _lines(list_file):
        short, long = (_locate(root, camera, side, name) for side, name in (("short", short_name), ("long", long_name)))
        lacking = [name for name, path in ((short_name, short), (long_name, long)) if path is None]
        if short and long:
            pairs.append(RawPair(short, long, ratio, short.stem))
        else:
            problems.append(f"{list_file}, line {number}: no file {' and no '.join(lacking)} in {root}")
    return pairs, problems


def exposure_of(name: str) -> float:
    """Seconds, from a name such as 10003_00_0.04s.ARW. Raises ValueError for another."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)s", PurePosixPath(name).stem.rpartition("_")[2])
    if not match or not float(match[1]) > 0:
        raise ValueError(f"exposure_of: a name of SID ends in its exposure, as in 10003_00_0.04s.ARW, got {name}")
    return float(match[1])


def _lines(path: Path) -> list[tuple[int, str, str, float]]:
    """(line, short, long, ratio) of a list."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise FileNotFoundError(f"scan_sid: no list {path}") from None
    except UnicodeDecodeError:
        raise ValueError(f"scan_sid: {path} is not a list of pairs: not text") from None
    found = []
    for number, line in enumerate(lines, 1):
        words = line.replace("\\", "/").split()
        if not words:
            continue
        try:
            if len(words) < 2:
                raise ValueError("expected a short and a long exposure")
            found.append((number, words[0], words[1], _ratio(*words[:3])))
        except ValueError as error:
            raise ValueError(f"scan_sid: {path}, line {number}: {error}") from None
    if not found:
        raise ValueError(f"scan_sid: {path} holds no pair")
    return found


def _ratio(short: str, long: str, stated: str = "") -> float:
    # the third word of the data set's own lists is the ISO
    if stated and not stated.lower().startswith("iso"):
        if not 0 < float(stated) < math.inf:
            raise ValueError(f"a ratio must be above 0, got {stated}")
        return float(stated)
    # to six digits: 30 s over 0.1 s is 300
    return min(round(exposure_of(long) / exposure_of(short), 6), MOST_RATIO)


def _locate(root: Path, camera: str, side: str, name: str) -> Path | None:
    bare = PurePosixPath(name).name
    for path in (root / name, root / camera / side / bare, root / side / bare):
        if path.is_file():
            return path
    return None


def _list_of(root: Path, split: str | Path, camera: str) -> Path:
    names = (f"{camera}_{split}.txt", f"{camera}_{split}_list.txt")
    for path in (root / name for name in names):
        if path.is_file():
            return path
    raise FileNotFoundError(f"find_sid: no list {' or '.join(names)} in {root}; give the list's path as the split")
