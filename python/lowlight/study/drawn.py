"""The parts of a report that are looked at: curves, and grids of pictures."""

from __future__ import annotations

from ..scoring.report import Report
from ..scoring.tables import cell
from . import figures
from .config import Task
from .measuring import GENERATED, START
from .page import Cells, Figure, Heading, Part, Text
from .summary import darkness
from .work import Work


def curves(work: Work, report: Report) -> list[Part]:
    """Damage over darkness, the shifts of every knob, training curves."""
    tasks = _shown(work)
    parts: list[Part] = []
    over = {view: darkness(report, work.tasks, work.plan, view) for view in (START, GENERATED)}
    rows = [
        {"brightness": f"{e['brightness']:g}", **{report.scores[n].title: cell(e[n], report.scores[n]) for n in
         ("shift", "relative_shift", "psnr", "ssim_rgb")}}
        for e in over[START]
    ]  # fmt: skip
    try:
        drawn = [
            Figure("damage.png", figures.damage(over), "Relative shift over the factor of brightness."),
            Figure("shifts.png", figures.shifts(report, work.tasks, work.plan),
                   "Relative shift of every knob, and the spread of its new pictures' brightness; bars are one "
                   "standard deviation over seeds, red the control, green what is right."),
            Figure("losses.png", figures.losses(work.folder, tasks),
                   f"Training curves, seed {tasks[0].seed}; a network that predicts v has another loss."),
        ]  # fmt: skip
    except ImportError:
        drawn = []
        parts.append(Text("Curves need matplotlib: pip install 'lowlight-ext[train]'."))
    if len(rows) > 1:
        parts += [Heading("Damage over darkness"), Cells(rows), *drawn[:1]]
    return [*parts, Heading("Curves"), *drawn[1:]] if drawn else parts


def pictures_of(work: Work) -> list[Part]:
    """Grids of what was noised, what was made of it, and new pictures."""
    tasks = _shown(work)
    dimmed = {"objective.brightness", "objective.exposed"}
    about = {task.name: work.results[task.name]["about"] for task in tasks}
    other = [task for task in tasks if about[task.name]["equal_start"] != about[task.name]["start"]]
    shown = {
        "truth": ([t for t in tasks if set(work.plan.variants[t.variant]) <= dimmed],
                  "What is noised: held-out pictures as each variant sees them."),
        "denoised": (tasks, "Noised at the variant's own time and denoised."),
        "equal noise": (other, "Noised to the control's alpha_bar and denoised, where that is another time."),
        "generated": (tasks, "New pictures."),
    }  # fmt: skip
    return [
        Heading(f"Pictures, seed {tasks[0].seed}"),
        *(
            Figure(f"{name.replace(' ', '_')}.png", figures.grid(work.folder, one, name), text)
            for name, (one, text) in shown.items()
            if one
        ),
    ]


def _shown(work: Work) -> list[Task]:
    """Those of the first seed of which anything is there."""
    there = [task for task in work.tasks if task.name in work.results]
    return [task for task in there if task.seed == there[0].seed]
