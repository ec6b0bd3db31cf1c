"""`lowlight sample`: a dark, noisy photograph of a procedural still life, or its raw file, to try the rest on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .seed_option import seed_option
from .terminal import Json, Quiet, Voice

if TYPE_CHECKING:
    import numpy as np

# how many times too short the raw file is exposed
_RATIO = 100


def sample(
    dark: Annotated[
        Path, typer.Argument(metavar="DARK", help="The dark photograph to write (.png, .jpg ..., .dng for raw).")
    ],
    bright: Annotated[Path | None, typer.Option(help="Write the scene in full light too.")] = None,
    size: Annotated[str, typer.Option(metavar="WxH", help="Width and height in pixels.")] = "600x400",
    seed: Annotated[int, seed_option("Another seed, another arrangement and other noise.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a small still life as a dark, noisy photograph, and if asked its bright original."""
    from ..files.pictures import PictureError, format_of

    width, height = parse_size(size)
    paths = [path for path in (dark, bright) if path is not None]
    raw = dark.suffix.lower() == ".dng"
    if raw and (width % 2 or height % 2):
        raise typer.BadParameter(f"a raw file has even sides, got {size}")
    try:
        for path in paths[1:] if raw else paths:
            format_of(path)
    except PictureError as error:
        raise typer.BadParameter(str(error)) from None
    if bright is not None and bright.resolve() == dark.resolve():
        raise typer.BadParameter(f"{dark} cannot be both the dark and the bright picture")
    voice = Voice(quiet, json=json)
    wanted = [path for path in paths if overwrite or not path.exists()]
    for path in paths:
        if path not in wanted:
            voice.tell(f"{path} exists and was left as it is (--overwrite replaces it).")
    rows = {str(path): {"path": str(path), "written": path in wanted} for path in paths}
    try:
        for path, about in _written(wanted, (dark, bright), (width, height), raw, seed):
            voice.tell(f"{path}: {width} x {height}, {about}")
            rows[str(path)] |= {"width": width, "height": height, "about": about}
    except (OSError, PictureError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    voice.answer(list(rows.values()))


def _written(
    wanted: list[Path], names: tuple[Path | None, ...], size: tuple[int, int], raw: bool, seed: int
) -> Iterator[tuple[Path, str]]:
    """Each as it is written, and what it is."""
    from ..files.atomic import make_way
    from ..scenes.synthetic import still_life

    if not wanted:
        return
    scene = still_life(*size, seed=seed)
    writers = dict(zip(names, (_raw_writers if raw else _writers)(scene, seed), strict=True))
    for path in wanted:
        make_way(path)
        yield path, writers[path](path)


def _writers(scene: np.ndarray, seed: int) -> tuple[Callable[[Path], str], ...]:
    """What writes the dark and the bright picture, and says what they are."""
    from ..files.pictures import Picture, write_picture
    from ..scenes.synthetic import darken

    def write(pixels: np.ndarray, path: Path) -> str:
        write_picture(path, Picture(pixels))
        return f"mean {pixels.mean():.3f} of 1"

    return partial(write, darken(scene, seed=seed)), partial(write, scene)


def _raw_writers(scene: np.ndarray, seed: int) -> tuple[Callable[[Path], str], ...]:
    """The same of a raw file and of what the long exposure is developed to."""
    from ..files.pictures import write_picture
    from ..raw.develop import develop
    from ..raw.dng import write_dng
    from ..scenes.synthetic_raw import CAMERA, short_exposure

    raw, clean = short_exposure(scene, ratio=_RATIO, seed=seed)

    def write_dark(path: Path) -> str:
        write_dng(path, raw)
        return f"raw with the noise of {CAMERA} at ISO {raw.iso:g}; full light takes --ratio {_RATIO}"

    def write_bright(path: Path) -> str:
        write_picture(path, develop(clean, raw))
        return "the long exposure, developed"

    return write_dark, write_bright


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of WIDTHxHEIGHT; raises BadParameter."""
    match = re.fullmatch(r"(\d+)[xX×](\d+)", text.strip())
    if not match or not all(1 <= int(side) <= 8192 for side in match.groups()):
        raise typer.BadParameter(f"expected WIDTHxHEIGHT of 1 to 8192 pixels, such as 600x400, got {text!r}")
    return int(match[1]), int(match[2])
