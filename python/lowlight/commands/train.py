"""`lowlight train`: from pairs of pictures to a file of weights."""

from __future__ import annotations

import signal
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from ..data.sets.pairs import Pair
    from ..data.sets.raw_pairs import RawPair
    from ..training.loop import Trainer

# torch is imported inside the functions: `lowlight --help` must not wait for it


def train(
    config: Annotated[str, typer.Argument(help="A YAML file, or the name of a configuration that ships.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Settings that replace the file's: seed=1 stages.0.batch=2 ...")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder with low/ and high/, or the root of LOL-v1 (its our485 is taken).")
    ] = None,
    split: Annotated[str | None, typer.Option(help="our485, train (numbers below 690) or all of LOL-v1.")] = None,
    val_data: Annotated[Path | None, typer.Option(help="Folder of the pairs to validate on (default: --data).")] = None,
    val_split: Annotated[
        str | None, typer.Option(help="Split to validate on: eval15, heldout ...; none: no validation.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of checkpoint and logs; resumes what is there.")
    ] = Path("run"),
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 ... (default: a GPU if there is one).")] = None,
    allow_changes: Annotated[
        bool, typer.Option("--allow-changes", help="Resume under a configuration other than the checkpoint's.")
    ] = False,
) -> None:
    """Train on pairs of pictures. Ctrl-C stops after the current iteration; the same command goes on from there.

    Several processes share every batch: torchrun --nproc_per_node 2 -m lowlight train ... (or accelerate launch).
    """
    from ..training.config_files import load_config
    from ..training.loop import Trainer
    from ..training.objectives.lookup import objective_of

    try:
        settings = load_config(config, overrides or [])
        objective = objective_of(settings.system)
        root = data or (Path(settings.data) if settings.data else None)
        if root is None:
            raise ValueError("no data: give --data FOLDER or data=FOLDER")
        processes = prepare(settings.threads, device)
        settings = replace(settings, data=str(root), split=split or settings.split or objective.split(root))
        pairs, validator = objective.find(settings, root, settings.split), None
        if settings.validate_every and (val_data or val_split):
            val_pairs = objective.find(settings, val_data or root, val_split)
            validator = objective.validator(settings, val_pairs)
        batches = objective.batches(settings, pairs)
        trainer = Trainer(settings, batches, output, validator=validator, processes=processes)
        trainer.resume(allow_changes, lambda line: typer.echo(line, err=True))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    if processes.rank == 0:
        for line in _remarks(trainer, pairs, val_pairs if validator else []):
            typer.echo(line, err=True)
    finished = run(trainer)
    trainer.close()
    if not finished:
        if processes.rank == 0:
            done = f"stopped after iteration {trainer.step} of {trainer.iterations}"
            typer.echo(f"{done}; the same command goes on", err=True)
        raise typer.Exit(130)
    if processes.rank == 0:
        typer.echo(f"{output / 'last.pt'}: {trainer.iterations} iterations")


def prepare(threads: int | None, device: str | None):
    """Set the threads; this process among those that train."""
    import torch

    from ..checkpoints import parse_device
    from ..training.processes import join_processes

    if threads:
        torch.set_num_threads(threads)
    chosen = parse_device(device) or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return join_processes(chosen)


def run(trainer: Trainer, title: str = "") -> bool:
    """Train under a progress bar; the first Ctrl-C asks to stop, a second one stops at once. Whether it is finished.

    What stops it for good is one sentence and exit code 1.
    """
    from ..files.pictures import PictureError

    asked = False
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
    shown = console.is_terminal and trainer.processes.rank == 0
    try:
        with Progress(*columns, console=console, disable=not shown) as progress:
            task = progress.add_task(title, total=trainer.iterations, completed=trainer.step, left="")

            def show(step: int, losses: dict[str, float]) -> None:
                left = timedelta(seconds=round(trainer.seconds_left or 0))
                description = f"{title} loss {losses['loss']:.3f}".strip()
                progress.update(task, completed=step, description=description, left=f"{left} left")

            return trainer.run(show, lambda: asked, lambda line: console.print(line, highlight=False))
    except (OSError, FloatingPointError, PictureError) as error:
        typer.echo(f"training stopped: {error}", err=True)
        raise typer.Exit(1) from None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _file(found: Pair | RawPair | Path) -> Path:
    """The picture, or of a pair the dark one: what a pair's name need not tell in two splits."""
    return found if isinstance(found, Path) else next(iter(vars(found).values()))


def _remarks(trainer: Trainer, pairs: list, val_pairs: list) -> list[str]:
    """What a reader of the run should know before it starts."""
    lines = []
    if trainer.processes.count > 1:
        lines.append(f"{trainer.processes.count} processes share every batch")
    if trainer.step:
        lines.append(f"going on after iteration {trainer.step} of {trainer.iterations}")
    if trainer.config.validate_every and not val_pairs:
        lines.append("no validation: --val-split or --val-data would name the pairs for it")
    common = len(set(map(_file, pairs)) & set(map(_file, val_pairs)))
    if common:
        lines.append(f"{common} pictures of the validation's split are trained on: its scores are partly memory")
    return lines
