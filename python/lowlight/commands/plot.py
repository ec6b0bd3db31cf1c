"""`lowlight plot`: curves of trainings, quality over steps, rooflines, from the files that others write."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

# torch is imported inside the function: `lowlight --help` must not wait for it


def plot(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...",
            help="Folders of trainings (several are compared), or the JSON file of `lowlight steps`, "
            "`lowlight evaluate-raw` with --steps, bench/run.py or bench/sizes.py.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The drawing: .png, .svg, .pdf ...")],
    chart: Annotated[
        str | None, typer.Option(metavar="KIND", help="Of a bench's rows: roofline (default) or speed.")
    ] = None,
) -> None:
    """Draw what another command wrote."""
    from ..plots.drawing import CHARTS, figure_of, save
    from ..scoring.steps import require_matplotlib

    try:
        if chart not in (None, *CHARTS):
            raise ValueError(f"--chart must be one of {', '.join(CHARTS)}, got {chart!r}")
        require_matplotlib(output)
        save(figure_of(sources, chart), output)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    typer.echo(f"{output}: drawn of {', '.join(map(str, sources))}")
