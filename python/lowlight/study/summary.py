"""What the figures of a study say: means over seeds, each variant against the control, each claim, the darkness."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..metrics.measures import Measure
from ..scoring.report import Report
from .config import Claim, StudyConfig, Task
from .measuring import GENERATED_MEASURES, START, STUDIED

# Student's t of 1, 2, ... degrees of freedom, two-sided at 95 %; the last one stands for more
_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


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
    def agreed(self) -> bool:
        """Whether all of several seeds agree on its sign, and it is more than its standard deviation over them."""
        if len(self.values) < 2 or not self.mean:
            return False
        same = all(value * self.mean > 0 for value in self.values)
        return same and abs(self.mean) > statistics.stdev(self.values)

    @property
    def sure(self) -> bool:
        """Whether Student's t test over the seeds tells it from chance at 95 %."""
        if not self.agreed:
            return False
        error = statistics.stdev(self.values) / len(self.values) ** 0.5
        return abs(self.mean) > _STUDENT[min(len(self.values) - 1, len(_STUDENT)) - 1] * error

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
    ours, control = (by_seed(report, name, measure, view) for name in (variant, study.control))
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
        elif not found.agreed:
            said = "not decided, the seeds do not agree" if len(found.values) > 1 else "not decided by one seed"
        else:
            said = "seen here" if found.better == claim.better else "the opposite was seen"
            said += "" if found.sure else "; the seeds agree, but are too few to tell it from chance"
        lines.append(f"{found.words}: {said}.")
    return lines


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


def by_seed(report: Report, variant: str, measure: str, view: str) -> dict[int, float]:
    """The mean over pictures of every seed that has the measure."""
    values: dict[int, list[float]] = {}
    for row in report.rows:
        if (row["variant"], row["view"]) == (variant, view) and measure in row:
            values.setdefault(row["seed"], []).append(row[measure])
    return {seed: statistics.fmean(of_one) for seed, of_one in values.items()}
