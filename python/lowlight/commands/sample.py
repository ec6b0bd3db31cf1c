"""`lowlight sample`: a dark, noisy photograph of a procedural still life, to try the rest on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer


def sample(
    dark: Annotated[Path, typer.Argument(metavar="DARK", help="The dark photograph to write (.png, .jpg ...).")],
    bright: Annotated[Path | None, typer.Option(help="Write the scene in full light too.")] = None,
    size: Annotated[str, typer.Option(metavar="WxH", help="Width and height in pixels.")] = "600x400",
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another arrangement and other noise.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
) -> None:
    """Write a small still life as a dark, noisy photograph, and if asked its bright original."""
    from ..data.synthetic import darken, still_life
    from ..image_io import Picture, PictureError, format_of, write_picture

    width, height = _parse_size(size)
    paths = [path for path in (dark, bright) if path is not None]
    try:
        for path in paths:
            format_of(path)
    except PictureError as error:
        raise typer.BadParameter(str(error)) from None
    if bright is not None and bright.resolve() == dark.resolve():
        raise typer.BadParameter(f"{dark} cannot be both the dark and the bright picture")
    wanted = [path for path in paths if overwrite or not path.exists()]
    for path in paths:
        if path not in wanted:
            typer.echo(f"{path} exists and was left as it is (--overwrite replaces it).")
    if not wanted:
        return
    scene = still_life(width, height, seed=seed)
    pictures = {dark: darken(scene, seed=seed), bright: scene}
    try:
        for path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_picture(path, Picture(pictures[path]))
            typer.echo(f"{path}: {width} x {height}, mean {pictures[path].mean():.3f} of 1")
    except (OSError, PictureError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


def _parse_size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)[xX×](\d+)", text.strip())
    if not match or not all(1 <= int(side) <= 8192 for side in match.groups()):
        raise typer.BadParameter(f"expected WIDTHxHEIGHT of 1 to 8192 pixels, such as 600x400, got {text!r}")
    return int(match[1]), int(match[2])
