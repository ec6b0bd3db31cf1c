"""`lowlight evaluate-raw`: scores in raw space, on SID, ELD or clean pictures with noise."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import completion
from .folders import DataOption, one_folder
from .scoring import Device, Json, Outputs, score_all, show
from .seed_option import seed_option
from .terminal import Quiet, table

if TYPE_CHECKING:
    from ..systems.exposurediffusion.system import ExposureDiffusion

# torch is imported inside the functions: `lowlight --help` must not wait for it


def evaluate_raw(
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="DATA", help="SID (with its lists), ELD (CAMERA/scene-N), or clean pictures and raw files."
        ),
    ] = None,
    folder: DataOption = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="Shipped name or checkpoint file; repeat for several.",
            autocompletion=completion.models,
        ),
    ] = None,
    protocol: Annotated[
        list[str] | None, typer.Option(help="blind (no gain) or paper (fitted to the truth); repeat (default: both).")
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help="untouched, nlm (non-local means); repeat (default: both, nlm where scikit-image is there)."),
    ] = None,
    steps: Annotated[
        list[int] | None, typer.Option(min=1, max=50, help="Network calls; repeat (default: the model's own).")
    ] = None,
    iterations: Annotated[list[int] | None, typer.Option(min=1, max=50, hidden=True)] = None,
    kind: Annotated[
        str | None, typer.Option("--set", help="sid, eld or synthetic (default: what the folder is).")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="SID: train, val, test or a list's path; of clean pictures: their split.")
    ] = None,
    ratio: Annotated[list[float] | None, typer.Option(help="Ratios to score; repeat (default: the set's).")] = None,
    resid: Annotated[
        bool | None, typer.Option("--resid/--no-resid", help="For a checkpoint that does not say it.")
    ] = None,
    photons: Annotated[
        bool | None,
        typer.Option("--photons/--no-photons", help="The same: what a checkpoint of 8 inputs sees."),
    ] = None,
    camera: Annotated[
        str | None, typer.Option(help="Calibration, and ELD's folder: a name, or a file (default: the model's).")
    ] = None,
    crop: Annotated[
        int | None, typer.Option(min=16, help="Packed pixels a side of the centre (SID: 512, ELD: whole).")
    ] = None,
    whole: Annotated[bool, typer.Option("--whole", help="SID's pictures whole.")] = False,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="Leave out pictures whose names hold it; repeat.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Pictures at each ratio.")] = None,
    noise: Annotated[str, typer.Option(help="Of clean pictures: g, P+g, p+g, P+G+r+u ...")] = "P+G+r+u",
    gain: Annotated[float | None, typer.Option("--K", help="System gain of clean pictures (default: drawn).")] = None,
    shrink: Annotated[int, typer.Option(min=1, help="sRGB pictures are shrunk by this integer before.")] = 2,
    seed: Annotated[int, seed_option("Of all draws.")] = 0,
    device: Device = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of packed raws (default: one of the user's).")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write one line a picture and method.")] = None,
    json: Json = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the table.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet: input, results, truth.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the models' PSNR and SSIM over --steps (.png, .svg, .pdf).")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Score models in raw space: PSNR and SSIM of packed raw and of its rendering, by ratio, the protocol named."""
    from ..data.batches.raw_cache import RawCache
    from ..data.batches.raw_sources import default_cache
    from ..metrics.measures import recipe_of
    from ..scoring import raw as scoring
    from ..scoring import tables
    from ..scoring.raw_baselines import classical_methods
    from ..scoring.raw_sets import Choice, find_raw_set
    from ..scoring.steps import write_raw_plot

    try:
        protocols = _protocols(protocol)
        # the old name
        steps = [*(steps or []), *(iterations or [])]
        if plot is not None and not model:
            raise ValueError("--plot draws models over --steps: name one with --model")
        outputs = Outputs(csv, json, markdown, sheet=sheet, plot=plot, quiet=quiet)
        methods, about = classical_methods(method, protocols)
        models = _models(model or [], device, {"resid": resid, "with_photon": photons})
        choice = Choice(
            one_folder(data, folder),
            split,
            ratio,
            camera,
            crop,
            whole,
            limit,
            noise,
            gain,
            shrink,
            seed,
            exclude or (),
        )
        cameras = [system.config.camera for system in models.values()]
        found = find_raw_set(kind, choice, cameras, RawCache(cache or default_cache()))
    except (OSError, ValueError, TypeError) as error:
        raise typer.BadParameter(str(error)) from None
    for name, system in models.items():
        methods += scoring.system_methods(name, system, protocols, steps)
    # what is untouched is the input
    outputs.hidden = {"untouched, blind"}
    report = score_all([found], methods, [seed], outputs, scoring.raw_report(), column="set")

    notes = [found.recipe, *(scoring.PROTOCOL_NOTES[p] for p in protocols), *about, recipe_of(report.scores)]
    rows, summary = tables.ratio_rows(report), report.summary()
    show(report, [table(rows, found.name, 3, "ratio")] if rows else [], notes, voice=outputs.voice)
    json_text = tables.report_json(report, {"set": found.name, "recipe": notes}, summary=tables.means(summary))
    page = tables.markdown_page(found.name, [tables.markdown_table(rows, 3) if rows else "", *notes], report.problems)
    draw = partial(write_raw_plot, entries=summary, title=f"{found.name}: quality over network calls")
    outputs.write(report, json_text, page, draw)


def _protocols(names: list[str] | None) -> list[str]:
    from ..systems.exposurediffusion.system import PROTOCOLS

    wrong = [name for name in names or [] if name not in PROTOCOLS]
    if wrong:
        raise ValueError(f"--protocol must be one of {', '.join(PROTOCOLS)}, got {wrong[0]}")
    return list(dict.fromkeys(names or PROTOCOLS))


def _models(names: list[str], device: str | None, told: dict[str, Any]) -> dict[str, ExposureDiffusion]:
    from ..checkpoints import load_system
    from ..systems.exposurediffusion.system import ExposureDiffusion

    models = {}
    for name in dict.fromkeys(names):
        system = load_system(name, device=device, **told)
        if not isinstance(system, ExposureDiffusion):
            raise ValueError(f"{name} takes sRGB pictures: score it with `lowlight evaluate`")
        models[name] = system
    return models
