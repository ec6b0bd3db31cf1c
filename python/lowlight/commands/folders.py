"""How every command is told where a data set is: DATA or --data, of pairs also --low with --high."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_KNOWN = "Folder with low/ and high/ (or input/target, dark/bright), root of LOL-v1, -v2, VE-LOL or LSRW, or list file."
Data = Annotated[Path | None, typer.Argument(metavar="DATA", help=_KNOWN)]
DataOption = Annotated[Path | None, typer.Option("--data", help="DATA by name.")]
Low = Annotated[Path | None, typer.Option("--low", help="Folder of the dark pictures, of any name; with --high.")]
High = Annotated[Path | None, typer.Option("--high", help="Folder of the bright pictures, where --low is given.")]


def one_folder(data: Path | None, option: Path | None) -> Path:
    """What is no pairs. Raises ValueError where it is named twice, or not at all."""
    if (data is None) == (option is None):
        raise ValueError("name the folder once: DATA or --data")
    return data or option  # type: ignore[return-value]


def named_folder(
    data: Path | None, low: Path | None, high: Path | None, *more: Path | None
) -> tuple[Path, Path | None]:
    """The folder of the pairs or of the dark ones, and that of the bright ones where it was given.

    Raises ValueError where the pictures are named twice, or not at all.
    """
    given = [path for path in (data, *more, low) if path is not None]
    if len(given) != 1 or (low is not None and high is None):
        raise ValueError("name the pairs once: DATA (or --data), or --low with --high")
    return given[0], high
