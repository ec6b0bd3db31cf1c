"""`lowlight models`: the weights that ship with the package."""

from __future__ import annotations

import typer


def models() -> None:
    """List the weights that ship with this package."""
    from rich.console import Console
    from rich.table import Table

    from ..checkpoints import DEFAULT_MODEL, DEFAULT_RAW_MODEL, shipped_models

    found = shipped_models()
    if not found:
        typer.echo("No weights ship with this installation; give --model a checkpoint file.")
        return
    table = Table(show_edge=False)
    for title in ("name", "size", "about"):
        table.add_column(title, justify="right" if title == "size" else "left", no_wrap=title != "about")
    remarks = {DEFAULT_MODEL: " (default)", DEFAULT_RAW_MODEL: " (default for raw)"}
    for model in found:
        table.add_row(model.name + remarks.get(model.name, ""), f"{model.size / 1e6:.1f} MB", model.summary)
    Console().print(table)
