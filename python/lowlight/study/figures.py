"""Pictures of a study's report: grids side by side as in the study, training curves, shift a knob and over darkness."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ..files.contact_sheet import ContactSheet
from ..scoring.report import Report
from ..training.curves import read_log
from .answers import best_knobs
from .config import StudyConfig, Task
from .measuring import EQUAL, GENERATED, START
from .results import read_strip, training_folder

_WIDTH, _ACROSS = 960, 6  # of a row of pictures in a grid, in pixels and pictures
_ROUNDING = 4 / 255


def grid(folder: Path, tasks: Sequence[Task], name: str) -> bytes:
    """A PNG file: the first pictures of the tasks' strips of this name, enlarged by an integer, without smoothing.

    A row a task; tasks whose pictures differ by rounding share one.
    """
    rows: list[tuple[list[str], Tensor]] = []
    for task in tasks:
        strip = read_strip(folder, task, name)
        strip = strip[..., : _ACROSS * strip.shape[1]]
        same = [names for names, other in rows if (other - strip).abs().max() < _ROUNDING]
        if same:
            same[0].append(task.variant)
        else:
            rows.append(([task.variant], strip))
    sheet = ContactSheet(_WIDTH, len(rows))
    for names, strip in rows:
        times = max(1, _WIDTH // strip.shape[-1])
        sheet.add("; ".join(names), {"": strip.repeat_interleave(times, 1).repeat_interleave(times, 2)})
    buffer = io.BytesIO()
    sheet.image().save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def losses(folder: Path, tasks: Sequence[Task]) -> bytes:
    """Loss over iterations of every training that the tasks have, logarithmic."""
    figure = _figure(9, 5)
    axes = figure.subplots()
    for i, task in enumerate(task for task in tasks if task.trained_as == task.variant):
        rows = read_log(training_folder(folder, task) / "log.csv")
        style = ("-", "--", ":")[i // 10 % 3]
        axes.plot([row["step"] for row in rows], [row["loss"] for row in rows], style, label=task.variant, linewidth=1)
    axes.set(yscale="log", xlabel="iteration", ylabel="loss")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="x-small", ncols=2)
    return _png(figure)


def shifts(report: Report, tasks: list[Task], study: StudyConfig) -> bytes:
    """The relative shift of every knob in two views and the spread of new pictures, bars of one deviation over seeds.

    A line at the control's; of the spread one at 1.
    """
    columns = ((EQUAL, "relative_shift"), (GENERATED, "relative_shift"), (GENERATED, "spread"))
    names = [d.variant for d in best_knobs(report, tasks, study, GENERATED)][::-1]
    entries = {(entry["variant"], entry["view"]): entry for entry in report.summary()}
    figure = _figure(11, 1.5 + 0.3 * len(names))
    for axes, (view, measure) in zip(figure.subplots(1, len(columns), sharey=True), columns, strict=True):
        found = [entries[name, view][measure] for name in names]
        axes.barh(names, [e["mean"] for e in found], xerr=[e["std"] or 0 for e in found], color="tab:blue", alpha=0.7)
        if (study.control, view) in entries:
            axes.axvline(entries[study.control, view][measure]["mean"], color="tab:red", linewidth=1, label="control")
        if measure == "spread":
            axes.axvline(1, color="tab:green", linewidth=1, label="right")
        axes.legend(fontsize="small")
        axes.set(title=view, xlabel=report.scores[measure].title)
        axes.tick_params(axis="y", labelsize="small")
    return _png(figure)


def damage(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> bytes:
    """The relative shift over the factor of brightness, a line a view."""
    figure = _figure(6, 4)
    axes = figure.subplots()
    named = {START: "noised and denoised", GENERATED: "new pictures"}
    for view, entries in curves.items():
        values = [entry["relative_shift"] for entry in entries]
        axes.errorbar(
            [entry["brightness"] for entry in entries],
            [value["mean"] for value in values],
            yerr=[value["std"] or 0 for value in values],
            marker="o",
            label=named[view],
        )
    axes.set(xscale="log", yscale="log", xlabel="brightness, times the picture's", ylabel="relative RGB shift")
    factors = sorted({entry["brightness"] for entries in curves.values() for entry in entries})
    axes.set_xticks(factors, [f"{factor:g}" for factor in factors])
    axes.minorticks_off()
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="small")
    return _png(figure)


def _figure(width: float, height: float):
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()
