"""Scores of models and classical baselines on paired pictures: every method sees the same pictures, one at a time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..data.sets.pairs import Pair
from ..files.pictures import read_picture
from ..metrics.lpips import Lpips
from ..metrics.srgb import SCORES, score
from ..systems.base import PictureSystem
from ..systems.brighten import enhance_picture
from .baselines import BASELINES

# the parts of LOL-v1 that a split holds: a model trained on a part has seen its pictures
_PARTS = {
    "eval15": {"eval15"},
    "train": {"train"},
    "heldout": {"heldout"},
    "our485": {"train", "heldout"},
    "all": {"eval15", "train", "heldout"},
}


@dataclass(frozen=True)
class Method:
    """A way to brighten: run(low [3, H, W] in [0, 1] on the CPU, seed) -> the same shape, on the CPU."""

    name: str
    run: Callable[[Tensor, int], Tensor]
    seeded: bool  # draws noise, so that it is run once a seed
    device: str = "cpu"
    trained_on: str | None = None  # split of the training pictures, where it is known


@dataclass
class Report:
    """One row a split, method, picture and seed: their names (seed None without noise), scores, seconds."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def scores(self) -> list[str]:
        """Those of metrics.SCORES that the rows hold."""
        return [name for name in SCORES if self.rows and name in self.rows[0]]

    def summary(self) -> list[dict[str, Any]]:
        """One entry a split and method: split, method, pictures, seeds, seconds (median a picture), and for each score
        {"mean": over pictures and seeds, "std": between the seeds' means, None with fewer than two seeds}."""
        return [
            {
                "split": split,
                "method": method,
                "pictures": len({row["picture"] for row in rows}),
                "seeds": [seed for seed in dict.fromkeys(row["seed"] for row in rows) if seed is not None],
                "seconds": statistics.median(row["seconds"] for row in rows),
                **self._spreads(rows),
            }
            for (split, method), rows in self._groups("split", "method").items()
        ]

    def pictures(self) -> list[dict[str, Any]]:
        """One entry a split, method and picture, their names and for each score {"mean": over seeds, "std": between
        seeds, None with fewer than two}."""
        return [
            {"split": split, "method": method, "picture": picture, **self._spreads(rows)}
            for (split, method, picture), rows in self._groups("split", "method", "picture").items()
        ]

    def _groups(self, *keys: str) -> dict[tuple, list[dict[str, Any]]]:
        groups: dict[tuple, list[dict[str, Any]]] = {}
        for row in self.rows:
            groups.setdefault(tuple(row[key] for key in keys), []).append(row)
        return groups

    def _spreads(self, rows: list[dict[str, Any]]) -> dict[str, dict[str, float | None]]:
        by_seed: dict[int | None, list[dict[str, Any]]] = {}
        for row in rows:
            by_seed.setdefault(row["seed"], []).append(row)
        spreads = {}
        for name in self.scores:
            means = [statistics.fmean(row[name] for row in group) for group in by_seed.values()]
            # the deviation of infinite scores (a perfect result) is no number
            known = len(means) > 1 and all(abs(mean) != float("inf") for mean in means)
            spreads[name] = {"mean": statistics.fmean(means), "std": statistics.stdev(means) if known else None}
        return spreads


def model_method(name: str, system: PictureSystem, steps: int | None = None) -> Method:
    """A loaded system as a method; steps: network calls, default the system's own."""

    def run(low: Tensor, seed: int) -> Tensor:
        return enhance_picture(system, low[None], steps=steps, seed=seed)[0]

    return Method(name, run, seeded=True, device=str(system.device), trained_on=system.trained_on)


def baseline_methods() -> list[Method]:
    """The classical baselines, the untouched picture first."""
    return [Method(name, lambda low, seed, run=run: run(low), seeded=False) for name, run in BASELINES.items()]


def seen_in_training(method: Method, split: str) -> str | None:
    """A sentence where the method was trained on pictures of the split (both of LOL-v1), else None."""
    seen = _PARTS.get(method.trained_on, set()) & _PARTS.get(split, set())
    if not seen:
        return None
    share = "all" if seen == _PARTS[split] else "some"
    return (
        f"{method.name} was trained on {method.trained_on}, {share} of {split} included: its scores there are memory."
    )


def evaluate(
    pairs: Iterable[Pair],
    methods: Sequence[Method],
    seeds: Sequence[int] = (0,),
    on_pair: Callable[[Pair, Tensor, dict[str, Tensor], Tensor], None] | None = None,
    on_progress: Callable[[], None] | None = None,
    *,
    split: str = "",
    lpips: Lpips | None = None,
    report: Report | None = None,
) -> Report:
    """Every method on every pair. A pair that cannot be read or scored counts for no method and becomes a problem.

    on_pair(pair, low, results by method with the first seed, truth) sees the pictures [3, H, W] of each scored pair;
    on_progress is called after every pair. split: the name in the rows. lpips: scores with LPIPS too.
    report: one to go on with (another split), returned.
    """
    report = report or Report()
    for pair in pairs:
        try:
            low, truth = _read(pair)
            rows, results = _score_pair(low, truth, methods, seeds, lpips)
        except (ValueError, RuntimeError, OSError) as error:
            report.problems.append(f"{pair.name}: {error}")
        else:
            report.rows += [{"split": split, "picture": pair.name, **row} for row in rows]
            if on_pair is not None:
                on_pair(pair, low, results, truth)
        if on_progress is not None:
            on_progress()
    return report


def _read(pair: Pair) -> tuple[Tensor, Tensor]:
    low, truth = (torch.from_numpy(read_picture(path).rgb).movedim(-1, 0) for path in (pair.low, pair.high))
    if low.shape != truth.shape:
        sizes = [f"{picture.shape[2]} x {picture.shape[1]}" for picture in (low, truth)]
        raise ValueError(f"the dark picture has {sizes[0]} pixels, the bright one {sizes[1]}")
    return low, truth


def _score_pair(
    low: Tensor, truth: Tensor, methods: Sequence[Method], seeds: Sequence[int], lpips: Lpips | None
) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
    rows: list[dict[str, Any]] = []
    results: dict[str, Tensor] = {}
    for method in methods:
        for seed in seeds if method.seeded else (None,):
            started = time.perf_counter()
            # the result is on the CPU, so that a GPU has finished when the clock is read
            result = method.run(low, 0 if seed is None else seed)
            seconds = time.perf_counter() - started
            scores = {name: value.item() for name, value in score(result[None], truth[None], lpips).items()}
            rows.append({"method": method.name, "seed": seed, **scores, "seconds": seconds})
            results.setdefault(method.name, result)
    return rows, results
