"""`lowlight train` and `lowlight export`: from pairs of pictures to a file of weights."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
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
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of checkpoint and log; resumes what is there.")
    ] = Path("run"),
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 ...")] = "cpu",
) -> None:
    """Train on pairs of pictures. Ctrl-C stops after the current iteration; the same command goes on from there."""
    import torch

    from ..data.batches import PairBatches
    from ..data.pairs import find_pairs
    from ..enhance import parse_device
    from ..training.config import load_config
    from ..training.loop import Trainer

    try:
        settings = load_config(config, overrides or [])
        root = data or (Path(settings.data) if settings.data else None)
        if root is None:
            raise ValueError("no data: give --data FOLDER or data=FOLDER")
        if settings.threads:
            torch.set_num_threads(settings.threads)
        if split is None and (root / "our485").is_dir():
            split = "our485"
        batches = PairBatches(find_pairs(root, split), settings.seed)
        trainer = Trainer(settings, batches, output, parse_device(device))
        trainer.resume()
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    if not _run(trainer):
        typer.echo(
            f"stopped after iteration {trainer.step} of {settings.iterations}; the same command goes on", err=True
        )
        raise typer.Exit(130)
    typer.echo(f"{output / 'last.pt'}: {settings.iterations} iterations")


def export(
    checkpoint: Annotated[Path, typer.Argument(help="last.pt of a training, or a published checkpoint.")],
    output: Annotated[Path, typer.Argument(help="The safetensors file to write.")],
    dtype: Annotated[str, typer.Option(help="float16, bfloat16 or float32.")] = "float16",
) -> None:
    """Write a checkpoint's averaged weights as a small safetensors file that holds nothing else."""
    from ..checkpoints import load, save_weights
    from ..enhance import parse_dtype

    try:
        system = load(checkpoint, device="cpu")
        metadata = {"system": system.name, "config": system.config}
        save_weights(output, system.state_dict(), metadata, parse_dtype(dtype))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    typer.echo(f"{output}: {output.stat().st_size / 1e6:.1f} MB")


def _run(trainer: Trainer) -> bool:
    """Train under a progress bar; the first Ctrl-C asks to stop, a second one stops at once."""
    asked = False

    def ask(number: int, frame: object) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, previous)

    previous = signal.signal(signal.SIGINT, ask)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("training", total=trainer.config.iterations, completed=trainer.step)

            def show(step: int, losses: dict[str, float]) -> None:
                shown = sum(value for name, value in losses.items() if name not in ("grad_norm", "lr"))
                progress.update(task, completed=step, description=f"loss {shown:.3f}")

            return trainer.run(show, lambda: asked)
    finally:
        signal.signal(signal.SIGINT, previous)
