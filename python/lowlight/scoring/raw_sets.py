"""What `lowlight evaluate-raw` finds in a folder: SID by its lists, ELD by its scenes, else clean pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..cameras.cameras import Camera, load_camera
from ..data.batches.raw_cache import RawCache
from ..data.batches.raw_sources import find_clean, is_sid
from ..data.sets.eld import SHORT_IMAGES, scan_eld
from ..data.sets.sid import SPLITS, find_sid, scan_sid
from .raw_samples import pair_samples, synthetic_samples
from .report import SampleSet

SETS = ("sid", "eld", "synthetic")
SID_CROP = 512  # packed pixels a side, of the published figures


def kind_of(root: Path) -> str:
    """One of SETS."""
    if is_sid(root):
        return "sid"
    return "eld" if root.is_dir() and any(root.glob("*/scene-*")) else "synthetic"


def sid_set(
    root: Path, split: str | None, ratios: Sequence[float] | None, cache: RawCache, camera: Camera, crop: int | None
) -> SampleSet:
    """split: train, val, test (the default), or the path of a list. Raises as find_sid does.

    Of a list given by its path lines without files are problems, not errors; ratios: those to score, None for all.
    """
    split = split or "test"
    pairs, problems = (find_sid(root, split), []) if split in SPLITS else scan_sid(Path(split), root)
    pairs = [pair for pair in pairs if ratios is None or pair.ratio in ratios]
    recipe = f"SID Sony, list {Path(split).stem}, {_area(crop)}, ratios of the list, K of {camera.name} from the ISO."
    return SampleSet("SID", pair_samples(pairs, cache, camera, crop=crop), problems, recipe)


def eld_set(
    root: Path, folder: str, ratios: Sequence[float] | None, cache: RawCache, camera: Camera, crop: int | None
) -> SampleSet:
    """folder: the camera's. Raises as scan_eld does."""
    samples, problems = [], []
    for ratio in ratios or SHORT_IMAGES:
        pairs, missing = scan_eld(root, folder, int(ratio))
        samples += pair_samples(pairs, cache, camera, crop=crop, exif_ratio=True)
        problems += missing
    recipe = f"ELD {folder}, scenes 1 to 10, {_area(crop)}, ratios of ISO x time, K of {camera.name} from the ISO."
    return SampleSet("ELD", samples, problems, recipe)


def synthetic_set(
    root: Path,
    split: str | None,
    ratios: Sequence[float] | None,
    cache: RawCache,
    camera: Camera,
    crop: int | None,
    *,
    limit: int | None = None,
    model: str = "P+G+r+u",
    K: float | None = None,
    shrink: int = 1,
    seed: int = 0,
) -> SampleSet:
    """Clean pictures, evenly spread over those in the folder, with noise. Raises as find_clean does."""
    paths = find_clean(root, split)
    count = min(limit or len(paths), len(paths))
    chosen = [paths[i * len(paths) // count] for i in range(count)]
    side = crop or 128
    settings = {"model": model, "K": K, "crop": side, "shrink": shrink, "seed": seed}
    samples = synthetic_samples(chosen, cache, camera, ratios or (100.0, 200.0, 300.0), **settings)
    gains = f"K {K:g}" if K else "K drawn, the same at every ratio"
    recipe = (
        f"Synthetic exposures, not photographs: {count} clean pictures{f' of {split}' if split else ''} (sRGB ones at "
        f"1 / {shrink} of their size, made raw by random developments), crops of {side} x {side} packed pixels, noise "
        f"{model} of {camera.name}, {gains}, seed {seed}."
    )
    return SampleSet("synthetic", samples, recipe=recipe)


def camera_of(name: str | None, *others: str | None) -> Camera:
    """The calibration asked for, else the first of the others that is one. Raises CameraError (a ValueError)."""
    for other in (name, *others):
        if other is not None:
            return load_camera(other)
    raise ValueError("no camera: name it (--camera), as neither the model nor the folder does")


def _area(crop: int | None) -> str:
    return f"the centre {crop} x {crop} of packed pixels" if crop else "whole pictures"
