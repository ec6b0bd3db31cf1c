"""The command line: `lowlight COMMAND`. Commands live in commands/, one file each."""

from __future__ import annotations

import sys
from importlib import import_module, metadata
from typing import Annotated

import typer

from .commands import debugging
from .commands.examples import epilog
from .memory import keep_freed

# command: the file in commands/ whose function of that name it is, in the order of `lowlight --help`
COMMANDS = {
    "enhance": "enhance",
    "video": "video",
    "sample": "sample",
    "demo": "demo",
    "serve": "serve",
    "models": "models",
    "check": "check",
    "calibrate": "calibrate",
    "evaluate": "evaluate",
    "evaluate-raw": "evaluate_raw",
    "steps": "steps",
    "train": "train",
    "ablate": "ablate",
    "study": "study",
    "plot": "plot",
    "generate": "generate",
    "export": "export",
    "tune": "tune",
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
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
) -> None:
    """Brighten dark photographs with diffusion models."""


for _name, _file in COMMANDS.items():
    app.command(_name, epilog=epilog(_name))(
        getattr(import_module(f".commands.{_file}", __package__), _name.replace("-", "_"))
    )


def main() -> None:
    """The entry point of the console script; `--debug` may stand anywhere in the line."""
    keep_freed()
    arguments = sys.argv[1:]
    if "--debug" not in arguments:
        app()
    debugging.ask()
    command = typer.main.get_command(app)
    try:
        # not by main(), which takes an Exit, and what is behind it, for an ordinary end
        with command.make_context("lowlight", [a for a in arguments if a != "--debug"]) as context:
            command.invoke(context)
        code = 0
    # Ctrl-C as well: where it was is what one wants to know
    except BaseException as error:
        code = getattr(error, "exit_code", 1)
        if code:
            debugging.shown(error)
    sys.exit(code)
