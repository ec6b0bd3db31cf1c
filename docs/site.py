"""A hook of mkdocs: the page of all commands, made of the command line itself; what pages link to outside of docs/;
paragraphs in docstrings."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

import griffe
import typer
from mkdocs.structure.files import File, Files

from lowlight.cli import app

ROOT = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"(?<=\]\()(?!https?:)[^)#\s]+")


def on_files(files: Files, config: Any) -> Files:
    """Adds commands.md, which no file holds: it cannot be older than the commands; and what lies outside of docs/."""
    outside = {
        target
        for page in files.documentation_pages()
        for link in _LINK.findall(page.content_string)
        if (target := _outside(page.src_uri, link))
    }
    files.append(File.generated(config, "commands.md", content=commands_page()))
    for target in sorted(outside):
        files.append(File.generated(config, f"repository/{target}", abs_src_path=str(ROOT / target)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links out of docs/ are right on the repository's pages; here they lead to the copies that on_files added."""

    def here(link: re.Match[str]) -> str:
        target = _outside(page.file.src_uri, link[0])
        folder = posixpath.dirname(page.file.src_uri)
        return posixpath.relpath(f"repository/{target}", folder or ".") if target else link[0]

    return _LINK.sub(here, markdown)


def _outside(page: str, link: str) -> str | None:
    """The path in the repository of a page's link, where it lies outside of docs/ and is a file."""
    target = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), link))
    return target if not target.startswith("docs/") and (ROOT / target).is_file() else None


class Paragraphs(griffe.Extension):
    """A line that begins with an argument's name begins a paragraph; Markdown would join it to the one before."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            obj.docstring.value = re.sub(r"\n(?=(\w+(, \w+)*: |Raises |Gradients))", "\n\n", obj.docstring.value)


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
