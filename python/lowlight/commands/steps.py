"""`lowlight steps`: how many sampling steps a model needs, and with which sampler."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .scoring import Split, check_outputs, echo_lines, find_splits, progress_bar, table, wide_console

if TYPE_CHECKING:
    from ..scoring.srgb import Method, Report

_SAMPLING = ("spacing", "start_noise")

# torch is imported inside the functions: `lowlight --help` must not wait for it


def steps(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Shipped name, default, or checkpoint file.")],
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="Folder with low/ and high/, or the root of LOL-v1 (its eval15).")
    ],
    steps: Annotated[str, typer.Option(metavar="S,S,...", help="Numbers of network calls.")] = "1,2,3,4,5,10,20",
    sampler: Annotated[
        list[str] | None,
        typer.Option(help="ddim (eta 0), dpm++ or AnlightenDiff's drds; repeat (default: all it has)."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace what the model's configuration says: spacing=inner."),
    ] = None,
    seed: Annotated[
        list[int] | None, typer.Option(help="Seed of the noise; repeat for mean and standard deviation (default: 0).")
    ] = None,
    split: Annotated[list[str] | None, typer.Option(help="As of `lowlight evaluate`; repeat.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Score the first N pairs of each split only.")] = None,
    within: Annotated[float, typer.Option(min=0, metavar="DB", help="What counts as good as the best.")] = 0.05,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 ... (default: a GPU if there is one).")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write one line a split, sampler, S, picture and seed.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the table and every score.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the table.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw PSNR and SSIM over S (.png, .svg, .pdf).")] = None,
) -> None:
    """Score a model with few and many sampling steps, and say how few are as good as the best."""
    from ..checkpoints import DEFAULT_MODEL, load, parse_device
    from ..scoring import steps as step_study
    from ..scoring.srgb import seen_in_training
    from ..systems.base import picture_system

    try:
        counts = _counts(steps)
        splits = find_splits(data, split, limit)
        if plot is not None:
            step_study.require_matplotlib(plot)
        check_outputs(csv, json, markdown, plot)
        model = DEFAULT_MODEL if model == "default" else model
        system = picture_system(load(model, device=parse_device(device)))
        system.config = _replaced(system.config, set_ or [])
        methods = step_study.sampler_methods(system, sampler or system.samplers, counts)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    try:
        report = _run(splits, methods, list(dict.fromkeys(seed or [0])))
    except KeyboardInterrupt:
        typer.echo("Interrupted; nothing was written.", err=True)
        raise typer.Exit(130) from None

    for problem in report.problems:
        typer.echo(f"not scored: {problem}", err=True)
    if not report.rows:
        typer.echo("No picture could be scored.", err=True)
        raise typer.Exit(1)
    entries = step_study.step_entries(report)
    verdicts = step_study.verdicts(entries, within)
    warnings = [line for s in splits if (line := seen_in_training(methods[0], s.name))]
    context = {
        "model": model,
        "trained_on": system.trained_on,
        "device": str(system.device),
        "default_steps": system.config.steps,
        "sampling": _sampling(system.config),
        "data": data.resolve().name,
        "limit": limit,
        "verdicts": verdicts,
        "notes": [_recipe(), *warnings],
    }
    own = f"The model's own: S = {system.config.steps}. Sampled with {_sampling(system.config)}."
    _print(entries, [*verdicts, own, _recipe()])
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)
    try:
        _write(report, entries, context, csv, json, markdown, plot)
    except (OSError, ValueError) as error:
        typer.echo(f"not written: {error}", err=True)
        raise typer.Exit(1) from None
    if report.problems:
        raise typer.Exit(1)


def _replaced(config: Any, changes: list[str]) -> Any:
    """The configuration with some fields that leave the networks as they are."""
    import yaml

    values = {}
    for change in changes:
        key, separator, text = change.partition("=")
        if not separator or key not in _SAMPLING or not hasattr(config, key):
            known = ", ".join(name for name in _SAMPLING if hasattr(config, name))
            raise ValueError(f"--set takes KEY=VALUE with one of {known}, got {change!r}")
        values[key] = yaml.safe_load(text)
    return dataclasses.replace(config, **values)


def _sampling(config: Any) -> str:
    return ", ".join(f"{name} = {getattr(config, name)}" for name in _SAMPLING if hasattr(config, name))


def _counts(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--steps must be integers such as 1,2,5, got {text!r}") from None


def _run(splits: list[Split], methods: list[Method], seeds: list[int]) -> Report:
    from ..scoring.srgb import Report, evaluate

    report = Report()
    with progress_bar(sum(len(split.pairs) for split in splits)) as advance:
        for split in splits:
            report.problems += split.problems
            evaluate(split.pairs, methods, seeds, on_progress=advance, split=split.name, report=report)
    return report


def _recipe() -> str:
    import torch

    from ..metrics.srgb import RECIPE

    return f"{RECIPE} Seconds: the median a picture, {torch.get_num_threads()} CPU threads."


def _rows(entries: list[dict[str, Any]]) -> list[dict[str, str]]:
    from ..scoring.tables import TITLES, cell

    measures = {"psnr": "PSNR", "psnr_gt_mean": "PSNR GT-mean", "ssim_rgb": TITLES["ssim_rgb"]}
    return [
        {
            "split": entry["split"],
            "sampler": entry["sampler"],
            "S": str(entry["steps"]),
            **{title: cell(entry[name], name.removesuffix("_gt_mean")) for name, title in measures.items()},
            "seconds": f"{entry['seconds']:.3f}",
        }
        for entry in entries
    ]


def _print(entries: list[dict[str, Any]], notes: list[str]) -> None:
    console = wide_console()
    first = entries[0]
    seeds = ", ".join(map(str, first["seeds"]))
    console.print(table(_rows(entries), f"{first['pictures']} pictures, seed {seeds}", 2, "sampler"))
    echo_lines(console, notes)


def _write(
    report: Report,
    entries: list[dict[str, Any]],
    context: dict[str, Any],
    csv: Path | None,
    json: Path | None,
    markdown: Path | None,
    plot: Path | None,
) -> None:
    from ..scoring import steps as step_study
    from ..scoring import tables

    if csv:
        tables.write_text(csv, tables.report_csv(report))
    if json:
        content = {**context, "conditions": tables.conditions(), "table": entries, "rows": report.rows}
        tables.write_text(json, tables.json_text(content))
    if markdown:
        parts = [f"# Steps of {context['model']}", tables.markdown_table(_rows(entries), 2)]
        parts += [*context["verdicts"], *context["notes"]]
        tables.write_text(markdown, "\n\n".join(part.rstrip("\n") for part in parts) + "\n")
    if plot:
        step_study.write_plot(plot, entries, f"{Path(context['model']).stem}: {entries[0]['pictures']} pictures")
