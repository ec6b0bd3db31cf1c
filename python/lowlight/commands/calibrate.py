"""`lowlight calibrate`: the noise of a user's own camera, from bias frames and flat fields."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from .terminal import progress_bar

if TYPE_CHECKING:
    from ..cameras.calibration import Measurement
    from ..cameras.calibration_frames import GainFrames
    from ..cameras.cameras import Camera


def calibrate(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="Holds bias and flat (or iso100/bias, iso100/flat ...): raw files, .npy, 16-bit PNG."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The calibration to write (.json).")],
    name: Annotated[str | None, typer.Option(help="The camera's name; from EXIF, else the file's.")] = None,
    white: Annotated[
        float | None, typer.Option(min=1, help="Where the sensor clips, for .npy and PNG frames: 16383 for 14 bits.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that exists.")] = False,
) -> None:
    """Fit gain, read noise, row noise and Tukey-lambda shapes of a camera.

    Of every ISO: ten bias frames (lens capped, shortest time; one is enough for a first look) and flat fields (an even
    light, out of focus) in two or three exposures from dark to nearly white, two frames each. ISO and exposure come
    from EXIF or from names such as iso800/flat/0.1s_1.npy. Two ISOs or more, and draws of the noise can lie between.
    """
    from ..cameras.cameras import CameraError
    from ..files.pictures import PictureError

    if output.exists() and not overwrite:
        raise typer.BadParameter(f"{output} exists (--overwrite replaces it)")
    if output.suffix.lower() != ".json":
        raise typer.BadParameter(f"{output}: a calibration is a .json file")
    try:
        gains = _read(folder, white)
        measurements = _measure(gains)
        model = gains[0].model
        camera = _write(output, name or model or output.stem, measurements, [model] if model else [])
    except KeyboardInterrupt:
        typer.echo("Interrupted.", err=True)
        raise typer.Exit(130) from None
    except (CameraError, PictureError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    _print(camera, measurements, output)


def _read(folder: Path, white: float | None) -> list[GainFrames]:
    from ..cameras.calibration_frames import find_frames, read_frame, sort_frames

    found, frames = find_frames(folder), []
    with progress_bar(len(found), "reading") as bar:
        for kind, path in found:
            frames.append((kind, path, read_frame(path, path.relative_to(folder).as_posix())))
            bar.advance()
    return sort_frames(frames, white)


def _measure(gains: list[GainFrames]) -> list[Measurement]:
    from ..cameras.calibration import CalibrationError, measure

    measurements = []
    with progress_bar(len(gains), "fitting") as bar:
        for gain in gains:
            try:
                measurements.append(measure(gain.bias, gain.flats, gain.white, gain.iso))
            except CalibrationError as error:
                raise CalibrationError(f"ISO {gain.iso:g}: {str(error).removeprefix('calibrate: ')}") from None
            bar.advance()
    return measurements


def _write(path: Path, name: str, measurements: list[Measurement], models: list[str]) -> Camera:
    import json

    from ..cameras.calibration import fit_camera
    from ..files.atomic import write_atomically

    camera = fit_camera(name, measurements, models)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps({name: camera.to_dict()}, indent=1) + "\n").encode())
    return camera


def _print(camera: Camera, measurements: list[Measurement], output: Path) -> None:
    table = Table(show_edge=False)
    for title in ("ISO", "K", "read noise", "rows", "Tukey scale", "Tukey lambda"):
        table.add_column(title, justify="right")
    for m in measurements:
        shape = sum(m.shapes) / len(m.shapes)
        numbers = (f"{m.iso:g}", f"{m.K:.4g}", f"{m.g_scale:.4g}", f"{m.R_scale:.3g}", f"{m.G_scale:.4g}")
        table.add_row(*numbers, f"{shape:.3f}")
    Console().print(table)
    for m in measurements:
        for note in m.notes:
            typer.echo(f"ISO {m.iso:g}: {note}", err=True)
        if abs(m.K / camera.K(m.iso) - 1) > 0.1:
            typer.echo(
                f"ISO {m.iso:g}: K is {m.K:.4g}, but a gain proportional to the ISO would be {camera.K(m.iso):.4g} "
                "(extended ISOs, or frames under a wrong ISO)",
                err=True,
            )
    if len(measurements) == 1:
        typer.echo("One ISO only: the calibration holds for this one; take frames of two or more.", err=True)
    typer.echo(f"{camera.name}: K = {camera.Kmin:.4g} at ISO 100, all in digital numbers; written to {output}")
