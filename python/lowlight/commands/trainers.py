"""What the commands that train share: a trainer at work in front of a user."""

from __future__ import annotations

import signal
from datetime import timedelta
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from .terminal import ALOUD, Seldom, Voice

if TYPE_CHECKING:
    from ..training.loop import Trainer

# torch is imported inside the functions: `lowlight --help` must not wait for it


def prepare(threads: int | None, device: str | None):
    """Set the threads; this process among those that train."""
    import torch

    from ..checkpoints import parse_device, usual_device
    from ..training.processes import join_processes

    if threads:
        torch.set_num_threads(threads)
    return join_processes(parse_device(device) or usual_device())


def run(trainer: Trainer, title: str = "", voice: Voice = ALOUD) -> bool:
    """Train under a progress bar, or off a terminal with a line a minute, unless quiet. Whether it is finished.

    The first Ctrl-C asks to stop, a second one stops at once. What stops it for good is one sentence and exit code 1.
    """
    from ..files.pictures import PictureError

    asked, seldom = False, Seldom()
    alone = trainer.processes.count == 1

    def ask(number: int, frame: object) -> None:
        nonlocal asked
        asked = True
        # of several processes each may get the signal twice, from the terminal and from the one that started them
        if alone:
            signal.signal(number, previous[signal.Signals(number)])

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    speaks = trainer.processes.rank == 0 and not voice.quiet
    shown = console.is_terminal and speaks
    try:
        with Progress(*columns, console=console, disable=not shown) as progress:
            task = progress.add_task(title, total=trainer.iterations, completed=trainer.step, left="")

            def show(step: int, losses: dict[str, float]) -> None:
                left = timedelta(seconds=round(trainer.seconds_left or 0))
                description = f"{title} loss {losses['loss']:.3f}".strip()
                progress.update(task, completed=step, description=description, left=f"{left} left")
                if not console.is_terminal and speaks and seldom.due():
                    typer.echo(f"{description}, iteration {step} of {trainer.iterations}, {left} left", err=True)

            def say(line: str) -> None:
                if not voice.quiet:
                    console.print(line, highlight=False)

            return trainer.run(show, lambda: asked, say)
    except (OSError, FloatingPointError, PictureError) as error:
        typer.echo(f"training stopped: {error}", err=True)
        raise typer.Exit(1) from None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
