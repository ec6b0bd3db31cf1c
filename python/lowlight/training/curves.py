"""Loss and validation over the iterations of a training, or of several to compare."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# titles of validation scores in dB
DECIBELS = {
    "psnr": "PSNR", "psnr_gt_mean": "PSNR GT-mean", "psnr_blind": "PSNR, blind protocol",
    "psnr_paper": "PSNR, paper protocol", "psnr_input": "PSNR of the input",
}  # fmt: skip
_COMPARED = ("psnr_gt_mean", "psnr_blind", "psnr")  # the first that a run has is what runs are compared by
_NO_TERMS = ("step", "seconds", "grad_norm", "lr")


def read_log(path: Path) -> list[dict[str, float]]:
    """Rows of a log, without their empty cells; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [{key: float(value) for key, value in row.items() if key and value} for row in csv.DictReader(file)]


def curves(runs: Mapping[str, Path]) -> Any:
    """A matplotlib figure of log.csv and validation.csv in the folders of trainings, by their names.

    Of one run every term of its loss and every score in dB, of several the loss and one score each; of runs without a
    validation the losses alone.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    logs = {name: (read_log(folder / "log.csv"), read_log(folder / "validation.csv")) for name, folder in runs.items()}
    figure = Figure(figsize=(8, 5), layout="constrained")
    validated = any(scores for _, scores in logs.values())
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2)) if validated else (figure.subplots(), None)
    for name, (rows, scores) in logs.items():
        terms = dict.fromkeys(term for row in rows for term in row if term not in _NO_TERMS)
        shown = [score for score in DECIBELS if any(score in row for row in scores)]
        if len(runs) > 1:
            terms = {"loss": None}
            shown = [score for score in _COMPARED if score in shown][:1]
        for term in terms:
            there = [row for row in rows if row.get(term, 0) > 0]
            # a line of one point cannot be seen
            style = "-" if len(there) > 1 else "."
            _line(above, there, term, style, name if len(runs) > 1 else term)
        for score in shown:
            title = DECIBELS[score] if len(runs) == 1 else f"{name}: {DECIBELS[score]}"
            _line(below, [row for row in scores if score in row], score, ".-", title)
    above.set(yscale="log", ylabel="loss terms" if len(runs) == 1 else "loss")
    if below is not None:
        below.set(ylabel="validation, dB")
    for axes in figure.axes:
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if axes.lines:
            axes.legend(fontsize="small")
    figure.axes[-1].set(xlabel="iteration")
    return figure


def _line(axes: Any, rows: list[dict[str, float]], column: str, style: str, label: str) -> None:
    if rows:
        axes.plot([row["step"] for row in rows], [row[column] for row in rows], style, label=label, linewidth=1)
