"""`lowlight enhance`: files, folders and globs of dark pictures to bright ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import typer

from . import completion
from .enhancing import Loader, Work, work_on
from .jobs import BESIDE, Job, Plan, PlanError, plan
from .listing import PAIRS, summary
from .raw_options import RawOptions, raw_suffix
from .terminal import progress_bar

_RAW = "Raw files, with a model for them (ExposureDiffusion)"

# torch is imported inside the functions: `lowlight --help` must not wait for it


@dataclass
class Outcome:
    """What became of the jobs so far."""

    done: int = 0
    skipped: list[Job] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)


def enhance(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...", help="Pictures (PNG, JPEG, WebP, TIFF, BMP, GIF, AVIF, raw), folders or quoted globs."
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help=f"File name for one picture; a folder for several, made if needed; NAME{BESIDE}.EXT beside it if none",
        ),
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Look into the folders in a folder.")] = False,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="Shipped name or checkpoint file (default: see `lowlight models`, raw files by the one for raw).",
            autocompletion=completion.models,
        ),
    ] = "default",
    brightness: Annotated[
        float | None,
        typer.Option("--brightness", "-b", help="Stops brighter (1) or darker (-1) than the model's own exposure."),
    ] = None,
    saturation: Annotated[
        float | None, typer.Option(min=0, max=4, help="Colour: 0 is grey, 1 the model's own (default).")
    ] = None,
    strength: Annotated[
        float | None, typer.Option(min=0, max=1, help="From 0, the dark picture itself, to 1 (default).")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Network calls a picture (default: the model's own).")
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(help="ddim, dpm++ or drds, of those the model has (default: its own).")
    ] = None,
    iterations: Annotated[int | None, typer.Option(min=1, hidden=True)] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**64 - 1, help="Seed of the noise: the same seed gives the same picture.")
    ] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 ... (default: a GPU if there is one).")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16 (default: float32).")] = None,
    engine: Annotated[
        str, typer.Option(help="What computes the networks: torch, openvino, or auto, see `lowlight tune`.")
    ] = "torch",
    precision: Annotated[
        str | None, typer.Option(help="exact (default), or fast: bfloat16, where the processor has it.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")] = False,
    suffix: Annotated[str, typer.Option(help="Put before the extension of names in an output folder.")] = "",
    format: Annotated[
        str | None, typer.Option(metavar="EXT", help="Of the results: png, jpg, webp, tif ... (default: the source's).")
    ] = None,
    quality: Annotated[
        int | None, typer.Option(min=1, max=100, help="Of JPEG, WebP, AVIF, HEIC (default 95; lossless WebP stays so).")
    ] = None,
    pairs: Annotated[
        str, typer.Option(help="Of a RAW+JPEG pair (one name, one folder): raw, picture or both.")
    ] = "raw",
    ratio: Annotated[
        float | None, typer.Option(min=1, help="Expose so many times longer.", rich_help_panel=_RAW)
    ] = None,
    ratio_from: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Expose as this photograph: its ISO x time, by EXIF.", rich_help_panel=_RAW),
    ] = None,
    auto: Annotated[
        bool,
        typer.Option(
            "--auto", help="Expose to a mean of 12.7 % of white, at most 300 times (default).", rich_help_panel=_RAW
        ),
    ] = False,
    camera: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE", help="Whose noise (default: by EXIF), or a calibration.", rich_help_panel=_RAW
        ),
    ] = None,
    iso: Annotated[
        float | None, typer.Option(min=1, help="For files that do not say it.", rich_help_panel=_RAW)
    ] = None,
    render: Annotated[
        str | None, typer.Option(help="own (default) or libraw: who makes sRGB of it.", rich_help_panel=_RAW)
    ] = None,
    output_raw: Annotated[
        str | None, typer.Option(metavar="dng", help="Write raw files again, not pictures.", rich_help_panel=_RAW)
    ] = None,
    resid: Annotated[
        bool | None,
        typer.Option("--resid/--no-resid", help="For a checkpoint that does not say it.", rich_help_panel=_RAW),
    ] = None,
    photons: Annotated[
        bool | None,
        typer.Option(
            "--photons/--no-photons", help="The same: what a checkpoint of 8 inputs sees.", rich_help_panel=_RAW
        ),
    ] = None,
) -> None:
    """Brighten dark photographs.

    Raw files go through the model for raw and become 16-bit PNG, pictures through the one for pictures. 16-bit depth,
    grey, alpha, EXIF and colour profiles are kept where the output's format holds them. Of a RAW+JPEG pair in a folder
    the raw file is taken. Outputs that exist are left alone, so an interrupted run goes on where it stopped. Pictures
    that fail are listed at the end, files that are none counted.
    """
    if None not in (steps, iterations):
        raise typer.BadParameter("--iterations is the old name of --steps; give one")
    steps = iterations if steps is None else steps
    options = RawOptions(ratio, ratio_from, auto, camera, iso, render, output_raw)
    wished = {"brightness": brightness, "saturation": saturation, "strength": strength, "sampler": sampler}
    wish = {name: value for name, value in wished.items() if value is not None}
    try:
        work = _plan(inputs, output, recursive, suffix, format, pairs, options)
    except PlanError as error:
        raise typer.BadParameter(str(error)) from None
    if work.passed_over:
        typer.echo(f"{summary(work.passed_over)}.", err=True)
    outcome = Outcome(failed=list(work.problems))
    todo = []
    for job in work.jobs:
        if job.target.exists() and not overwrite:
            outcome.skipped.append(job)
        else:
            todo.append(job)
    interrupted = False
    try:
        # nothing to do needs no model
        if todo:
            load = Loader(device, dtype, {"resid": resid, "with_photon": photons}, engine, precision)
            one = work_on(todo, model, load, options, wish=wish, steps=steps, seed=seed, quality=quality)
            _run(todo, one, outcome)
    except PlanError as error:
        raise typer.BadParameter(str(error)) from None
    except KeyboardInterrupt:
        interrupted = True
    _report(outcome, len(todo), interrupted)
    if interrupted:
        raise typer.Exit(130)
    if outcome.failed:
        raise typer.Exit(1)


def _plan(
    inputs: list[str], output: str | None, recursive: bool, suffix: str, format: str | None, pairs: str, raw: RawOptions
) -> Plan:
    from ..files.formats import PictureError, format_of

    if pairs not in PAIRS:
        raise PlanError(f"--pairs must be one of {', '.join(PAIRS)}, got {pairs!r}")
    if format is not None:
        format = f".{format.lower().removeprefix('.')}"
        try:
            format_of(f"--format{format}")
        except PictureError as error:
            raise PlanError(str(error)) from None
    extension = raw_suffix(raw, output, format)
    return plan(inputs, output, recursive=recursive, suffix=suffix, raw_suffix=extension, format=format, pairs=pairs)


def _run(todo: list[Job], work: Work, outcome: Outcome) -> None:
    with progress_bar(len(todo)) as bar:
        for job in todo:
            bar.describe(job.source.name)
            _one(job, work, outcome)
            bar.advance()


def _one(job: Job, work: Work, outcome: Outcome) -> None:
    try:
        notes = work(job)
    # RuntimeError: torch's for memory that ran out, enhance's for a network that overflowed
    except (ValueError, OSError, MemoryError, RuntimeError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        outcome.failed.append((str(job.source), lines[0].removeprefix(f"{job.source}: ")))
    else:
        outcome.done += 1
        outcome.notes += [(str(job.source), note) for note in notes]


def _report(outcome: Outcome, planned: int, interrupted: bool) -> None:
    """Notes and failures on stderr; on stdout one line that says how it went."""
    for name, note in outcome.notes:
        typer.echo(f"{name}: {note}", err=True)
    if outcome.failed:
        typer.echo("Failed:", err=True)
        for name, reason in outcome.failed:
            typer.echo(f"  {name}: {reason}", err=True)
    parts = [f"{outcome.done} {'picture' if outcome.done == 1 else 'pictures'} enhanced"]
    if len(outcome.skipped) == 1:
        parts.append(f"{outcome.skipped[0].target} exists and was skipped (--overwrite replaces it)")
    elif outcome.skipped:
        parts.append(f"{len(outcome.skipped)} skipped because their outputs exist (--overwrite replaces them)")
    if outcome.failed:
        parts.append(f"{len(outcome.failed)} failed")
    typer.echo(", ".join(parts) + ".")
    if interrupted:
        typer.echo(f"Interrupted after {outcome.done} of {planned}; the same command goes on from here.", err=True)
