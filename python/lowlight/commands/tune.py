"""`lowlight tune`: which engine is fastest for a model on this machine, kept for `--engine auto`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from . import completion
from .sample import parse_size
from .terminal import Json, Quiet, Voice, progress_bar

if TYPE_CHECKING:
    from torch import Tensor

    from ..engines.measuring import Measured
    from ..systems.base import System

# torch is imported inside the functions: `lowlight --help` must not wait for it


def tune(
    model: Annotated[
        str,
        typer.Argument(
            help="Shipped name or checkpoint file (default: the one for pictures).",
            show_default=False,
            autocompletion=completion.models,
        ),
    ] = "default",
    size: Annotated[str, typer.Option(metavar="WxH", help="Of the picture that is timed.")] = "600x400",
    runs: Annotated[int, typer.Option(min=1, help="Pictures each engine makes; the median counts.")] = 5,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 ... (default: a GPU if there is one).")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Time the engines that run here on a picture, check what they make of it, and keep which is fastest.

    `--engine auto` takes that one, `lowlight info` says which it is. An engine's first use of a model makes a graph of
    its networks, which takes a minute or more and is kept.
    """
    from ..engines.cache import engine_folder, key_of
    from ..engines.choices import Choice, keep, machine
    from ..engines.measuring import measure

    width, height = parse_size(size)
    voice, taken = Voice(quiet, json=json), {}
    try:
        systems = _systems(model, device, voice)
        (exact, *_) = systems.values()
        here = machine(exact.device)
        with progress_bar((runs + 1) * len(systems), voice=voice) as bar:
            measured = measure(systems, _picture(exact, width, height).to(exact.device), runs, advance=bar.advance)
        voice.tell(f"{model}, {width}x{height}, {here}")
        key = key_of(exact)
        for precision in ("exact", "fast"):
            times = _shown(measured, precision, voice)
            if times:
                engine = min(times, key=lambda name: times[name])
                keep(key, Choice(model, precision, engine, (width, height), times, here))
                taken[precision] = engine
                voice.tell(f"--engine auto, --precision {precision}: {engine}")
        voice.tell(f"kept in {engine_folder()}")
        facts = {"model": model, "size": [width, height], "machine": here, "kept_in": str(engine_folder())}
        voice.answer(facts | {"measured": {name: each._asdict() for name, each in measured.items()}, "taken": taken})
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _systems(model: str, device: str | None, voice: Voice) -> dict[str, System]:
    """The model by every engine in every precision that runs here, the exact torch first; says which do not."""
    from ..checkpoints import load, parse_device, usual_device
    from ..engines.use import ENGINES_OF

    where, systems = parse_device(device) or usual_device(), {}
    for precision in ("exact", "fast"):
        for engine in ENGINES_OF.get(where.type, ("torch",)):
            try:
                systems[f"{engine} {precision}"] = load(model, device=where, engine=engine, precision=precision)
            except ValueError as error:
                if not systems:
                    raise
                voice.note(f"{engine} {precision}: left out ({error})")
    return systems


def _picture(system: System, width: int, height: int) -> Tensor:
    """A dark still life, as the system takes it."""
    import torch

    from ..scenes.synthetic import darken, still_life
    from ..systems.base import RawSystem

    scene = still_life(width, height, seed=0)
    dark = torch.from_numpy(darken(scene, seed=0)).permute(2, 0, 1)[None].float().contiguous()
    if isinstance(system, RawSystem):
        # each cell's pixels as a packed one's, two of them green
        cells = torch.nn.functional.avg_pool2d(dark, 2)
        return cells[:, [0, 1, 2, 1]].contiguous()
    return dark


def _shown(measured: dict[str, Measured], precision: str, voice: Voice) -> dict[str, float]:
    """Tell a line for each engine; -> milliseconds of those that keep what the precision promises."""
    from ..engines.measuring import EXACT, FAST

    times = {}
    for name, each in measured.items():
        engine, own = name.split()
        if own != precision:
            continue
        bound = f"not within {EXACT:g}" if precision == "exact" else f"not {FAST:g} dB"
        note = "" if each.keeps(precision) else f": {bound}, not taken"
        figures = f"{each.milliseconds:.0f} ms, largest difference {each.difference:.1e}, {each.decibels:.1f} dB"
        voice.tell(f"  {engine}, {precision}: {figures}{note}")
        if each.keeps(precision):
            times[engine] = round(each.milliseconds, 1)
    return times
