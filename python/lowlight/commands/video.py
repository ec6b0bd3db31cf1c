"""`lowlight video`: a dark clip, or a folder of numbered pictures, to a bright one that does not flicker."""

from __future__ import annotations

from dataclasses import asdict
from inspect import signature
from pathlib import Path
from typing import Annotated, Any

import typer

from . import completion
from .engine_options import Engine, Precision
from .jobs import BESIDE
from .seed_option import seed_option
from .terminal import Json, Quiet, Voice, progress_bar

# what a file is taken for by its name; whether it is one is seen when it is opened
SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mts", ".m2ts", ".ts", ".mpg", ".mpeg", ".wmv", ".3gp"}
# the defaults of video.steady, video.writing and video.door, which import torch
_AVERAGE, _SETTLE, _CRF, _FPS = 8, 1.0, 18, 25.0

# torch is imported inside the functions: `lowlight --help` must not wait for it


def video(
    source: Annotated[Path, typer.Argument(metavar="VIDEO", help="A video file, or a folder of numbered pictures.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help=f".mp4, .mov or .mkv; of a folder a folder (default: NAME{BESIDE} beside it)"
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="Shipped name or checkpoint file (default: the one for pictures).",
            show_default=False,
            autocompletion=completion.models,
        ),
    ] = "default",
    brightness: Annotated[
        float,
        typer.Option("--brightness", "-b", help="Stops brighter (1) or darker (-1) than the model's own exposure."),
    ] = 0.0,
    saturation: Annotated[float, typer.Option(min=0, max=4, help="Colour: 0 is grey, 1 the model's own.")] = 1.0,
    strength: Annotated[float, typer.Option(min=0, max=1, help="From 0, the dark frame itself, to 1.")] = 1.0,
    average: Annotated[
        int, typer.Option(min=1, help="Frames that what stands still is averaged over; 1 for none.")
    ] = _AVERAGE,
    settle: Annotated[
        float, typer.Option(min=0, help="Seconds in which the exposure settles; 0 exposes each frame for itself.")
    ] = _SETTLE,
    steps: Annotated[int | None, typer.Option(min=1, help="Network calls a frame (default: the model's own).")] = None,
    sampler: Annotated[str | None, typer.Option(help="Of those the model has (default: its own).")] = None,
    seed: Annotated[int, seed_option("Of the noise, the same in every frame.")] = 0,
    crf: Annotated[int, typer.Option(min=0, max=51, help="Constant rate factor of H.264: less is better.")] = _CRF,
    fps: Annotated[float, typer.Option(min=0.1, help="Of a folder: pictures a second.")] = _FPS,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 ... (default: a GPU if there is one).")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16 (default: float32).")] = None,
    engine: Engine = "torch",
    precision: Precision = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Brighten a dark video, or a folder of numbered pictures, without flicker.

    Noise is averaged away where nothing moves, the exposure settles as a camera's does. Sound, time stamps, rotation
    and bit depth are kept. What is interrupted goes on where it stopped when the same command is given again.
    """
    options = dict(locals())
    source, output = options.pop("source"), options.pop("output")
    voice = Voice(options.pop("quiet"), json=options.pop("json"))
    target = output or _beside(source)
    if target.resolve() == source.resolve():
        raise typer.BadParameter(f"{source} cannot be both the dark and the bright video")
    _run(source, target, options, voice)


def in_place_of_enhance(context: typer.Context) -> bool:
    """Whether `lowlight enhance` was given a video, which is then brightened as `lowlight video` does."""
    inputs = context.params["inputs"]
    clips = [name for name in inputs if Path(name).suffix.lower() in SUFFIXES]
    if not clips:
        return False
    if len(inputs) > 1:
        raise typer.BadParameter(f"{clips[0]} is a video: one at a time, and no pictures beside it")
    given = {name: value for name, value in context.params.items() if name != "inputs" and _was_given(context, name)}
    if unfit := given.keys() - signature(video).parameters.keys():
        names = " and ".join(sorted(f"--{name.replace('_', '-')}" for name in unfit))
        raise typer.BadParameter(f"{names}: not for a video; see `lowlight video --help`")
    output = given.pop("output", None)
    video(Path(clips[0]), output and Path(output), **given)
    return True


def _was_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _beside(source: Path) -> Path:
    """NAME_bright: of a file that H.264 does not go into an .mp4."""
    from ..video.writing import CONTAINERS

    if source.is_dir():
        return source.resolve().with_name(f"{source.resolve().name}{BESIDE}")
    suffix = source.suffix if source.suffix.lower() in CONTAINERS else ".mp4"
    return source.with_name(f"{source.stem}{BESIDE}{suffix}")


def _run(source: Path, target: Path, options: dict[str, Any], voice: Voice) -> None:
    from ..video.door import enhance_video
    from ..video.work import SEGMENT

    done = [0, 0]
    try:
        with progress_bar(0, source.name, voice) as bar:

            def advance(frames: int, total: int) -> None:
                done[:] = frames, total
                bar.reach(frames, total or None)

            outcome = enhance_video(source, target, **options, advance=advance)
    except KeyboardInterrupt:
        of = f" of {done[1]}" if done[1] else ""
        told = f"the same command goes on, with at most {SEGMENT} of them to do again"
        typer.echo(f"Interrupted after {done[0]}{of} frames; {told}.", err=True)
        raise typer.Exit(130) from None
    # RuntimeError: torch's for memory that ran out, enhance's for a network that overflowed
    except (ValueError, TypeError, OSError, MemoryError, RuntimeError) as error:
        typer.echo(f"{(str(error).splitlines() or [type(error).__name__])[0]}", err=True)
        raise typer.Exit(1) from None
    for line in outcome.notes:
        voice.note(line)
    for line in outcome.failed:
        typer.echo(line, err=True)
    if outcome.frames:
        failed = f", {len(outcome.failed)} failed" if outcome.failed else ""
        voice.tell(f"{target}: {outcome.frames} {'frame' if outcome.frames == 1 else 'frames'}{failed}.")
    else:
        voice.tell(f"{target} exists and was skipped (--overwrite replaces it).")
    facts = {"source": str(source), "target": str(target), "status": "enhanced" if outcome.frames else "skipped"}
    voice.answer(facts | asdict(outcome))
    if outcome.failed:
        raise typer.Exit(1)
