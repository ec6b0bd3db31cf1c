"""A hook of mkdocs: the page of all commands, made of the command line itself."""

from __future__ import annotations

from typing import Any

import typer
from mkdocs.structure.files import File, Files

from lowlight.cli import app


def on_files(files: Files, config: Any) -> Files:
    """Adds commands.md, which no file holds: it cannot be older than the commands."""
    files.append(File.generated(config, "commands.md", content=commands_page()))
    return files


def commands_page() -> str:
    """Every command with its help, arguments and options, as Markdown."""
    root = typer.main.get_command(app)
    parts = ["# Commands", root.help or ""]
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        context = command.context_class(command, info_name=f"lowlight {name}")
        usage = " ".join(command.collect_usage_pieces(context))
        parts += [f"## lowlight {name}", command.help or "", f"```\nlowlight {name} {usage}\n```"]
        rows = [_row(p) for p in command.params if not getattr(p, "hidden", False) and p.name != "help"]
        if rows:
            parts.append("\n".join(["| what | meaning |", "|---|---|", *rows]))
        if command.epilog:
            parts.append(command.epilog)
    return "\n\n".join(parts) + "\n"


def _row(parameter: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    if parameter.param_type_name == "argument":
        names = f"`{(parameter.metavar or parameter.name).upper()}`"
    meaning = (getattr(parameter, "help", "") or "").replace("|", "\\|")
    return f"| {names} | {meaning} |"
