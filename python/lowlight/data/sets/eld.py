"""ELD (Wei et al., CVPR 2020): CAMERA/scene-N/IMG_00XX.EXT, ten scenes of four cameras, to score on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .raw_pairs import RawPair

SCENES = tuple(range(1, 11))
# numbers of the pictures taken at each ratio, one for each ISO, and of those that count as their ground truth
SHORT_IMAGES = {100: (4, 9, 14), 200: (5, 10, 15)}
LONG_IMAGES = (1, 6, 11, 16)

_NO_RAW = (".jpg", ".jpeg", ".png", ".xmp", ".txt")


def find_eld(root: str | Path, camera: str, ratio: int, scenes: Iterable[int] = SCENES) -> list[RawPair]:
    """The pairs of `scan_eld`, of which none may be missing.

    Raises as it does, and FileNotFoundError naming the first that is not there.
    """
    pairs, problems = scan_eld(root, camera, ratio, scenes)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise FileNotFoundError(f"find_eld: {problems[0]}{more}")
    return pairs


def scan_eld(
    root: str | Path, camera: str, ratio: int, scenes: Iterable[int] = SCENES
) -> tuple[list[RawPair], list[str]]:
    """Pairs by scene and picture, three a scene, and a sentence for every picture that is not there.

    camera: the folder's name, such as SonyA7S2. ratio: 100 or 200, the nominal one; the files' own is
    raw_pairs.exposure_ratio. The ground truth is the nearest long exposure by number.
    Raises ValueError for another ratio, FileNotFoundError without the camera's folder, naming those that are there.
    """
    root = Path(root)
    if ratio not in SHORT_IMAGES:
        raise ValueError(f"scan_eld: ratio must be one of {', '.join(map(str, SHORT_IMAGES))}, got {ratio}")
    if not (root / camera).is_dir():
        inside = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
        raise FileNotFoundError(f"scan_eld: {root} has no folder {camera}, only {', '.join(inside) or 'none'}")
    pairs, problems = [], []
    for scene in scenes:
        folder = root / camera / f"scene-{scene}"
        for number in SHORT_IMAGES[ratio]:
            wanted = (number, ground_truth(number))
            short, long = (_picture(folder, n) for n in wanted)
            if short and long:
                pairs.append(RawPair(short, long, float(ratio), f"{camera}_scene-{scene}_{short.stem}"))
            else:
                lacking = [f"IMG_{n:04d}" for n, path in zip(wanted, (short, long), strict=True) if path is None]
                problems.append(f"{folder}: no raw file {' and no '.join(lacking)}")
    return pairs, problems


def ground_truth(number: int) -> int:
    """The number of the long exposure that is nearest to a picture's."""
    return min(LONG_IMAGES, key=lambda long: abs(long - number))


def _picture(folder: Path, number: int) -> Path | None:
    found = (path for path in sorted(folder.glob(f"IMG_{number:04d}.*")) if path.suffix.lower() not in _NO_RAW)
    return next(found, None)
