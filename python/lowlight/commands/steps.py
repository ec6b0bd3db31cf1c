"""`lowlight steps`: how many sampling steps a model needs, and with which sampler."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import completion
from .folders import Data, DataOption, High, Low, named_folder
from .scoring import Device, Json, Limit, Outputs, Seeds, find_splits, score_all, show
from .terminal import Quiet, table

if TYPE_CHECKING:
    from ..scoring.report import Report

_SAMPLING = ("spacing", "start_noise")
_SHOWN = {"psnr": "PSNR", "psnr_gt_mean": "PSNR GT-mean", "ssim_rgb": "SSIM"}

# torch is imported inside the functions: `lowlight --help` must not wait for it


def steps(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="Shipped name, default, or checkpoint file.", autocompletion=completion.models
        ),
    ],
    data: Data = None,
    steps: Annotated[str, typer.Option(metavar="S,S,...", help="Numbers of network calls.")] = "1,2,3,4,5,10,20",
    sampler: Annotated[
        list[str] | None,
        typer.Option(help="ddim (eta 0), dpm++ or AnlightenDiff's drds; repeat (default: all it has)."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace what the model's configuration says: spacing=inner."),
    ] = None,
    seed: Seeds = None,
    folder: DataOption = None,
    low: Low = None,
    high: High = None,
    split: Annotated[list[str] | None, typer.Option(help="As of `lowlight evaluate`; repeat.")] = None,
    limit: Limit = None,
    within: Annotated[float, typer.Option(min=0, metavar="DB", help="What counts as good as the best.")] = 0.05,
    device: Device = None,
    csv: Annotated[Path | None, typer.Option(help="Write one line a split, sampler, S, picture and seed.")] = None,
    json: Json = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the table.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw PSNR and SSIM over S (.png, .svg, .pdf).")] = None,
    quiet: Quiet = False,
) -> None:
    """Score a model with few and many sampling steps, and say how few are as good as the best."""
    from ..checkpoints import DEFAULT_MODEL, load, parse_device
    from ..scoring import steps as step_study
    from ..scoring import tables
    from ..scoring.report import Report
    from ..scoring.srgb import seen_in_training
    from ..systems.base import picture_system

    try:
        counts = _counts(steps)
        root, high = named_folder(data, low, high, folder)
        splits = find_splits(root, split, limit, high)
        outputs = Outputs(csv, json, markdown, plot=plot, quiet=quiet)
        model = DEFAULT_MODEL if model == "default" else model
        system = picture_system(load(model, device=parse_device(device)))
        system.config = _replaced(system.config, set_ or [])
        methods = step_study.sampler_methods(system, sampler or system.samplers, counts)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    report = score_all(splits, methods, seed or [0], outputs, Report())
    if not report.rows:
        show(report, [], [])
        raise typer.Exit(1)
    entries = step_study.step_entries(report)
    rows, verdicts, recipe = _rows(report, entries), step_study.verdicts(entries, within), _recipe(report)
    warnings = [line for s in splits if (line := seen_in_training(methods[0], s.name))]
    facts = {
        "model": model,
        "trained_on": system.trained_on,
        "device": str(system.device),
        "default_steps": system.config.steps,
        "sampling": _sampling(system.config),
        "data": root.resolve().name,
        "limit": limit,
        "verdicts": verdicts,
        "notes": [recipe, *warnings],
    }
    own = f"The model's own: S = {system.config.steps}. Sampled with {_sampling(system.config)}."
    pictures, seeds = f"{entries[0]['pictures']} pictures", ", ".join(map(str, entries[0]["seeds"]))
    show(
        report,
        [table(rows, f"{pictures}, seed {seeds}", 2, "sampler")],
        [*verdicts, own, recipe],
        warnings,
        outputs.voice,
    )
    page = tables.markdown_page(f"Steps of {model}", [tables.markdown_table(rows, 2), *verdicts, recipe, *warnings])
    title = f"{Path(model).stem}: {pictures}"
    draw = partial(step_study.write_plot, entries=entries, title=title)
    outputs.write(report, tables.report_json(report, facts, table=entries), page, draw)


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


def _recipe(report: Report) -> str:
    import torch

    from ..metrics.measures import recipe_of

    return f"{recipe_of(report.scores)} Seconds: the median a picture, {torch.get_num_threads()} CPU threads."


def _rows(report: Report, entries: list[dict[str, Any]]) -> list[dict[str, str]]:
    from ..scoring.tables import cell

    return [
        {
            "split": entry["split"],
            "sampler": entry["sampler"],
            "S": str(entry["steps"]),
            **{title: cell(entry[name], report.scores[name]) for name, title in _SHOWN.items()},
            "seconds": f"{entry['seconds']:.3f}",
        }
        for entry in entries
    ]
