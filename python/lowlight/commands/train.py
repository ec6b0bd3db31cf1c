"""`lowlight train`: from pairs of pictures to a file of weights."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import completion
from .folders import High, Low, named_folder
from .terminal import Json, Quiet, Voice
from .trainers import prepare, run

if TYPE_CHECKING:
    from ..data.sets.pairs import Pair
    from ..data.sets.raw_pairs import RawPair
    from ..training.config import TrainConfig
    from ..training.loop import Trainer
    from ..training.objectives.base import Objective

# torch is imported inside the functions: `lowlight --help` must not wait for it


def train(
    config: Annotated[
        str | None,
        typer.Argument(
            help="A YAML file, or the name of a configuration that ships (--list).", autocompletion=completion.configs
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Settings that replace the file's: seed=1 stages.0.batch=2 ...")
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of pairs as of `lowlight check` (of LOL-v1 our485 is taken); repeat for their union."
        ),
    ] = None,
    low: Low = None,
    high: High = None,
    split: Annotated[
        list[str] | None,
        typer.Option(help="our485, train (numbers below 690), all ...; one for each --data, or for all."),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Begin with the weights of a shipped name or file that fit.",
            autocompletion=completion.models,
        ),
    ] = None,
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
    list_: Annotated[bool, typer.Option("--list", help="Name the configurations that ship, and end.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Show CONFIG with every default, and end.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Write the whole configuration out before it starts.")
    ] = False,
) -> None:
    """Train on pairs of pictures, from new weights or from --init's. Ctrl-C stops after the current iteration; the same
    command goes on from there.

    Several processes share every batch: torchrun --nproc_per_node 2 -m lowlight train ... (or accelerate launch).
    """
    from ..training.config_files import described_configs, load_config, written_out
    from ..training.loop import Trainer
    from ..training.objectives.lookup import objective_of

    voice = Voice(quiet, verbose, json).checked()
    if list_:
        voice.tell("\n".join(f"{name}: {about}" for name, about in described_configs()))
        voice.answer([{"name": name, "about": about} for name, about in described_configs()])
        return
    try:
        if config is None:
            raise ValueError("no CONFIG: give a YAML file or a name of --list")
        settings = load_config(config, overrides or [])
        settings = replace(settings, init=init or settings.init)
        if show:
            voice.tell(written_out(settings).rstrip("\n"))
            voice.answer(asdict(settings))
            return
        objective = objective_of(settings.system)
        settings, pairs = _found(settings, objective, data or [], low, high, split or [])
        processes = prepare(settings.threads, device)
        val_pairs, validator = [], None
        if settings.validate_every and (val_data or val_split):
            val_pairs = objective.find(settings, val_data or Path(_listed(settings.data)[0]), val_split)
            validator = objective.validator(settings, val_pairs)
        batches = objective.batches(settings, pairs)
        trainer = Trainer(settings, batches, output, validator=validator, processes=processes)
        remarks = []
        if not trainer.resume(allow_changes, lambda line: typer.echo(line, err=True)) and settings.init:
            remarks.append(trainer.begin_with(settings.init))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    # of several processes the first speaks
    voice = voice if processes.rank == 0 else Voice(quiet=True)
    remarks += _remarks(trainer, pairs, val_pairs)
    for line in remarks:
        voice.note(line)
    voice.detail(written_out(trainer.config).rstrip("\n"))
    finished = run(trainer, voice=voice)
    trainer.close()
    facts = {"checkpoint": str(output / "last.pt"), "iterations": trainer.step, "of": trainer.iterations}
    voice.answer(facts | {"seconds": round(trainer.seconds, 1), "finished": finished, "notes": remarks})
    if finished:
        voice.tell(f"{output / 'last.pt'}: {trainer.iterations} iterations")
        return
    if processes.rank == 0:
        done = f"stopped after iteration {trainer.step} of {trainer.iterations}"
        typer.echo(f"{done}; the same command goes on", err=True)
    raise typer.Exit(130)


def _found(
    settings: TrainConfig,
    objective: type[Objective],
    data: list[Path],
    low: Path | None,
    high: Path | None,
    splits: list[str],
) -> tuple[TrainConfig, list]:
    """The settings with where the pictures lie, and what is there: of several folders the union, a split for each."""
    if low or high or len(data) == 1:
        root, high = named_folder(data[0] if data else None, low, high)
        roots = [root]
    else:
        roots = data or [Path(name) for name in _listed(settings.data)]
    if not roots:
        raise ValueError("no data: give --data FOLDER, --low and --high, or data=FOLDER")
    asked: list[str | None] = [*(splits or _listed(settings.split))]
    if len(asked) not in (0, 1, len(roots)):
        raise ValueError(f"--split: give one for all folders or one for each of the {len(roots)}, got {len(asked)}")
    chosen = asked * len(roots) if len(asked) == 1 else asked or [None] * len(roots)
    chosen = [name or (None if high else objective.split(root)) for name, root in zip(chosen, roots, strict=True)]
    found = [
        one for root, name in zip(roots, chosen, strict=True) for one in objective.find(settings, root, name, high)
    ]
    if len(roots) == 1:
        return replace(settings, data=str(roots[0]), split=chosen[0]), found
    return replace(settings, data=[*map(str, roots)], split=[name or "all" for name in chosen]), found


def _listed(value: str | list[str] | None) -> list[str]:
    return [value] if isinstance(value, str) and value else list(value or [])


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
