"""`lowlight enhance`: files, folders and globs of dark pictures to bright ones."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import completion
from .jobs import Job, PlanError, plan
from .raw_options import RawOptions, check_unused, raw_suffix, raw_work
from .terminal import progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..systems.base import PictureSystem, System

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
        typer.Argument(metavar="INPUT...", help="Pictures (PNG, JPEG, WebP, TIFF, BMP, raw), folders or quoted globs."),
    ],
    output: Annotated[
        str,
        typer.Option("--output", "-o", help="File name for one picture; a folder for several, made if needed."),
    ],
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Look into the folders in a folder.")] = False,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="Shipped name or checkpoint file (default: see `lowlight models`, for raw by its options).",
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
    iterations: Annotated[int | None, typer.Option(min=1, hidden=True)] = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise: the same seed gives the same picture.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 ... (default: a GPU if there is one).")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16 (default: float32).")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")] = False,
    suffix: Annotated[str, typer.Option(help="Put before the extension of names in an output folder.")] = "",
    ratio: Annotated[
        float | None, typer.Option(min=1, help="Expose so many times longer.", rich_help_panel=_RAW)
    ] = None,
    ratio_from: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Expose as this photograph: its ISO x time, by EXIF.", rich_help_panel=_RAW),
    ] = None,
    auto: Annotated[
        bool,
        typer.Option("--auto", help="Expose to a mean of 12.7 % of white, at most 300 times.", rich_help_panel=_RAW),
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
) -> None:
    """Brighten dark photographs.

    16-bit depth, grey, alpha, EXIF and ICC profiles are kept where the output's format holds them. Raw files become
    16-bit PNG in a folder. Outputs that exist are left alone, so an interrupted run goes on where it stopped. Pictures
    that fail are listed at the end.
    """
    if None not in (steps, iterations):
        raise typer.BadParameter("--iterations is the old name of --steps; give one")
    steps = iterations if steps is None else steps
    options = RawOptions(ratio, ratio_from, auto, camera, iso, render, output_raw)
    try:
        work = plan(inputs, output, recursive=recursive, suffix=suffix, raw_suffix=raw_suffix(options, output))
    except PlanError as error:
        raise typer.BadParameter(str(error)) from None
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
            system = _load(model, device, dtype, resid, options)
            wish = {"brightness": brightness, "saturation": saturation, "strength": strength}
            _run(todo, _work(system, options, wish, steps, seed), outcome)
    except KeyboardInterrupt:
        interrupted = True
    _report(outcome, len(todo), interrupted)
    if interrupted:
        raise typer.Exit(130)
    if outcome.failed:
        raise typer.Exit(1)


def _load(model: str, device: str | None, dtype: str | None, resid: bool | None, options: RawOptions) -> System:
    """The model; the default one is that of raw files where options are theirs."""
    from ..checkpoints import DEFAULT_RAW_MODEL, load_system

    name = DEFAULT_RAW_MODEL if model == "default" and options.given() else model
    try:
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always")
            system = load_system(name, device=device, dtype=dtype, resid=resid)
    # TypeError: resid for a system that has none
    except (ValueError, TypeError, OSError) as error:
        raise typer.BadParameter(str(error)) from None
    for note in notes:
        typer.echo(note.message, err=True)
    return system


def _work(
    system: System, options: RawOptions, wish: dict[str, float | None], steps: int | None, seed: int
) -> Callable[[Job], tuple[str, ...]]:
    """What becomes of each job: reads, brightens, writes and returns notes for the user."""
    from ..systems.base import RawSystem, picture_system

    wish = {name: value for name, value in wish.items() if value is not None}
    try:
        if isinstance(system, RawSystem):
            if wish:
                raise PlanError(f"--{' and --'.join(wish)} are for pictures; raw files take --ratio")
            return raw_work(system, options, steps, seed)
        check_unused(system, options)
    except PlanError as error:
        raise typer.BadParameter(str(error)) from None
    picture = picture_system(system)
    return lambda job: _brighten(job, picture, **wish, steps=steps, seed=seed)


def _run(todo: list[Job], work: Callable[[Job], tuple[str, ...]], outcome: Outcome) -> None:
    with progress_bar(len(todo)) as bar:
        for job in todo:
            bar.describe(job.source.name)
            _one(job, work, outcome)
            bar.advance()


def _brighten(job: Job, system: PictureSystem, **told: Any) -> tuple[str, ...]:
    from ..files.pictures import format_of, write_picture
    from ..systems.brighten import enhance_picture, read_any

    format_of(job.target)
    dark = read_any(job.source)
    bright = enhance_picture(system, dark, **told)
    job.target.parent.mkdir(parents=True, exist_ok=True)
    return *dark.notes, *write_picture(job.target, bright)


def _one(job: Job, work: Callable[[Job], tuple[str, ...]], outcome: Outcome) -> None:
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
