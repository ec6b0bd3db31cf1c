"""The study's questions in words: which knob helps most, whether an anchor cures the shift, what may be chance."""

from __future__ import annotations

import statistics

from ..scoring.report import Report
from .config import StudyConfig, Task
from .measuring import EQUAL, GENERATED
from .summary import Difference, by_seed, difference

_FAR = 0.25  # of the mean, from which on new pictures are not yet like those that were trained on
_ALIKE = (0.5, 2.0)  # times the spread of the training pictures, within which that of new ones is about right
# settings that change what is trained on, so that variants with others are no knobs for the same pictures
_PICTURES = ("size", "brightness", "exposed", "K", "held_out")


def knobs(tasks: list[Task], study: StudyConfig) -> list[str]:
    """Variants on the control's pictures, the control left out."""
    pictures = {task.variant: [task.config.objective.get(name) for name in _PICTURES] for task in tasks}
    return [name for name in pictures if name != study.control and pictures[name] == pictures[study.control]]


def best_knobs(report: Report, tasks: list[Task], study: StudyConfig, view: str) -> list[Difference]:
    """Every knob's relative shift against the control's, the least first; without those that change nothing."""
    found = [difference(report, study, name, "relative_shift", view) for name in knobs(tasks, study)]
    return sorted((d for d in found if d is not None and any(d.values)), key=lambda d: d.ours)


def best_words(report: Report, tasks: list[Task], study: StudyConfig, view: str) -> list[str]:
    """Which knob helps most in a view, a sentence or two an item."""
    ranked = best_knobs(report, tasks, study, view)
    if not ranked:
        return ["Nothing to compare yet."]
    # the variance types that differ by rounding alone come in pairs
    alike = "; ".join(d.variant for d in ranked[1:] if d.ours == ranked[0].ours)
    lines = [f"The least has {_words(report, ranked[0])}" + (f" The same: {alike}." if alike else "")]
    spread = _spread(report, ranked[0].variant, view)
    if spread is not None and not _ALIKE[0] <= spread <= _ALIKE[1]:
        right = [d for d in ranked if _ALIKE[0] <= (_spread(report, d.variant, view) or 0) <= _ALIKE[1]]
        lines.append(
            "But its pictures do not differ in brightness as they should. Of the knobs with "
            f"{_ALIKE[0]:g} to {_ALIKE[1]:g} times the right spread the least has "
            + (_words(report, right[0]) if right else "none.")
        )
    if all(len(d.values) < 2 for d in ranked):
        return [*lines, "One seed decides nothing."]
    for kind, text in (
        ([d for d in ranked if d.better and d.sure], "Less than the control, told from chance at 95 %"),
        ([d for d in ranked if d.better and d.agreed and not d.sure], "Less with all seeds, too few to be sure of"),
        ([d for d in ranked if not d.better and d.sure], "More than the control, told from chance at 95 %"),
    ):
        lines.append(f"{text}: {'; '.join(d.variant for d in kind) or 'none'}.")
    return lines


def anchor_words(report: Report, tasks: list[Task], study: StudyConfig) -> list[str]:
    """What an anchor does to the shift, a sentence a variant and view; nothing where no variant has one."""
    anchored = dict.fromkeys(task.variant for task in tasks if task.config.network.get("anchor"))
    lines = []
    for name in anchored:
        for view, text in ((GENERATED, "New pictures"), (EQUAL, "Noised as much as the control, and denoised")):
            found = difference(report, study, name, "relative_shift", view)
            if found is None or not found.control:
                continue
            change = 100 * found.mean / found.control
            sure = "" if found.sure else " (not told from chance by these seeds)"
            said = f"{abs(change):.0f} % {'less' if change < 0 else 'more'} of it than in the control{sure}"
            lines.append(f"{text}: {said}. {_words(report, found)}")
    return lines


def far_off(report: Report, study: StudyConfig) -> float | None:
    """The control's relative shift of new pictures where it is so large that they are not yet like the training's."""
    shift = statistics.fmean(by_seed(report, study.control, "relative_shift", GENERATED).values() or [0.0])
    return shift if shift > _FAR else None


def few_seeds(report: Report, tasks: list[Task]) -> list[str]:
    """Variants of which one seed alone is there, where others have more."""
    seeds = {task.variant: {row["seed"] for row in report.rows if row["variant"] == task.variant} for task in tasks}
    return [name for name, found in seeds.items() if len(found) == 1] if any(len(s) > 1 for s in seeds.values()) else []


def _words(report: Report, found: Difference) -> str:
    spread = _spread(report, found.variant, found.view)
    if spread is None:
        return f"{found.words}."
    return f"{found.words}; brightness varies {spread:.2f} times as much as from training picture to training picture."


def _spread(report: Report, variant: str, view: str) -> float | None:
    values = by_seed(report, variant, "spread", view).values()
    return statistics.fmean(values) if values else None
