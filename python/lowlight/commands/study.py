"""`lowlight study`: variants of a training on dim pictures, trained, measured and reported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import completion
from .scoring import Device, load_lpips
from .seed_option import seed_option
from .terminal import Json, Quiet, Voice
from .trainers import prepare
from .trainers import run as run_training

if TYPE_CHECKING:
    from ..metrics.measures import Measure
    from ..study.work import Work

# torch is imported inside the functions: `lowlight --help` must not wait for it

_LEAST_SEEN = 64  # side of a picture below which the network of LPIPS has next to no positions left


def study(
    config: Annotated[
        str,
        typer.Argument(
            help="A YAML file, or a study that ships: ddpm_on_dim, ddpm_on_dim_small.",
            autocompletion=completion.studies,
        ),
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Settings of every training: stages.0.iterations=100 ...")
    ] = None,
    *,
    data: Annotated[Path | None, typer.Option(help="Folder of pictures of any size, and those in it.")] = None,
    scenes: Annotated[
        int | None, typer.Option(min=1, help="Or so many pictures of procedural still lifes, kept in OUT/scenes.")
    ] = None,
    seed: Annotated[list[int] | None, seed_option("Seed; repeat for several (default: the study's).")] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="A variant to run beside the control; repeat for several (default: all).")
    ] = None,
    pictures: Annotated[bool, typer.Option(help="Show pictures in the report, beside tables and curves.")] = True,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of trainings, results, report; goes on with what is there.")
    ] = Path("study"),
    device: Device = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train and measure every variant of a study, and write report.md and report.html.

    The same command goes on where it was stopped: finished trainings and results are not made again.
    """
    from dataclasses import replace

    from ..study.config import load_study, tasks_of
    from ..study.report import write_report
    from ..study.work import Work, write_scenes
    from ..training.objectives.ddpm import DDPMOptions

    voice = Voice(quiet, json=json)
    reports: list[str] = []
    try:
        plan = load_study(config)
        plan = replace(plan, seeds=list(dict.fromkeys(seed))) if seed else plan
        whole, plan = plan, plan.only(only) if only else plan
        tasks = tasks_of(plan, overrides or [])
        if (data is None) == (scenes is None):
            raise ValueError("give either --data FOLDER or --scenes COUNT")
        size = DDPMOptions(**tasks[0].config.objective).size
        folder = data
        if folder is None:
            assert scenes is not None
            folder = output / "scenes" / f"{scenes}-{size or 32}"
            write_scenes(scenes, size or 32, folder)
        processes = prepare(tasks[0].config.threads, device)
        if processes.count > 1:
            raise ValueError("study runs in one process")
        more, note = _lpips(size, str(processes.device))
        work = Work(plan, tasks, folder, output, processes, more)
        finished = _run(work, voice)
        source = (
            f"{scenes} procedural pictures (--scenes)"
            if data is None
            else f"the folder {'/'.join(data.resolve().parts[-2:])}"
        )
        if work.results:
            notes = [note] if note else []
            if only:
                notes.append(f"Of the study's {len(whole.variants)} variants {len(plan.variants)} (--only).")
            for path in write_report(work, Path(config).stem, source, overrides or [], notes, pictures):
                reports.append(str(path))
                voice.tell(str(path))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    voice.answer({"reports": reports, "results": [*work.results], "of": len(tasks), "finished": finished})
    if not finished:
        typer.echo(f"{len(work.results)} of {len(tasks)} results are there; the same command goes on", err=True)
        raise typer.Exit(130)


def _lpips(size: int | None, device: str) -> tuple[list[Measure], str | None]:
    from ..metrics.measures import lpips_measure

    if size is not None and size < _LEAST_SEEN:
        return [], f"LPIPS is left out: its network sees next to nothing of pictures below {_LEAST_SEEN} pixels."
    lpips, note = load_lpips(True, None, device)
    return [lpips_measure(lpips)] if lpips else [], note


def _run(work: Work, voice: Voice) -> bool:
    """Train and measure what is not there yet, a line each; whether nobody asked to stop."""
    for number, task in enumerate(work.tasks, 1):
        if task.name in work.results:
            continue
        title = f"{number}/{len(work.tasks)} {task.variant}, seed {task.seed}"
        trainer = work.trainer(task)
        try:
            begun = trainer.step
            if begun < trainer.iterations and not run_training(trainer, title, voice):
                return False
            about = work.measure(task, trainer)
        finally:
            trainer.data.close()
            # the next task may have the same training
            trainer.close()
        how = f"trained {trainer.seconds:.0f} s" if begun < trainer.iterations else f"training of {task.trained_as}"
        voice.note(f"{title}: {how}, measured {about['seconds']:.0f} s")
    return True
