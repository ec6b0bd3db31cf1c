"""`lowlight check`: what is wrong with a data set of pairs, before anything is trained or scored on it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from .folders import Data, DataOption, High, Low, named_folder
from .terminal import Json, Quiet, Voice, echo_json, progress_bar, wide_console

if TYPE_CHECKING:
    from ..data.sets.checks import CheckReport


def check(
    data: Data = None,
    split: Annotated[
        str, typer.Option(help="train, val, test, eval15, our485, heldout (numbers from 690 on) or all.")
    ] = "all",
    folder: DataOption = None,
    low: Low = None,
    high: High = None,
    shift: Annotated[float, typer.Option(min=0.5, help="Report shifts from this many pixels on.")] = 1.5,
    alignment: Annotated[bool, typer.Option(help="Look for shifted pairs too (most of the time it takes).")] = True,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find missing partners, unreadable files, differing sizes, duplicates, swapped and shifted pairs.

    Ends with 0 if nothing is wrong, 1 if something is. A shift is only suspected: look at the pair. It is one of the
    whole picture; what moved in a part of it, and small rotations, are not seen.
    """
    from ..data.sets.checks import check_pairs
    from ..data.sets.pairs import scan_pairs

    try:
        root, high = named_folder(data, low, high, folder)
        pairs, unpaired = scan_pairs(root, split, high=high)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    try:
        with progress_bar(len(pairs), voice=Voice(quiet, json=json)) as bar:
            report = check_pairs(pairs, unpaired, shift=shift if alignment else None, on_pair=bar.advance)
    except KeyboardInterrupt:
        typer.echo("Interrupted.", err=True)
        raise typer.Exit(130) from None
    if json:
        echo_json(asdict(report) | {"counts": report.counts()}, 1)
    else:
        _print(report, quiet)
    if report.findings or not report.pairs:
        raise typer.Exit(1)


def _print(report: CheckReport, quiet: bool) -> None:
    from ..data.sets.checks import KINDS

    if report.findings:
        table = Table(show_edge=False)
        for title in ("problem", "pair", "what"):
            table.add_column(title, overflow="fold")
        for kind in report.counts():
            for finding in report.findings:
                if finding.kind == kind:
                    table.add_row(KINDS[kind], Text(finding.name), Text(finding.text))
        wide_console(200).print(table)
    if quiet:
        return
    counts = ", ".join(f"{KINDS[kind]}: {count}" for kind, count in report.counts().items())
    typer.echo(f"{report.pairs} {'pair' if report.pairs == 1 else 'pairs'}; {counts or 'nothing wrong'}")
    if report.coarse:
        shown = ", ".join(report.coarse[:10]) + (" ..." if len(report.coarse) > 10 else "")
        typer.echo(f"Too noisy to compare in full size, small shifts would not show: {shown}")
