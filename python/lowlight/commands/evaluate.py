"""`lowlight evaluate`: a table of scores of models and classical baselines on paired pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .scoring import Split, check_outputs, echo_lines, find_splits, load_lpips, progress_bar, table, wide_console

if TYPE_CHECKING:
    from ..files.contact_sheet import ContactSheet
    from ..metrics.lpips import Lpips
    from ..scoring.srgb import Method, Report

# what a reader of the table must know of LOL-v1's pictures
_NOTES = {
    "eval15": "14 of eval15's 15 scenes have a near-twin in our485: scores of models trained there are partly memory.",
    "heldout": "Held out are our485's numbers from 690 on: a model has not seen them if it was trained on those below.",
    "our485": "our485 is what models are usually trained on.",
}

# torch is imported inside the functions: `lowlight --help` must not wait for it


def evaluate(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="Folder with low/ and high/ (or input/target, dark/bright), or the root of LOL-v1."
        ),
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", help="Shipped name or checkpoint file, or none; repeat for several (default: default)."
        ),
    ] = None,
    baselines: Annotated[bool, typer.Option(help="Score the classical baselines too.")] = True,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Network calls a picture (default: the model's own).")
    ] = None,
    seed: Annotated[
        list[int] | None, typer.Option(help="Seed of the noise; repeat for mean and standard deviation (default: 0).")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 ... (default: a GPU if there is one).")] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(
            help="eval15, our485, train (numbers below 690), heldout (690 and above) or all of LOL-v1; repeat."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Score the first N pairs of each split only.")] = None,
    lpips: Annotated[bool, typer.Option(help="Score LPIPS (AlexNet) too, where its weights are on the disk.")] = True,
    lpips_weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="torchvision's AlexNet weights; nothing is downloaded.")
    ] = None,
    per_picture: Annotated[bool, typer.Option("--per-picture", help="Print the models' scores of every picture.")] = (
        False
    ),
    csv: Annotated[Path | None, typer.Option(help="Write one line a split, method, picture and seed.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write recipe, summary and every score.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables, of every picture too.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet: dark, results, truth.")] = None,
) -> None:
    """Score models on pairs of dark and bright pictures: PSNR, SSIM and LPIPS, as they come, GT-mean and LS gain."""
    from ..files.contact_sheet import ContactSheet
    from ..files.pictures import format_of
    from ..scoring import srgb as scoring

    try:
        splits = find_splits(data, split, limit)
        if sheet is not None:
            format_of(sheet)
        check_outputs(csv, json, markdown, sheet)
        models = _models(list(dict.fromkeys(model or ["default"])), steps, device)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    methods = (scoring.baseline_methods() if baselines else []) + models
    if not methods:
        raise typer.BadParameter("nothing to score: no model and no baselines")
    perceptual, left_out = load_lpips(lpips, lpips_weights, models[0].device if models else device)
    if left_out:
        typer.echo(left_out, err=True)
    collected = ContactSheet() if sheet else None
    try:
        report = _run(splits, methods, list(dict.fromkeys(seed or [0])), models or methods, collected, perceptual)
    except KeyboardInterrupt:
        typer.echo("Interrupted; nothing was written.", err=True)
        raise typer.Exit(130) from None

    warnings = [line for m in models for s in splits if (line := scoring.seen_in_training(m, s.name))]
    recipe, notes = _recipe(perceptual), _notes(splits, models)
    _print(report, models if per_picture else [], [recipe, *notes])
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)
    notes += [*(["LPIPS is left out."] if left_out else []), *warnings]
    context = {"data": data.resolve().name, "limit": limit, "steps": steps, "recipe": recipe, "notes": notes}
    context |= _facts(splits, models, perceptual)
    try:
        _write(report, collected, csv, json, markdown, sheet, context)
    except (OSError, ValueError) as error:
        typer.echo(f"not written: {error}", err=True)
        raise typer.Exit(1) from None
    if report.problems or not report.rows:
        raise typer.Exit(1)


def _models(names: list[str], steps: int | None, device: str | None) -> list[Method]:
    from ..checkpoints import DEFAULT_MODEL, load, parse_device
    from ..scoring.srgb import model_method
    from ..systems.base import picture_system

    names = [DEFAULT_MODEL if name == "default" else name for name in names if name != "none"]
    systems = {name: picture_system(load(name, device=parse_device(device))) for name in dict.fromkeys(names)}
    return [model_method(name, system, steps) for name, system in systems.items()]


def _run(
    splits: list[Split],
    methods: list[Method],
    seeds: list[int],
    shown: list[Method],
    sheet: ContactSheet | None,
    lpips: Lpips | None,
) -> Report:
    from ..scoring.srgb import Report
    from ..scoring.srgb import evaluate as score_pairs

    report = Report()
    with progress_bar(sum(len(split.pairs) for split in splits)) as advance:
        for split in splits:
            prefix = f"{split.name} " if len(splits) > 1 else ""

            def add_to_sheet(pair, low, results, truth, prefix=prefix) -> None:
                middle = {method.name: results[method.name] for method in shown}
                sheet.add(prefix + pair.name, {"dark": low, **middle, "truth": truth})

            on_pair = add_to_sheet if sheet is not None else None
            report.problems += split.problems
            score_pairs(split.pairs, methods, seeds, on_pair, advance, split=split.name, lpips=lpips, report=report)
    return report


def _recipe(lpips: Lpips | None) -> str:
    from ..metrics import lpips as perceptual
    from ..metrics.srgb import RECIPE

    if lpips is None:
        return RECIPE
    return f"{RECIPE} {perceptual.RECIPE} Its AlexNet: {lpips.path.name}, SHA-256 {lpips.sha256[:8]}."


def _notes(splits: list[Split], models: list[Method]) -> list[str]:
    """What else a reader of the figures must know."""
    import torch

    trained = [
        f"{m.name}: trained on {m.trained_on or 'a split that its checkpoint does not name'}, run on {m.device}."
        for m in models
    ]
    of_splits = [_NOTES[split.name] for split in splits if split.name in _NOTES]
    seconds = f"Seconds: the median a picture, {torch.get_num_threads()} CPU threads."
    return [*trained, *of_splits, seconds]


def _facts(splits: list[Split], models: list[Method], lpips: Lpips | None) -> dict[str, Any]:
    """What was scored on what, for the JSON file."""
    return {
        "splits": [split.name for split in splits],
        "models": {m.name: {"trained_on": m.trained_on, "device": m.device} for m in models},
        "lpips_weights": lpips and {"file": lpips.path.name, "sha256": lpips.sha256},
    }


def _print(report: Report, models: list[Method], notes: list[str]) -> None:
    from ..scoring.tables import score_rows

    console = wide_console()
    summary, pictures = report.summary(), report.pictures()
    for split in dict.fromkeys(entry["split"] for entry in summary):
        entries = [entry for entry in summary if entry["split"] == split]
        rows = score_rows(entries, "method", {"seconds": ".3f"})
        console.print(table(rows, f"{split}: {entries[0]['pictures']} pictures", 2, "scored"))
        for method in models:
            mine = [p for p in pictures if (p["split"], p["method"]) == (split, method.name)]
            console.print(table(score_rows(mine, "picture"), f"{split}: {method.name}", 2, "scored"))
    if summary:
        seeds = sorted({seed for entry in summary for seed in entry["seeds"]})
        spread = f"± standard deviation of the mean over seeds {', '.join(map(str, seeds))}."
        echo_lines(console, [*notes, *([spread] if len(seeds) > 1 else [])])
    else:
        typer.echo("No picture could be scored.", err=True)
    for problem in report.problems:
        typer.echo(f"not scored: {problem}", err=True)


def _write(
    report: Report,
    collected: ContactSheet | None,
    csv: Path | None,
    json: Path | None,
    markdown: Path | None,
    sheet: Path | None,
    context: dict[str, Any],
) -> None:
    from ..scoring import tables

    if csv:
        tables.write_text(csv, tables.report_csv(report))
    if json:
        tables.write_text(json, tables.report_json(report, **context))
    if markdown:
        notes = [context["recipe"], *context["notes"]]
        tables.write_text(markdown, tables.report_markdown(report, notes))
    if sheet and collected and report.rows:
        collected.write(sheet)
        if collected.left_out:
            typer.echo(f"{sheet}: {collected.left_out} pictures more were scored than the sheet shows", err=True)
