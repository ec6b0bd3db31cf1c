"""Methods scored on samples, sRGB pictures and raw alike: every method sees the same samples, one at a time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from ..metrics.measures import MEASURES, Measure, View, score


class Scene(Protocol):
    """A sample in memory. source: what methods are given. about: columns of its rows that only its files tell."""

    @property
    def source(self) -> Any: ...

    @property
    def about(self) -> Mapping[str, Any]: ...

    def views(self, result: Tensor) -> list[View]:
        """A method's result beside the truth, in every version that is scored; as it comes first."""

    def pictures(self, results: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """To look at, sRGB [3, H, W] by label: what was given, the results, the truth."""


@dataclass(frozen=True)
class Sample:
    """One picture to score. load(): its scene, read when asked for. about: further columns of its rows.

    stems: names of files without their suffix under which others' results of it may lie.
    """

    name: str
    load: Callable[[], Scene]
    about: Mapping[str, Any] = field(default_factory=dict)
    stems: tuple[str, ...] = ()


@dataclass(frozen=True)
class SampleSet:
    """What one table is of. name: of a split or a data set. problems: a sentence for every file that is not there.

    recipe: how the samples were made, where that is to be said.
    """

    name: str
    samples: list[Sample]
    problems: list[str] = field(default_factory=list)
    recipe: str = ""


@dataclass(frozen=True)
class Method:
    """A way to brighten: run(a scene's source, seed) -> the result, on the CPU.

    seeded: draws noise, so that it is run once a seed. told(source, seed, truth): the same where the truth's mean is
    said, None where that cannot be. made(sample, source): its result, where it was made before, in the place of run.
    about: further columns of its rows, such as its number of steps. protocol: of raw, "blind", or "paper" where it sees
    the truth. trained_on: the split of the training pictures, where it is known.
    """

    name: str
    run: Callable[[Any, int], Tensor]
    seeded: bool = False
    told: Callable[[Any, int, Tensor], Tensor] | None = None
    made: Callable[[Sample, Any], Tensor] | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    protocol: str | None = None
    device: str = "cpu"
    trained_on: str | None = None

    @property
    def label(self) -> str:
        """Its name, and its protocol where it has one."""
        return self.name if self.protocol is None else f"{self.name}, {self.protocol}"


@dataclass
class Report:
    """rows: one a sample, method and seed, with the columns `keys` (they tell the summary's entries apart) and
    `details`, its seed (None without noise), scores and seconds. scores: what was measured, by its name in the rows,
    which lack what a method does not have. problems: what could not be scored, a sentence each."""

    keys: tuple[str, ...] = ("split", "method")
    details: tuple[str, ...] = ("picture", "seed")
    rows: list[dict[str, Any]] = field(default_factory=list)
    scores: dict[str, Measure] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def summary(self, *more: str) -> list[dict[str, Any]]:
        """One entry a combination of keys and `more` columns: those, pictures, seeds, seconds (median a picture), and
        for each score {"mean": over pictures and seeds, "std": between the seeds' means, None with fewer than two}."""
        columns = (*self.keys, *more)
        groups: dict[tuple, list[dict[str, Any]]] = {}
        for row in self.rows:
            groups.setdefault(tuple(row[column] for column in columns), []).append(row)
        return [
            {
                **dict(zip(columns, key, strict=True)),
                "pictures": len({row["picture"] for row in rows}),
                "seeds": [seed for seed in dict.fromkeys(row["seed"] for row in rows) if seed is not None],
                "seconds": _median(row["seconds"] for row in rows),
                **self._spreads(rows),
            }
            for key, rows in groups.items()
        ]

    def _spreads(self, rows: list[dict[str, Any]]) -> dict[str, dict[str, float | None]]:
        by_seed: dict[int | None, list[dict[str, Any]]] = {}
        for row in rows:
            by_seed.setdefault(row["seed"], []).append(row)
        spreads: dict[str, dict[str, float | None]] = {}
        for name in self.scores:
            if name not in rows[0]:
                spreads[name] = {"mean": None, "std": None}
                continue
            means = [statistics.fmean(row[name] for row in group) for group in by_seed.values()]
            # the deviation of infinite scores (a perfect result) is no number
            known = len(means) > 1 and all(abs(mean) != float("inf") for mean in means)
            spreads[name] = {"mean": statistics.fmean(means), "std": statistics.stdev(means) if known else None}
        return spreads


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def evaluate(
    samples: Iterable[Sample],
    methods: Sequence[Method],
    seeds: Sequence[int] = (0,),
    on_sample: Callable[[Sample, dict[str, Tensor]], None] | None = None,
    on_progress: Callable[[], None] | None = None,
    *,
    measures: Sequence[Measure] = MEASURES,
    about: Mapping[str, Any] | None = None,
    report: Report | None = None,
) -> Report:
    """Every method on every sample. One that cannot be read or scored counts for no method and becomes a problem.

    on_sample(sample, pictures to look at by label, with the first seed) is called for each that was scored, on_progress
    after every one. about: further columns of all rows, such as the split. report: one to go on with, returned.
    """
    report = report or Report()
    for sample in samples:
        try:
            scene = sample.load()
            rows, results = _score(sample, scene, methods, seeds, measures, report.scores)
        except (ValueError, RuntimeError, OSError) as error:
            report.problems.append(f"{sample.name}: {error}")
        else:
            known = {**(about or {}), **sample.about, **scene.about, "picture": sample.name}
            for said, values in rows:
                columns = {name: (known | said).get(name) for name in (*report.keys, *report.details, "seed")}
                report.rows.append(columns | values)
            if on_sample is not None:
                on_sample(sample, scene.pictures(results))
        if on_progress is not None:
            on_progress()
    return report


def _score(
    sample: Sample,
    scene: Scene,
    methods: Sequence[Method],
    seeds: Sequence[int],
    measures: Sequence[Measure],
    scored: dict[str, Measure],
) -> tuple[list[tuple[dict[str, Any], dict[str, Any]]], dict[str, Tensor]]:
    """What is said of each run and its numbers, and results by label; a score that is new joins `scored`."""
    rows: list[tuple[dict[str, Any], dict[str, Any]]] = []
    results: dict[str, Tensor] = {}
    for method in methods:
        for seed in seeds if method.seeded else (None,):
            started = time.perf_counter()
            # the result is on the CPU, so that a GPU has finished when the clock is read
            result = method.made(sample, scene.source) if method.made else method.run(scene.source, seed or 0)
            seconds = None if method.made else time.perf_counter() - started
            views = scene.views(result)
            if method.told is not None:
                told = method.told(scene.source, seed or 0, views[0].truth)
                views.append(views[0]._replace(version="_told", result=told[None]))
            values = score(views, measures)
            scored.update((name, measure) for name, (measure, _) in values.items())
            said = {"method": method.name, "protocol": method.protocol, "seed": seed, **method.about}
            numbers = {name: value.item() for name, (_, value) in values.items()}
            rows.append((said, {**method.about, **numbers, "seconds": seconds}))
            results.setdefault(method.label, result)
    return rows, results
