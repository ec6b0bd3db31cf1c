"""`lowlight calibrate`: the noise of a user's own camera, from bias frames and flat fields."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from .folders import DataOption, one_folder
from .terminal import Json, Quiet, Verbose, Voice, progress_bar

if TYPE_CHECKING:
    from ..cameras.calibration import Measurement
    from ..cameras.calibration_frames import GainFrames
    from ..cameras.cameras import Camera


def calibrate(
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="DATA",
            help="Folder with bias and flat (or iso100/bias, iso100/flat ...): raw files, .npy, 16-bit PNG.",
        ),
    ] = None,
    folder: DataOption = None,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The calibration to write (.json).")],
    name: Annotated[str | None, typer.Option(help="The camera's name; from EXIF, else the file's.")] = None,
    white: Annotated[
        float | None, typer.Option(min=1, help="Where the sensor clips, for .npy and PNG frames: 16383 for 14 bits.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that exists.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
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
    voice = Voice(quiet, verbose, json).checked()
    try:
        frames = one_folder(data, folder)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    try:
        gains = _read(frames, white, voice)
        measurements = _measure(gains, voice)
        model = gains[0].model
        camera = _write(output, name or model or output.stem, measurements, [model] if model else [])
    except KeyboardInterrupt:
        typer.echo("Interrupted.", err=True)
        raise typer.Exit(130) from None
    except (CameraError, PictureError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    _print(camera, measurements, output, voice)


def _read(folder: Path, white: float | None, voice: Voice) -> list[GainFrames]:
    from ..cameras.calibration_frames import find_frames, read_frame, sort_frames

    found, frames = find_frames(folder), []
    with progress_bar(len(found), "reading", voice) as bar:
        for kind, path in found:
            frame = read_frame(path, path.relative_to(folder).as_posix())
            frames.append((kind, path, frame))
            if voice.verbose:
                height, width = frame.mosaic.shape
                said = ((" ISO ", frame.iso), (" seconds ", frame.exposure))
                known = "".join(f",{name}{value:g}" for name, value in said if value is not None)
                bar.say(f"{path}: {kind}, {width} x {height} of its centre{known}")
            bar.advance()
    return sort_frames(frames, white)


def _measure(gains: list[GainFrames], voice: Voice) -> list[Measurement]:
    from ..cameras.calibration import CalibrationError, measure

    measurements = []
    with progress_bar(len(gains), "fitting", voice) as bar:
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


def _print(camera: Camera, measurements: list[Measurement], output: Path, voice: Voice) -> None:
    notes = _notes(camera, measurements)
    table = Table(show_edge=False)
    for title in ("ISO", "K", "read noise", "rows", "Tukey scale", "Tukey lambda"):
        table.add_column(title, justify="right")
    for m in measurements:
        shape = sum(m.shapes) / len(m.shapes)
        numbers = (f"{m.iso:g}", f"{m.K:.4g}", f"{m.g_scale:.4g}", f"{m.R_scale:.3g}", f"{m.G_scale:.4g}")
        table.add_row(*numbers, f"{shape:.3f}")
    voice.show(table)
    for note in notes:
        voice.note(note)
    voice.tell(f"{camera.name}: K = {camera.Kmin:.4g} at ISO 100, all in digital numbers; written to {output}")
    voice.answer({"file": str(output), "camera": camera.name, "calibration": camera.to_dict(), "notes": notes})


def _notes(camera: Camera, measurements: list[Measurement]) -> list[str]:
    """What the user should know of the frames."""
    notes = []
    for m in measurements:
        notes += [f"ISO {m.iso:g}: {note}" for note in m.notes]
        if abs(m.K / camera.K(m.iso) - 1) > 0.1:
            notes.append(
                f"ISO {m.iso:g}: K is {m.K:.4g}, but a gain proportional to the ISO would be {camera.K(m.iso):.4g} "
                "(extended ISOs, or frames under a wrong ISO)"
            )
    if len(measurements) == 1:
        notes.append("One ISO only: the calibration holds for this one; take frames of two or more.")
    return notes
