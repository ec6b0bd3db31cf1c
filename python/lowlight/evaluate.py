"""Scores of models and classical baselines on paired pictures: every method sees the same pictures, one at a time."""

from __future__ import annotations

import csv
import io
import json
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .baselines import BASELINES
from .data.pairs import Pair
from .enhance import enhance_picture
from .image_io import read_picture, write_atomically
from .metrics import RECIPE, score
from .systems.base import System

SCORES = (
    "psnr",
    "psnr_gt_mean",
    "psnr_ls_gain",
    "ssim_rgb",
    "ssim_rgb_gt_mean",
    "ssim_grey",
    "ssim_grey_gt_mean",
)


@dataclass(frozen=True)
class Method:
    """A way to brighten: run(low [3, H, W] in [0, 1] on the CPU, seed) -> the same shape, on the CPU."""

    name: str
    run: Callable[[Tensor, int], Tensor]
    seeded: bool  # draws noise, so that it is run once a seed
    device: str = "cpu"


@dataclass
class Report:
    """One row a method, picture and seed: method, picture, seed (None without noise), SCORES, seconds."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def summary(self) -> list[dict[str, Any]]:
        """One entry a method: method, pictures, seeds, seconds (median a picture), and for each of SCORES
        {"mean": over pictures and seeds, "std": between the seeds' means, None with fewer than two seeds}."""
        return [self._summary(method) for method in dict.fromkeys(row["method"] for row in self.rows)]

    def _summary(self, method: str) -> dict[str, Any]:
        rows = [row for row in self.rows if row["method"] == method]
        seeds = list(dict.fromkeys(row["seed"] for row in rows))
        entry: dict[str, Any] = {
            "method": method,
            "pictures": len({row["picture"] for row in rows}),
            "seeds": [seed for seed in seeds if seed is not None],
            "seconds": statistics.median(row["seconds"] for row in rows),
        }
        for name in SCORES:
            means = [statistics.fmean(row[name] for row in rows if row["seed"] == seed) for seed in seeds]
            spread = statistics.stdev(means) if len(means) > 1 else None
            entry[name] = {"mean": statistics.fmean(means), "std": spread}
        return entry


def model_method(name: str, system: System, steps: int | None = None) -> Method:
    """A loaded system as a method; steps: network calls, default the system's own."""

    def run(low: Tensor, seed: int) -> Tensor:
        return enhance_picture(system, low[None], steps=steps, seed=seed)[0]

    return Method(name, run, seeded=True, device=str(system.device))


def baseline_methods() -> list[Method]:
    """The classical baselines, the untouched picture first."""
    return [Method(name, lambda low, seed, run=run: run(low), seeded=False) for name, run in BASELINES.items()]


def evaluate(
    pairs: Iterable[Pair],
    methods: Sequence[Method],
    seeds: Sequence[int] = (0,),
    on_pair: Callable[[Pair, Tensor, dict[str, Tensor], Tensor], None] | None = None,
    on_progress: Callable[[], None] | None = None,
) -> Report:
    """Every method on every pair. A pair that cannot be read or scored counts for no method and becomes a problem.

    on_pair(pair, low, results by method with the first seed, truth) sees the pictures [3, H, W] of each scored pair;
    on_progress is called after every pair.
    """
    report = Report()
    for pair in pairs:
        try:
            low, truth = _read(pair)
            rows, results = _score_pair(pair.name, low, truth, methods, seeds)
        except (ValueError, RuntimeError, OSError) as error:
            report.problems.append(f"{pair.name}: {error}")
        else:
            report.rows += rows
            if on_pair is not None:
                on_pair(pair, low, results, truth)
        if on_progress is not None:
            on_progress()
    return report


def csv_text(report: Report) -> str:
    """One line a row of the report."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, ["method", "picture", "seed", *SCORES, "seconds"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(report.rows)
    return buffer.getvalue()


def json_text(report: Report, **context: Any) -> str:
    """Recipe, summary, rows and problems, and whatever the context says of the run."""
    content = {
        "recipe": RECIPE,
        **context,
        "torch": torch.__version__,
        "summary": report.summary(),
        "rows": report.rows,
        "problems": report.problems,
    }
    return json.dumps(content, indent=1) + "\n"


def write_text(path: Path, text: str) -> None:
    """The text as UTF-8, under a temporary name first; folders on the way are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode())


def _read(pair: Pair) -> tuple[Tensor, Tensor]:
    low, truth = (torch.from_numpy(read_picture(path).rgb).movedim(-1, 0) for path in (pair.low, pair.high))
    if low.shape != truth.shape:
        sizes = [f"{picture.shape[2]} x {picture.shape[1]}" for picture in (low, truth)]
        raise ValueError(f"the dark picture has {sizes[0]} pixels, the bright one {sizes[1]}")
    return low, truth


def _score_pair(
    name: str, low: Tensor, truth: Tensor, methods: Sequence[Method], seeds: Sequence[int]
) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
    rows: list[dict[str, Any]] = []
    results: dict[str, Tensor] = {}
    for method in methods:
        for seed in seeds if method.seeded else (None,):
            started = time.perf_counter()
            # the result is on the CPU, so that a GPU has finished when the clock is read
            result = method.run(low, 0 if seed is None else seed)
            seconds = time.perf_counter() - started
            scores = {key: value.item() for key, value in score(result[None], truth[None]).items()}
            rows.append({"method": method.name, "picture": name, "seed": seed, **scores, "seconds": seconds})
            results.setdefault(method.name, result)
    return rows, results
