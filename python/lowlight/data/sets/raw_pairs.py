"""Pairs of raw files of one scene, short exposure and long, whatever data set they come from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...raw.exif import Shot
    from ...raw.files import RawPicture


@dataclass(frozen=True)
class RawPair:
    """Two raw files; ratio: how many times longer the long one is, as its data set says; name: of the short one."""

    short: Path
    long: Path
    ratio: float
    name: str


def by_ratio(pairs: Iterable[RawPair]) -> dict[float, list[RawPair]]:
    """The pairs of each ratio, lowest first: what published tables have a column for."""
    found: dict[float, list[RawPair]] = defaultdict(list)
    for pair in pairs:
        found[pair.ratio].append(pair)
    return dict(sorted(found.items()))


def long_exposures(pairs: Iterable[RawPair]) -> list[Path]:
    """Each long exposure once, in order: the clean pictures that noise is added to."""
    return list(dict.fromkeys(pair.long for pair in pairs))


def exposure_ratio(long: RawPicture | Shot, short: RawPicture | Shot) -> float:
    """ISO x time of the long exposure over that of the short one.

    Raises ValueError where a file does not say its ISO and exposure time.
    """
    products = []
    for name, picture in (("long", long), ("short", short)):
        if not (picture.iso and picture.exposure):
            raise ValueError(
                f"exposure_ratio: the {name} exposure must say its ISO and time, got {picture.iso}, {picture.exposure}"
            )
        products.append(picture.iso * picture.exposure)
    return products[0] / products[1]
