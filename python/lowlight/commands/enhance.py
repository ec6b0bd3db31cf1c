"""`lowlight enhance`: files, folders and globs of dark pictures to bright ones."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import typer

from ..raw.develop import is_raw
from . import completion, video
from .engine_options import Engine, Precision
from .enhancing import Request, reader_of
from .jobs import BESIDE, Job, Plan, PlanError, plan
from .listing import PAIRS, summary
from .on_cluster import Mission
from .pipeline import run_all
from .raw_options import RawOptions, raw_suffix
from .reports import Report, Reporter
from .seed_option import seed_option
from .terminal import Bar, Json, Quiet, Verbose, Voice, progress_bar
from .workers import parse_devices, run_on

_CLUSTER = "Many machines; INPUT and OUTPUT may be addresses such as s3://BUCKET/FOLDER"
_RAW = "Raw files, with a model for them (ExposureDiffusion)"

# torch is imported inside the functions: `lowlight --help` must not wait for it


def enhance(
    context: typer.Context,
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
            show_default=False,
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
    seed: Annotated[int, seed_option("Of the noise: the same seed gives the same picture.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 ... (default: a GPU if there is one).")] = None,
    devices: Annotated[
        str | None,
        typer.Option(metavar="NAME,...", help="A process on each: cuda:0,cuda:1 ... or all, every GPU; not --device."),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="auto|ADDRESS",
            help="By Ray, on the cluster at HOST:PORT; auto: the one here or at $RAY_ADDRESS, else a new one.",
            rich_help_panel=_CLUSTER,
        ),
    ] = None,
    cluster_cpus: Annotated[
        int, typer.Option(min=1, help="Cores for each worker, where it has no GPU.", rich_help_panel=_CLUSTER)
    ] = 1,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16 (default: float32).")] = None,
    engine: Engine = "torch",
    precision: Precision = None,
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
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
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
    that fail are listed at the end, files that are none counted. While one is computed others are read and written.
    """
    if video.in_place_of_enhance(context):
        return
    if None not in (steps, iterations):
        raise typer.BadParameter("--iterations is the old name of --steps; give one")
    steps = iterations if steps is None else steps
    voice = Voice(quiet, verbose, json).checked()
    options = RawOptions(ratio, ratio_from, auto, camera, iso, render, output_raw)
    wished = {"brightness": brightness, "saturation": saturation, "strength": strength, "sampler": sampler}
    wish = {name: value for name, value in wished.items() if value is not None}
    told = {"resid": resid, "with_photon": photons}
    request = Request(model, device, dtype, told, options, wish, steps, seed, quality, engine, precision)
    try:
        if None not in (device, devices):
            raise PlanError("give --device or --devices, not both")
        mission = None if cluster is None else Mission(cluster, cluster_cpus, request, output, devices)
        work = _plan(inputs, output, recursive, suffix, format, pairs, options, mission)
        if work.passed_over and not (quiet or json):
            typer.echo(f"{summary(work.passed_over)}.", err=True)
        if mission is None:
            todo = [job for job in work.jobs if overwrite or not job.target.exists()]
            clean = _carry_out(work, todo, partial(_run, todo, request, devices), voice)
        else:
            todo, said = mission.left(work.jobs, overwrite)
            for line in () if quiet or json else said:
                typer.echo(f"{line}.", err=True)
            clean = _carry_out(work, todo, partial(mission.run, todo), voice, mission.places.shown)
    except PlanError as error:
        raise typer.BadParameter(str(error)) from None
    if not clean:
        raise typer.Exit(1)


def _plan(
    inputs: list[str],
    output: str | None,
    recursive: bool,
    suffix: str,
    format: str | None,
    pairs: str,
    raw: RawOptions,
    mission: Mission | None,
) -> Plan:
    from ..files.formats import PictureError, format_of

    if pairs not in PAIRS:
        raise PlanError(f"--pairs must be one of {', '.join(PAIRS)}, got {pairs!r}")
    if format is not None:
        format = f".{format.lower().removeprefix('.')}"
        try:
            format_of(f"x{format}")
        except PictureError as error:
            raise PlanError(str(error).replace(f"x{format}", "--format", 1)) from None
    extension = raw_suffix(raw, output, format)
    how: dict[str, Any] = {"recursive": recursive, "suffix": suffix, "format": format, "pairs": pairs}
    if mission is None:
        return plan(inputs, output, raw_suffix=extension, **how)
    return mission.plan(inputs, raw_suffix=extension, **how)


def _carry_out(
    work: Plan,
    todo: list[Job],
    run: Callable[[Reporter, Bar], None],
    voice: Voice,
    shown: Callable[[Job], tuple[str, str]] = lambda job: (str(job.source), str(job.target)),
) -> bool:
    """Whether nothing failed. Ctrl-C ends the command, after the report on what was done."""
    start = time.monotonic()
    left = {job.target for job in work.jobs} - {job.target for job in todo}
    interrupted = False
    with progress_bar(len(todo), voice=voice) as bar:
        reporter = Reporter(voice, bar.say)
        for name, reason in work.problems:
            reporter(Report(name, None, "failed", reason))
        for job in work.jobs:
            if job.target in left:
                reporter(Report(*shown(job), "skipped"))
        try:
            # nothing to do needs no model
            if todo:
                run(reporter, bar)
        except KeyboardInterrupt:
            interrupted = True
    reporter.finish(work.passed_over, len(todo), time.monotonic() - start, interrupted)
    if interrupted:
        raise typer.Exit(130)
    return not reporter.failed


def _run(todo: list[Job], request: Request, devices: str | None, reporter: Reporter, bar: Bar) -> None:
    def report(one: Report) -> None:
        reporter(one)
        bar.advance()

    names = [request.device] if devices is None else parse_devices(devices)[: len(todo)]
    raws = sum(is_raw(job.source) for job in todo)
    if len(names) > 1:
        run_on([str(name) for name in names], todo, request, raws, report, bar.say)
        return
    read = reader_of(replace(request, device=names[0]), raws, len(todo), bar.say)
    run_all(todo, read, report, lambda job: bar.describe(job.source.name), overlap=len(todo) > 1)
