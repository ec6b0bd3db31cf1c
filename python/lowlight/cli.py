"""The command line: `lowlight COMMAND`. Commands live in commands/, one file each."""

from __future__ import annotations

from importlib import import_module, metadata
from typing import Annotated

import typer

# command: the file in commands/ whose function of that name it is, in the order of `lowlight --help`
COMMANDS = {
    "enhance": "enhance",
    "sample": "sample",
    "models": "models",
    "check": "check",
    "calibrate": "calibrate",
    "evaluate": "evaluate",
    "evaluate-raw": "evaluate_raw",
    "steps": "steps",
    "train": "train",
    "ablate": "ablate",
    "export": "export",
    "lpips": "lpips",
    "info": "info",
}

app = typer.Typer(
    name="lowlight",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lowlight-ext {metadata.version('lowlight-ext')}")
        raise typer.Exit


@app.callback()
def lowlight(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Brighten dark photographs with diffusion models."""


for _name, _file in COMMANDS.items():
    app.command(_name)(getattr(import_module(f".commands.{_file}", __package__), _name.replace("-", "_")))


def main() -> None:
    """The entry point of the console script."""
    app()
