"""What `lowlight evaluate-raw` finds in a folder: SID by its lists, ELD by its scenes, else clean pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..cameras.cameras import Camera, load_camera
from ..data.batches.raw_cache import RawCache
from ..data.batches.raw_sources import find_clean, is_sid
from ..data.sets.eld import SHORT_IMAGES, scan_eld
from ..data.sets.sid import SPLITS, find_sid, scan_sid
from .raw_samples import pair_samples, synthetic_samples
from .report import Sample, SampleSet

_SID_CROP = 512  # packed pixels a side, of the published figures


@dataclass(frozen=True)
class Choice:
    """What to score of a folder; None is the set's own. camera: a calibration, and ELD's folder.

    split: of SID train, val, test or the path of a list, of clean pictures their split. crop: packed pixels a side of
    the centre; whole: SID's pictures are not cropped. limit: pictures at each ratio. exclude: texts, a picture
    whose name holds one of them is left out before. Of clean pictures alone: the noise
    model, its gain K, shrink (of sRGB ones), the seed of all draws.
    """

    root: Path
    split: str | None
    ratios: Sequence[float] | None
    camera: str | None
    crop: int | None
    whole: bool
    limit: int | None
    model: str
    K: float | None
    shrink: int
    seed: int
    exclude: Sequence[str] = ()


def find_raw_set(name: str | None, choice: Choice, cameras: Iterable[str | None], cache: RawCache) -> SampleSet:
    """The samples by ratio. name: sid, eld or synthetic, None for what the folder is. cameras: of the models.

    Raises ValueError for another name, for ELD without a camera, and as find_sid, scan_eld and find_clean do.
    """
    makers = {"sid": _sid, "eld": _eld, "synthetic": _synthetic}
    if name not in (None, *makers):
        raise ValueError(f"--set must be one of {', '.join(makers)}, got {name}")
    root = choice.root
    if name is None:
        scenes = root.is_dir() and any(root.glob("*/scene-*"))
        name = "sid" if is_sid(root) else "eld" if scenes else "synthetic"
    if name == "eld" and choice.camera is None:
        raise ValueError(f"ELD needs --camera: the folder in {root} that is scored, such as SonyA7S2")
    camera = load_camera(next(filter(None, (choice.camera, *cameras, "SonyA7S2"))))
    return makers[name](choice, cache, camera)


def _scored(samples: Sequence[Sample], choice: Choice) -> list[Sample]:
    """The first `limit` of what is left at each ratio, by ratio. Raises ValueError where `exclude` says nothing."""
    for text in choice.exclude:
        if not any(text in sample.name for sample in samples):
            raise ValueError(f"--exclude {text}: no picture's name holds it")
    kept = [sample for sample in samples if not any(text in sample.name for text in choice.exclude)]
    ratios = sorted({sample.about["ratio"] for sample in kept})
    return [s for ratio in ratios for s in [s for s in kept if s.about["ratio"] == ratio][: choice.limit]]


def _without(choice: Choice) -> str:
    return f" Without {', '.join(choice.exclude)}." if choice.exclude else ""


def _sid(choice: Choice, cache: RawCache, camera: Camera) -> SampleSet:
    """Of a list given by its path lines without files are problems, not errors."""
    split, root = choice.split or "test", choice.root
    pairs, problems = (find_sid(root, split), []) if split in SPLITS else scan_sid(Path(split), root)
    pairs = [pair for pair in pairs if choice.ratios is None or pair.ratio in choice.ratios]
    crop = None if choice.whole else choice.crop or _SID_CROP
    recipe = f"SID Sony, list {Path(split).stem}, {_area(crop)}, ratios of the list, K of {camera.name} from the ISO."
    samples = _scored(pair_samples(pairs, cache, camera, crop=crop), choice)
    return SampleSet("SID", samples, problems, recipe + _without(choice))


def _eld(choice: Choice, cache: RawCache, camera: Camera) -> SampleSet:
    assert choice.camera is not None  # find_raw_set asks for it
    samples, problems, crop = [], [], choice.crop
    for ratio in choice.ratios or SHORT_IMAGES:
        pairs, missing = scan_eld(choice.root, choice.camera, int(ratio))
        samples += pair_samples(pairs, cache, camera, crop=crop, exif_ratio=True)
        problems += missing
    area, scenes = _area(crop), f"ELD {choice.camera}, scenes 1 to 10"
    recipe = f"{scenes}, {area}, ratios of ISO x time, K of {camera.name} from the ISO."
    return SampleSet("ELD", _scored(samples, choice), problems, recipe + _without(choice))


def _synthetic(choice: Choice, cache: RawCache, camera: Camera) -> SampleSet:
    """Clean pictures, evenly spread over those in the folder, with noise."""
    split, side = choice.split, choice.crop or 128
    paths = find_clean(choice.root, split)
    count = min(choice.limit or len(paths), len(paths))
    chosen = [paths[i * len(paths) // count] for i in range(count)]
    settings: dict[str, Any] = {
        "model": choice.model,
        "K": choice.K,
        "crop": side,
        "shrink": choice.shrink,
        "seed": choice.seed,
    }
    samples = synthetic_samples(chosen, cache, camera, choice.ratios or (100.0, 200.0, 300.0), **settings)
    gains = f"K {choice.K:g}" if choice.K else "K drawn, the same at every ratio"
    recipe = (
        f"Synthetic exposures, not photographs: {count} clean pictures{f' of {split}' if split else ''} (sRGB ones at "
        f"1 / {choice.shrink} of their size, made raw by random developments), crops of {side} x {side} packed pixels, "
        f"noise {choice.model} of {camera.name}, {gains}, seed {choice.seed}."
    )
    return SampleSet("synthetic", _scored(samples, choice), recipe=recipe + _without(choice))


def _area(crop: int | None) -> str:
    return f"the centre {crop} x {crop} of packed pixels" if crop else "whole pictures"
