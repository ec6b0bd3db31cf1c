"""A report as parts, written twice: Markdown beside its pictures, and one HTML page with the pictures inside."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..files.atomic import write_atomically
from ..scoring.tables import markdown_page, markdown_table, write_text

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;font-size:13px;display:block;overflow-x:auto}"
    "td,th{padding:.2em .6em;border-bottom:1px solid #ddd;text-align:right}"
    "td:first-child,th:first-child{text-align:left}img{max-width:100%;image-rendering:pixelated}"
    "@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}td,th{border-color:#444}}"
)


@dataclass(frozen=True)
class Heading:
    text: str


@dataclass(frozen=True)
class Text:
    text: str


@dataclass(frozen=True)
class Points:
    lines: Sequence[str]


@dataclass(frozen=True)
class Cells:
    """A table: rows of cells by column, the first to the left."""

    rows: Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Figure:
    """name: of its PNG file. text: what it shows."""

    name: str
    png: bytes
    text: str


Part = Heading | Text | Points | Cells | Figure


def write_markdown(path: Path, title: str, parts: Sequence[Part]) -> None:
    """The page, and its pictures in a folder `figures` beside it, whose other PNG files go."""
    folder = path.parent / "figures"
    shown = {part.name: part.png for part in parts if isinstance(part, Figure)}
    for name, png in shown.items():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / name, png)
    for old in folder.glob("*.png"):
        if old.name not in shown:
            old.unlink()
    write_text(path, markdown_page(title, [_markdown(part) for part in parts]))


def write_html(path: Path, title: str, parts: Sequence[Part]) -> None:
    """One file that needs no other."""
    named = html.escape(title)
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{named}</title>'
    body = "\n".join([f"<h1>{named}</h1>", *map(_html, parts)])
    top = f"<!doctype html>\n<html lang=en><head>{head}<style>{_STYLE}</style></head>"
    write_text(path, f"{top}\n<body>\n{body}\n</body></html>\n")


def _markdown(part: Part) -> str:
    if isinstance(part, Heading):
        return f"## {part.text}"
    if isinstance(part, Text):
        return part.text
    if isinstance(part, Points):
        return "".join(f"- {line}\n" for line in part.lines)
    if isinstance(part, Cells):
        return markdown_table(part.rows)
    return f"![{Path(part.name).stem}](figures/{part.name})\n\n{part.text}"


def _html(part: Part) -> str:
    if isinstance(part, Heading):
        return f"<h2>{html.escape(part.text)}</h2>"
    if isinstance(part, Text):
        return f"<p>{html.escape(part.text)}</p>"
    if isinstance(part, Points):
        return "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in part.lines) + "</ul>"
    if isinstance(part, Cells):
        names = list(part.rows[0])
        head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(row[name])}</td>" for name in names) + "</tr>" for row in part.rows
        )
        return f"<table><tr>{head}</tr>{rows}</table>"
    data = base64.b64encode(part.png).decode()
    text = html.escape(part.text)
    return f'<figure><img src="data:image/png;base64,{data}" alt="{text}"><figcaption>{text}</figcaption></figure>'
