"""`lowlight evaluate`: a table of scores of models and classical baselines on paired pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from ..contact_sheet import ContactSheet
    from ..data.pairs import Pair
    from ..evaluate import Method, Report

# what a reader of the table must know of LOL-v1's pictures
_NOTES = {
    "eval15": "14 of eval15's 15 scenes have a near-twin in our485: scores of models trained there are partly memory.",
    "heldout": "Held out are our485's numbers from 690 on: a model has not seen them if it was trained on those below.",
    "our485": "our485 is what models are usually trained on.",
}

# torch is imported inside the functions: `lowlight --help` must not wait for it

_COLUMNS = {
    "psnr": "PSNR",
    "psnr_gt_mean": "PSNR\nGT-mean",
    "psnr_ls_gain": "PSNR\nLS gain",
    "ssim_rgb": "SSIM",
    "ssim_rgb_gt_mean": "SSIM\nGT-mean",
    "ssim_grey": "SSIM\ngrey",
    "ssim_grey_gt_mean": "SSIM grey\nGT-mean",
}


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
        str | None,
        typer.Option(help="eval15, our485, train (numbers below 690), heldout (690 and above) or all of LOL-v1."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Score the first N pairs only.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write one line a method, picture and seed.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write recipe, summary and every score.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet: dark, results, truth.")] = None,
) -> None:
    """Score models on pairs of dark and bright pictures: PSNR and SSIM, as they come and after GT-mean."""
    from .. import evaluate as scoring
    from ..contact_sheet import ContactSheet
    from ..data.pairs import scan_pairs

    try:
        pairs, problems = scan_pairs(data, split)
        models = _models(list(dict.fromkeys(model or ["default"])), steps, device)
        _check_outputs(sheet)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    methods = (scoring.baseline_methods() if baselines else []) + models
    if not methods:
        raise typer.BadParameter("nothing to score: no model and no baselines")
    collected = ContactSheet() if sheet else None
    try:
        report = _run(pairs[:limit], methods, list(dict.fromkeys(seed or [0])), models or methods, collected)
    except KeyboardInterrupt:
        typer.echo("Interrupted; nothing was written.", err=True)
        raise typer.Exit(130) from None
    report.problems[:0] = problems

    _print(report)
    is_lol_root = split is None and (data / "eval15").is_dir()
    note = _NOTES.get("eval15" if is_lol_root else split or data.name)
    if note:
        typer.echo(note)
    try:
        context = {"data": data.name, "split": split, "steps": steps, "devices": [m.device for m in models]}
        _write(report, collected, csv, json, sheet, context)
    except (OSError, ValueError) as error:
        typer.echo(f"not written: {error}", err=True)
        raise typer.Exit(1) from None
    if report.problems or not report.rows:
        raise typer.Exit(1)


def _write(
    report: Report,
    collected: ContactSheet | None,
    csv: Path | None,
    json: Path | None,
    sheet: Path | None,
    context: dict[str, object],
) -> None:
    from ..evaluate import csv_text, json_text, write_text

    if csv:
        write_text(csv, csv_text(report))
    if json:
        write_text(json, json_text(report, **context))
    if sheet and collected and report.rows:
        collected.write(sheet)
        if collected.left_out:
            typer.echo(f"{sheet}: {collected.left_out} pictures more were scored than the sheet shows", err=True)


def _models(names: list[str], steps: int | None, device: str | None) -> list[Method]:
    from ..checkpoints import DEFAULT_MODEL, load
    from ..enhance import parse_device
    from ..evaluate import model_method

    names = [DEFAULT_MODEL if name == "default" else name for name in names if name != "none"]
    return [model_method(name, load(name, device=parse_device(device)), steps) for name in names]


def _check_outputs(sheet: Path | None) -> None:
    """What would fail after the last picture fails before the first."""
    from ..image_io import format_of

    if sheet is not None:
        format_of(sheet)


def _run(
    pairs: list[Pair], methods: list[Method], seeds: list[int], shown: list[Method], sheet: ContactSheet | None
) -> Report:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from ..evaluate import evaluate as score_pairs

    def add_to_sheet(pair, low, results, truth) -> None:
        sheet.add(pair.name, {"dark": low, **{method.name: results[method.name] for method in shown}, "truth": truth})

    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(pairs))
        on_pair = add_to_sheet if sheet is not None else None
        return score_pairs(pairs, methods, seeds, on_pair, lambda: progress.advance(task))


def _print(report: Report) -> None:
    import torch

    from ..metrics import RECIPE

    console = Console()
    if not console.is_terminal:
        # a pipe has no width; rich would take 80 columns and break the cells
        console = Console(width=160)
    summary = report.summary()
    if summary:
        console.print(_table(summary))
        console.print(f"{summary[0]['pictures']} pictures. {RECIPE}", highlight=False, style="dim")
        console.print(f"Seconds: the median, {torch.get_num_threads()} CPU threads.", highlight=False, style="dim")
        seeds = sorted({seed for entry in summary for seed in entry["seeds"]})
        if len(seeds) > 1:
            console.print(f"± standard deviation of the mean over seeds {', '.join(map(str, seeds))}.", style="dim")
    else:
        typer.echo("No picture could be scored.", err=True)
    for problem in report.problems:
        typer.echo(f"not scored: {problem}", err=True)


def _table(summary: list[dict]) -> Table:
    table = Table()
    table.add_column("method")
    for title in [*_COLUMNS.values(), "seconds a\npicture"]:
        table.add_column(title, justify="right")
    for entry in summary:
        cells = [_cell(entry[name], 2 if name.startswith("psnr") else 3) for name in _COLUMNS]
        table.add_row(entry["method"], *cells, f"{entry['seconds']:.3f}")
    return table


def _cell(value: dict[str, float | None], digits: int) -> str:
    spread = "" if value["std"] is None else f" ± {value['std']:.{digits}f}"
    return f"{value['mean']:.{digits}f}{spread}"
