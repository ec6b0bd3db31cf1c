"""`lowlight ablate`: trains a list of configurations for one budget each and prints what they reach."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import completion
from .folders import High, Low, named_folder
from .scoring import Device, Limit
from .seed_option import seed_option
from .terminal import Json, Quiet, Voice, table
from .trainers import prepare
from .trainers import run as run_training

if TYPE_CHECKING:
    from ..data.batches.batches import PairBatches
    from ..data.sets.pairs import Pair
    from ..training.config import TrainConfig
    from ..training.loop import Trainer
    from ..training.processes import Alone

# torch is imported inside the functions: `lowlight --help` must not wait for it

# column: its title and the digits shown
_COLUMNS = {
    "config": ("configuration", None),
    "iterations": ("iterations", 0),
    "minutes": ("minutes", 1),
    "parameters": ("parameters, M", 2),
    "psnr": ("PSNR", 2),
    "psnr_gt_mean": ("PSNR GT-mean", 2),
    "ssim_rgb": ("SSIM", 3),
    "seconds": ("seconds a picture", 3),
}


def ablate(
    configs: Annotated[
        list[str] | None,
        typer.Argument(
            help="YAML files or shipped names (default: the paper's ablations).", autocompletion=completion.configs
        ),
    ] = None,
    *,
    data: Annotated[Path | None, typer.Option(help="Folder of the pairs, as for train.")] = None,
    low: Low = None,
    high: High = None,
    split: Annotated[str | None, typer.Option(help="Split to train on.")] = None,
    score_data: Annotated[Path | None, typer.Option(help="Folder of the pairs to score (default: --data).")] = None,
    score_split: Annotated[str | None, typer.Option(help="Split to score: eval15, heldout ...")] = None,
    budget_minutes: Annotated[float | None, typer.Option(min=0.001, help="Minutes of training each.")] = None,
    budget_iterations: Annotated[int | None, typer.Option(min=1, help="Or iterations each.")] = None,
    limit: Limit = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key=value for every configuration; repeat for several.")
    ] = None,
    seed: Annotated[list[int] | None, seed_option("Seed of the scored noise; repeat for a mean.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="A folder a configuration, and the table.")] = Path(
        "ablations"
    ),
    device: Device = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train configurations one after another, each as long as the budget, and score them: table.md and table.csv.

    A schedule shrinks to its budget. The same command goes on where it was stopped; finished ones are not run again.
    """
    from ..data.sets.pairs import find_pairs
    from ..training.config_files import load_config, shipped_configs
    from ..training.objectives.lookup import objective_of

    voice = Voice(quiet, json=json)
    try:
        folder, high = named_folder(data, low, high)
        if (budget_minutes is None) == (budget_iterations is None):
            raise ValueError("give either --budget-minutes or --budget-iterations")
        names = configs or shipped_configs("ablations")
        loaded = {Path(name).stem: load_config(name, set_ or []) for name in names}
        if len(loaded) < len(names):
            raise ValueError(f"two configurations share a name in {', '.join(names)}")
        first = next(iter(loaded.values()))
        processes = prepare(first.threads, device)
        if processes.count > 1:
            raise ValueError("ablate runs in one process")
        pairs = find_pairs(folder, split, high=high)
        scored = find_pairs(score_data or folder, score_split, high=None if score_data else high)[:limit]
        # pictures are looked at and decoded once for all that draw alike
        drawing = {_draws(config): config for config in loaded.values()}
        batches = {draws: objective_of(config.system).batches(config, pairs) for draws, config in drawing.items()}
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    common = len({pair.low for pair in pairs} & {pair.low for pair in scored})
    if common:
        voice.note(f"{common} of the {len(scored)} scored pairs are trained on: scores are partly memory")
    rows = []
    for name, config in loaded.items():
        request = {
            "config": dataclasses.asdict(config),
            "budget": {"minutes": budget_minutes, "iterations": budget_iterations},
            "pairs": [len(pairs), len(scored)],
            "seeds": seed or [0],
        }
        rows.append(_one(name, config, request, batches[_draws(config)], scored, output / name, processes, voice))
        try:
            _write(rows, output)
        except OSError as error:
            typer.echo(f"not written: {error}", err=True)
            raise typer.Exit(1) from None
    voice.show(table([_cells(row) for row in rows]))
    voice.answer(rows)


def _draws(config: TrainConfig) -> tuple[str, int, bool]:
    return config.system, config.seed, config.turn


def _one(
    name: str,
    config: TrainConfig,
    request: dict[str, Any],
    batches: PairBatches,
    scored: list[Pair],
    folder: Path,
    processes: Alone,
    voice: Voice,
) -> dict[str, Any]:
    """The row of one configuration: from its folder where it is finished, else trained and scored now."""
    from ..files.json_text import json_text
    from ..scoring.report import evaluate
    from ..scoring.srgb import model_method, picture_samples
    from ..scoring.tables import write_text
    from ..systems.base import picture_system
    from ..training.loop import Trainer

    def make(config: TrainConfig, folder: Path) -> Trainer:
        return Trainer(config, batches, folder, processes=processes)

    try:
        state = _state(folder / "ablation.json", request)
        if "row" in state:
            return state["row"]
        plan = _plan(config, request["budget"], state, len(batches), make)
        state = {"request": request, "plan": dataclasses.asdict(plan)}
        write_text(folder / "ablation.json", json_text(state))
        trainer = make(plan, folder)
        trainer.resume(say=lambda line: typer.echo(line, err=True))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{name}: {error}") from None
    if not run_training(trainer, name, voice):
        typer.echo(f"{name}: stopped after iteration {trainer.step}; the same command goes on", err=True)
        raise typer.Exit(130)
    system = trainer.averaged()
    report = evaluate(picture_samples(scored), [model_method(name, picture_system(system))], request["seeds"])
    if not report.rows:
        raise typer.BadParameter(f"{name}: no pair could be scored: {report.problems[0]}")
    summary = report.summary()[0]
    row = {
        "config": name,
        "iterations": trainer.iterations,
        "minutes": trainer.seconds / 60,
        "parameters": sum(p.numel() for p in system.parameters()) / 1e6,
        **{score: summary[score]["mean"] for score in ("psnr", "psnr_gt_mean", "ssim_rgb")},
        "seconds": summary["seconds"],
    }
    text = json_text(state | {"row": row})
    write_text(folder / "ablation.json", text)
    # as a later call reads it
    return json.loads(text)["row"]


def _state(path: Path, request: dict[str, Any]) -> dict[str, Any]:
    """What an earlier call left of the same request. Raises ValueError where it was another one."""
    if not path.is_file():
        return {}
    state = json.loads(path.read_text())
    # as JSON gives it back
    if state.get("request") != json.loads(json.dumps(request)):
        raise ValueError(f"{path.parent} holds another request (configuration, budget or pairs); take another --output")
    return state


def _plan(config: TrainConfig, budget: dict[str, Any], state: dict[str, Any], pairs: int, make: Any) -> TrainConfig:
    """The configuration cut to the budget; one that was cut before stays as it is."""
    from ..training.budget import within_iterations, within_minutes
    from ..training.config_files import from_dict

    if "plan" in state:
        return from_dict(state["plan"])
    counted = config.resolved(pairs)
    if budget["iterations"]:
        return within_iterations(counted, budget["iterations"])
    return within_minutes(counted, budget["minutes"], make)


def _cells(row: dict[str, Any]) -> dict[str, str]:
    return {
        title: "-" if row[key] is None else str(row[key]) if digits is None else f"{row[key]:.{digits}f}"
        for key, (title, digits) in _COLUMNS.items()
    }


def _write(rows: list[dict[str, Any]], folder: Path) -> None:
    from ..scoring.tables import csv_text, markdown_table, write_text

    write_text(folder / "table.csv", csv_text(rows, list(_COLUMNS)))
    write_text(folder / "table.md", markdown_table([_cells(row) for row in rows]))
