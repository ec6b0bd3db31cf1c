"""`lowlight evaluate`: a table of scores of models and classical baselines on paired pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import completion
from .folders import Data, DataOption, High, Low, named_folder
from .scoring import Device, Json, Limit, Outputs, Seeds, find_splits, load_lpips, score_all, show
from .terminal import Quiet, Voice, table, wide_console

if TYPE_CHECKING:
    from rich.table import Table

    from ..scoring.report import Method, Report, SampleSet

# what a reader of the table must know of LOL-v1's pictures
_NOTES = {
    "eval15": "14 of eval15's 15 scenes have a near-twin in our485: scores of models trained there are partly memory.",
    "heldout": "Held out are our485's numbers from 690 on: a model has not seen them if it was trained on those below.",
    "our485": "our485 is what models are usually trained on.",
}

# torch is imported inside the functions: `lowlight --help` must not wait for it


def evaluate(
    data: Data = None,
    folder: DataOption = None,
    low: Low = None,
    high: High = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="Shipped name or checkpoint file, or none; repeat for several (default: the default model).",
            autocompletion=completion.models,
        ),
    ] = None,
    results: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]FOLDER", help="Score the pictures another method left in a folder; repeat."),
    ] = None,
    baselines: Annotated[bool, typer.Option(help="Score the classical baselines too.")] = True,
    published: Annotated[
        bool, typer.Option("--published", help="Show what others published of eval15, in a table of its own.")
    ] = False,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Network calls a picture (default: the model's own).")
    ] = None,
    seed: Seeds = None,
    device: Device = None,
    split: Annotated[
        list[str] | None,
        typer.Option(
            help="eval15, our485, train (numbers below 690), heldout (690 and above) or all of LOL-v1; repeat."
        ),
    ] = None,
    limit: Limit = None,
    lpips: Annotated[bool, typer.Option(help="Score LPIPS (AlexNet) too, where its weights are on the disk.")] = True,
    lpips_weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="torchvision's AlexNet weights; nothing is downloaded.")
    ] = None,
    per_picture: Annotated[bool, typer.Option("--per-picture", help="Print the models' scores of every picture.")] = (
        False
    ),
    csv: Annotated[Path | None, typer.Option(help="Write one line a split, method, picture and seed.")] = None,
    json: Json = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables, of every picture too.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet: dark, results, truth.")] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write the models' pictures, of the first seed.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Score models on pairs of dark and bright pictures: PSNR, SSIM, saturation and LPIPS, as they come, GT-mean, LS
    gain, and told the exposure."""
    from ..metrics.measures import MEASURES, lpips_measure, recipe_of
    from ..scoring import srgb as scoring
    from ..scoring import tables
    from ..scoring.baselines import BASELINES
    from ..scoring.report import Report

    try:
        root, high = named_folder(data, low, high, folder)
        splits = find_splits(root, split, limit, high)
        outputs = Outputs(csv, json, markdown, sheet=sheet, save=save, quiet=quiet)
        models = _models(list(dict.fromkeys(model or ["default"])), steps, device)
        others = _others(results or [], {*BASELINES, *(method.name for method in models)})
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    classical = scoring.baseline_methods() if baselines else []
    if not [*classical, *others, *models]:
        raise typer.BadParameter("nothing to score: no model, no results and no baselines")
    outputs.made = {method.label for method in models}
    if models or others:
        outputs.hidden = {method.label for method in classical}
    perceptual, left_out = load_lpips(lpips, lpips_weights, models[0].device if models else device)
    if left_out and not quiet:
        typer.echo(left_out, err=True)
    measures = [*MEASURES, *([lpips_measure(perceptual)] if perceptual else [])]
    report = score_all(splits, [*classical, *others, *models], seed or [0], outputs, Report(), measures=measures)

    warnings = [line for m in models for s in splits if (line := scoring.seen_in_training(m, s.name))]
    recipe, notes = recipe_of(report.scores), _notes(splits, models)
    notes += [f"{method.name}: pictures made elsewhere." for method in others]
    drawn = sorted({row["seed"] for row in report.rows} - {None})
    spread = f"± standard deviation of the mean over seeds {', '.join(map(str, drawn))}."
    remarks = [recipe, *notes, *([spread] if len(drawn) > 1 else [])]
    show(report, _tables(report, models if per_picture else []), remarks, warnings, outputs.voice)
    if published and not quiet:
        _show_published(outputs.voice)
    notes += [*(["LPIPS is left out."] if left_out else []), *warnings]
    facts = {
        "recipe": recipe,
        "data": root.resolve().name,
        "limit": limit,
        "steps": steps,
        "notes": notes,
        "splits": [part.name for part in splits],
        "models": {m.name: {"trained_on": m.trained_on, "device": m.device} for m in models},
        "lpips_weights": perceptual and {"file": perceptual.path.name, "sha256": perceptual.sha256},
    }
    entries = {"summary": report.summary(), "pictures": report.summary("picture")}
    json_text = tables.report_json(report, facts, **entries)
    outputs.write(report, json_text, tables.report_markdown(report, [recipe, *notes]))


def _models(names: list[str], steps: int | None, device: str | None) -> list[Method]:
    from ..checkpoints import DEFAULT_MODEL, load, parse_device
    from ..scoring.srgb import model_method
    from ..systems.base import picture_system

    names = [DEFAULT_MODEL if name == "default" else name for name in names if name != "none"]
    systems = {name: picture_system(load(name, device=parse_device(device))) for name in dict.fromkeys(names)}
    return [model_method(name, system, steps) for name, system in systems.items()]


def _others(results: list[str], taken: set[str]) -> list[Method]:
    """Others' results as methods. Raises ValueError where two share a name."""
    from ..scoring.srgb import results_method

    others: list[Method] = []
    for text in results:
        name, _, path = text.rpartition("=")
        name = name or Path(path).resolve().name
        if name in taken | {method.name for method in others}:
            raise ValueError(f"--results: there are two methods called {name}; say NAME=FOLDER")
        others.append(results_method(name, Path(path)))
    return others


def _show_published(voice: Voice) -> None:
    from ..scoring.published import EVAL15, NOTE

    console = wide_console(stderr=voice.json)
    console.print(table([one.row() for one in EVAL15], "eval15, as others published it"))
    console.print(NOTE, highlight=False, style="dim")


def _notes(splits: list[SampleSet], models: list[Method]) -> list[str]:
    """What else a reader of the figures must know."""
    import torch

    trained = [
        f"{m.name}: trained on {m.trained_on or 'a split that its checkpoint does not name'}, run on {m.device}."
        for m in models
    ]
    of_splits = [_NOTES[split.name] for split in splits if split.name in _NOTES]
    seconds = f"Seconds: the median a picture, {torch.get_num_threads()} CPU threads."
    return [*trained, *of_splits, seconds]


def _tables(report: Report, models: list[Method]) -> Iterator[Table]:
    """For each split one of all methods, then one of every picture for each of the models."""
    from ..scoring.tables import version_rows

    summary, pictures = report.summary(), report.summary("picture")
    for split in dict.fromkeys(entry["split"] for entry in summary):
        entries = [entry for entry in summary if entry["split"] == split]
        yield table(version_rows(report, entries, "method"), f"{split}: {entries[0]['pictures']} pictures", 2, "scored")
        for method in models:
            mine = [p for p in pictures if (p["split"], p["method"]) == (split, method.name)]
            yield table(version_rows(report, mine, "picture"), f"{split}: {method.name}", 2, "scored")
