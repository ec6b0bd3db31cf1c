"""Pairs of sRGB pictures as samples to score, models and classical baselines as methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..data.sets.matching import by_stem
from ..data.sets.pairs import Pair
from ..files.pictures import read_srgb
from ..metrics.measures import View, picture_views
from ..systems.base import PictureSystem
from ..systems.brighten import enhance_picture, options_of
from .baselines import BASELINES
from .report import Method, Sample

# the parts of LOL-v1 that a split holds: a model trained on a part has seen its pictures
_PARTS = {
    "eval15": {"eval15"},
    "train": {"train"},
    "heldout": {"heldout"},
    "our485": {"train", "heldout"},
    "all": {"eval15", "train", "heldout"},
}


class PairScene(NamedTuple):
    """source: the dark picture, truth: the bright one, [3, H, W] in [0, 1]; methods give one of that shape."""

    source: Tensor
    truth: Tensor

    @property
    def about(self) -> dict[str, Any]:
        return {}

    def views(self, result: Tensor) -> list[View]:
        """As it comes, with GT-mean and with the least-squares gain."""
        return picture_views(result[None], self.truth[None])

    def pictures(self, results: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Dark, results and truth."""
        return {"dark": self.source, **results, "truth": self.truth}


def picture_samples(pairs: Iterable[Pair]) -> list[Sample]:
    """Loading raises ValueError or OSError where a picture cannot be read or the sizes of a pair differ."""
    return [Sample(pair.name, partial(_read, pair), stems=(pair.name, pair.low.stem, pair.high.stem)) for pair in pairs]


def model_method(name: str, system: PictureSystem, steps: int | None = None, sampler: str | None = None) -> Method:
    """A loaded system as a method; steps: network calls, sampler: one of its samplers, both the system's own where
    None. A system that takes the wanted mean of the picture (the option `mean`) can be told the truth's."""

    def run(low: Tensor, seed: int, **options: float) -> Tensor:
        return enhance_picture(system, low[None], steps=steps, seed=seed, sampler=sampler, **options)[0]

    def told(low: Tensor, seed: int, truth: Tensor) -> Tensor:
        return run(low, seed, mean=truth.mean().item())

    return Method(
        name,
        run,
        seeded=True,
        told=told if "mean" in options_of(system) else None,
        device=str(system.device),
        trained_on=system.trained_on,
    )


def baseline_methods() -> list[Method]:
    """The classical baselines, the untouched picture first."""
    return [Method(name, partial(_without_seed, run)) for name, run in BASELINES.items()]


def results_method(name: str, folder: Path) -> Method:
    """Pictures that another method left in a folder, each under the name of the pair or of one of its files.

    Raises FileNotFoundError without such a folder, ValueError where it holds no picture; a sample that has no picture
    there, several, or one of another size, is a ValueError of its own.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"--results: no folder {folder}")
    found = by_stem(folder)
    if not found:
        raise ValueError(f"--results: {folder} holds no picture")

    def made(sample: Sample, low: Tensor) -> Tensor:
        paths = next((found[stem] for stem in sample.stems if stem in found), [])
        if len(paths) != 1:
            several = ", ".join(path.name for path in paths)
            raise ValueError(f"{name} has {several or f'no picture {sample.stems[0]}'} in {folder}")
        result = torch.from_numpy(read_srgb(paths[0])).movedim(-1, 0)
        if result.shape != low.shape:
            sizes = [f"{picture.shape[2]} x {picture.shape[1]}" for picture in (result, low)]
            raise ValueError(f"{paths[0]} has {sizes[0]} pixels, the pair {sizes[1]}")
        return result

    return Method(name, lambda low, seed: low, made=made)


def seen_in_training(method: Method, split: str) -> str | None:
    """A sentence where the method was trained on pictures of the split (both of LOL-v1), else None."""
    # a model may have been trained on several, one after another or at once
    parts = [_PARTS.get(part, set()) for part in (method.trained_on or "").split(" + ")]
    seen = set().union(*parts) & _PARTS.get(split, set())
    if not seen:
        return None
    share = "all" if seen == _PARTS[split] else "some"
    return (
        f"{method.name} was trained on {method.trained_on}, {share} of {split} included: its scores there are memory."
    )


def _without_seed(run: Callable[[Tensor], Tensor], low: Tensor, seed: int) -> Tensor:
    return run(low)


def _read(pair: Pair) -> PairScene:
    low, truth = (torch.from_numpy(read_srgb(path)).movedim(-1, 0) for path in (pair.low, pair.high))
    if low.shape != truth.shape:
        sizes = [f"{picture.shape[2]} x {picture.shape[1]}" for picture in (low, truth)]
        raise ValueError(f"the dark picture has {sizes[0]} pixels, the bright one {sizes[1]}")
    return PairScene(low, truth)
