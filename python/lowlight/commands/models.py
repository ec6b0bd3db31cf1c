"""`lowlight models`: the weights that ship with the package."""

from __future__ import annotations

import typer

from .terminal import Json, echo_json


def models(json: Json = False) -> None:
    """List the weights that ship with this package: size, scores, terms."""
    from ..shipped import DEFAULT_MODEL, DEFAULT_RAW_MODEL, shipped_models

    found = shipped_models()
    if json:
        defaults = (DEFAULT_MODEL, DEFAULT_RAW_MODEL)
        rows = [model._asdict() | {"path": str(model.path)} for model in found]
        more = [{"parameters": model.parameters(), "default": model.name in defaults} for model in found]
        echo_json([row | about for row, about in zip(rows, more, strict=True)], 1)
        return
    if not found:
        typer.echo("No weights ship with this installation; give --model a checkpoint file.")
        return
    remarks = {DEFAULT_MODEL: " (default)", DEFAULT_RAW_MODEL: " (default for raw)"}
    for model in found:
        size = f"{model.size / 1e6:.1f} MB, {model.parameters() / 1e6:.1f} M parameters"
        typer.echo(f"{typer.style(model.name, bold=True)}{remarks.get(model.name, '')}: {size}")
        for line in (model.summary, *model.scores, f"terms: {model.terms}"):
            typer.echo(f"  {line}")
    typer.echo(f"\nScores: as it comes, no gain from the truth. All of them and the terms: {found[0].path.parent}/*.md")
