"""What the figures of a study say: means over seeds, each variant against the control, each claim, which knob helps."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..metrics.measures import Measure
from ..scoring.report import Report
from .config import Claim, StudyConfig, Task
from .measuring import GENERATED, GENERATED_MEASURES, START, STUDIED

# settings that change what is trained on, so that variants with others are no knobs for the same pictures
_FAR = 0.25  # of the mean, from which on new pictures are not yet like those that were trained on
_PICTURES = ("size", "brightness", "exposed", "K", "held_out")


class Difference(NamedTuple):
    """A variant's measure less the control's. values: one a seed that both have."""

    variant: str
    measure: Measure
    view: str
    ours: float
    control: float
    values: list[float]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def sure(self) -> bool:
        """Whether all seeds agree on its sign, and it is more than its standard deviation over them."""
        if len(self.values) < 2 or not self.mean:
            return False
        same = all(value * self.mean > 0 for value in self.values)
        return same and abs(self.mean) > statistics.stdev(self.values)

    @property
    def better(self) -> bool:
        return self.mean > 0 if self.measure.better == "higher" else self.mean < 0

    @property
    def words(self) -> str:
        digits = self.measure.digits
        spread = f" ± {statistics.stdev(self.values):.{digits}f}" if len(self.values) > 1 else ""
        return (
            f"{self.variant}: {self.measure.title} {self.ours:.{digits}f} against {self.control:.{digits}f} "
            f"(difference {self.mean:+.{digits}f}{spread})"
        )


def report_of(tasks: Iterable[Task], results: Mapping[str, Mapping[str, Any]], more: Iterable[Measure] = ()) -> Report:
    """All rows of all results, under the columns variant and view."""
    report = Report(keys=("variant", "view"))
    report.scores = {measure.name: measure for measure in (*GENERATED_MEASURES, *STUDIED, *more)}
    for task in tasks:
        if task.name in results:
            said = {"variant": task.variant, "seed": task.seed, "seconds": 0.0}
            report.rows += [said | row for row in results[task.name]["rows"]]
    return report


def difference(report: Report, study: StudyConfig, variant: str, measure: str, view: str) -> Difference | None:
    """Against the control; None where no seed has both."""
    ours, control = (_by_seed(report, name, measure, view) for name in (variant, study.control))
    seeds = [seed for seed in ours if seed in control]
    if not seeds:
        return None
    own, other = (statistics.fmean(values[seed] for seed in seeds) for values in (ours, control))
    values = [ours[seed] - control[seed] for seed in seeds]
    return Difference(variant, report.scores[measure], view, own, other, values)


def verdict(claim: Claim, report: Report, study: StudyConfig) -> list[str]:
    """A sentence a variant on whether the figures agree with what is claimed of it."""
    lines = []
    for variant in claim.variants:
        found = difference(report, study, variant, claim.measure, claim.view)
        if found is None:
            lines.append(f"{variant}: not measured.")
            continue
        if not any(found.values):
            said = "no difference at all"
        elif not found.sure:
            said = "not decided, the seeds do not agree" if len(found.values) > 1 else "not decided by one seed"
        else:
            said = "seen here" if found.better == claim.better else "the opposite was seen"
        lines.append(f"{found.words}: {said}.")
    return lines


def knobs(tasks: list[Task], study: StudyConfig) -> list[str]:
    """Variants on the control's pictures, the control left out."""
    pictures = {task.variant: [task.config.objective.get(name) for name in _PICTURES] for task in tasks}
    return [name for name in pictures if name != study.control and pictures[name] == pictures[study.control]]


def best_knobs(report: Report, tasks: list[Task], study: StudyConfig, view: str) -> list[Difference]:
    """Every knob's relative shift against the control's, the least first; without those that change nothing."""
    found = [difference(report, study, name, "relative_shift", view) for name in knobs(tasks, study)]
    return sorted((d for d in found if d is not None and any(d.values)), key=lambda d: d.ours)


def best_words(report: Report, tasks: list[Task], study: StudyConfig, view: str) -> str:
    """Which knob helps most in a view, in one paragraph."""
    ranked = best_knobs(report, tasks, study, view)
    if not ranked:
        return "Nothing to compare yet."
    helped = [d for d in ranked if d.sure and d.better]
    # the variance types that differ by rounding alone come in pairs
    first = [d for d in ranked if d.ours == ranked[0].ours]
    names = " and ".join(d.variant for d in first)
    text = f"The least relative shift has {names}. {ranked[0].words}."
    spread = _by_seed(report, ranked[0].variant, "spread", view)
    if spread:
        times = f"{statistics.fmean(spread.values()):.2f} times as much"
        text += f" The brightness of its pictures varies {times} as that of the training pictures."
    if all(len(d.values) < 2 for d in ranked):
        return text + " One seed decides nothing."
    if not helped:
        return text + " No knob beats the control by more than its spread over seeds."
    if helped[0].variant not in {d.variant for d in first}:
        text += f" The first that beats the control with all seeds agreeing: {helped[0].words}."
    named = "; ".join(d.variant for d in helped)
    return (
        text + f" {len(helped)} of {len(ranked)} knobs have less than the control by more than their spread: {named}."
    )


def far_off(report: Report, study: StudyConfig) -> float | None:
    """The control's relative shift of new pictures where it is so large that the training was too short for them."""
    shift = statistics.fmean(_by_seed(report, study.control, "relative_shift", GENERATED).values() or [0.0])
    return shift if shift > _FAR else None


def darkness(report: Report, tasks: list[Task], study: StudyConfig, view: str = START) -> list[dict[str, Any]]:
    """The control and the variants that differ from it in brightness alone, the brightest first."""
    entries = {entry["variant"]: entry for entry in report.summary() if entry["view"] == view}
    factors = {
        task.variant: task.config.objective.get("brightness", 0.5)
        for task in tasks
        if set(study.variants[task.variant]) <= {"objective.brightness"} and task.variant in entries
    }
    return [{"brightness": factors[name], **entries[name]} for name in sorted(factors, key=lambda n: -factors[n])]


def share_of_shift(report: Report, variant: str, view: str = START) -> float | None:
    """How much of the MSE the shift of the three means is, between 0 and 1; the mean over pictures and seeds."""
    rows = [row for row in report.rows if (row["variant"], row["view"]) == (variant, view)]
    shares = [
        1000 * statistics.fmean(row[f"shift_{name}"] ** 2 for name in "rgb") / row["mse"] for row in rows if row["mse"]
    ]
    return statistics.fmean(shares) if shares else None


def _by_seed(report: Report, variant: str, measure: str, view: str) -> dict[int, float]:
    values: dict[int, list[float]] = {}
    for row in report.rows:
        if (row["variant"], row["view"]) == (variant, view) and measure in row:
            values.setdefault(row["seed"], []).append(row[measure])
    return {seed: statistics.fmean(of_one) for seed, of_one in values.items()}
