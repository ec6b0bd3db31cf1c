"""What a scoring leaves on the disk: CSV, JSON and Markdown of a report."""

from __future__ import annotations

import csv
import io
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from ..files.atomic import write_atomically
from ..files.json_text import json_text
from ..metrics.measures import VERSIONS, Measure
from .report import Report


def conditions() -> dict[str, Any]:
    """What else a figure depends on: versions, threads, processor, GPU."""
    try:
        version = metadata.version("lowlight-ext")
    except metadata.PackageNotFoundError:
        version = None  # run from a folder
    return {
        "lowlight": version,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cpu": _processor(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def cell(value: Mapping[str, float | None], measure: Measure) -> str:
    """A mean, with its standard deviation where there is one: "20.82 ± 0.02"; a dash where nothing was measured."""
    if value["mean"] is None:
        return "-"
    spread = "" if value["std"] is None else f" ± {value['std']:.{measure.digits}f}"
    return f"{value['mean']:.{measure.digits}f}{spread}"


def cells(report: Report, entry: Mapping[str, Any], version: str = "") -> dict[str, str]:
    """A cell a measure, by its title, of one version of the results."""
    named = {name: measure for name, measure in report.scores.items() if name == measure.name + version}
    return {measure.title: cell(entry[name], measure) for name, measure in named.items()}


def version_rows(report: Report, entries: Sequence[Mapping[str, Any]], key: str) -> list[dict[str, str]]:
    """Entries of Report.summary as lines of a table: a block a version, in it a line an entry.

    Each line has `scored` (the version's title), entry[key], a cell a measure, and of methods the seconds.
    """
    versions = dict.fromkeys(name.removeprefix(measure.name) for name, measure in report.scores.items())
    return [
        {
            "scored": VERSIONS[version][0],
            key: str(entry[key]),
            **cells(report, entry, version),
            **({"seconds": _seconds(entry)} if key == "method" else {}),
        }
        for version in versions
        for entry in entries
    ]


def _seconds(entry: Mapping[str, Any]) -> str:
    return "-" if entry["seconds"] is None else f"{entry['seconds']:.3f}"


def ratio_rows(report: Report) -> list[dict[str, str]]:
    """The summary of a scoring in raw space as lines of a table: ratio, method and protocol to the left."""
    return [
        {
            "ratio": f"{entry['ratio']:g}",
            **{name: str(entry[name]) for name in ("method", "protocol", "pictures")},
            **cells(report, entry),
            "seconds": f"{entry['seconds']:.2f}",
        }
        for entry in report.summary()
    ]


def csv_text(rows: Iterable[Mapping[str, Any]], names: Sequence[str]) -> str:
    """A line of the names, then one a row."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def report_csv(report: Report) -> str:
    """One line a row of the report."""
    return csv_text(report.rows, [*report.keys, *report.details, *report.scores, "seconds"])


def report_json(report: Report, before: Mapping[str, Any], **entries: Any) -> str:
    """What is to be said of the run, versions and machine, entries such as the summary, rows and problems.

    A score that is infinite (of two equal pictures) or none is null.
    """
    measures = {m.name: {"title": m.title, "better": m.better} for m in report.scores.values()}
    facts = {**before, "conditions": conditions(), "measures": measures}
    return json_text(facts | entries | {"rows": report.rows, "problems": report.problems})


def means(entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The entries with a score's mean in the place of mean and deviation."""
    return [{key: v["mean"] if isinstance(v, dict) else v for key, v in entry.items()} for entry in entries]


def markdown_table(rows: Sequence[Mapping[str, str]], left: int = 1) -> str:
    """A table of the rows' keys and values; the first `left` columns to the left, the rest to the right."""
    names = list(rows[0])
    lines = [names, ["---"] * left + ["---:"] * (len(names) - left), *([row[name] for name in names] for row in rows)]
    return "".join("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |\n" for line in lines)


def markdown_page(title: str, parts: Iterable[str], problems: Iterable[str] = ()) -> str:
    """Title, parts, and what could not be scored, divided by empty lines."""
    left_out = "".join(f"- not scored: {problem}\n" for problem in problems)
    return "\n\n".join(part.rstrip("\n") for part in (f"# {title}", *parts, left_out) if part) + "\n"


def report_markdown(report: Report, notes: Iterable[str] = ()) -> str:
    """A table of methods for each split, the notes, a table of pictures for each split and method, the problems."""
    summary, pictures = report.summary(), report.summary("picture")
    parts = []
    for split in dict.fromkeys(entry["split"] for entry in summary):
        entries = [entry for entry in summary if entry["split"] == split]
        seeds = sorted({seed for entry in entries for seed in entry["seeds"]})
        counted = f"{entries[0]['pictures']} pictures" + (f", seeds {', '.join(map(str, seeds))}" if seeds else "")
        parts += [f"## {split} ({counted})", markdown_table(version_rows(report, entries, "method"), 2)]
    parts += list(notes)
    for entry in summary:
        mine = [p for p in pictures if (p["split"], p["method"]) == (entry["split"], entry["method"])]
        title = f"### {entry['split']}, {entry['method']}: each picture"
        parts += [title, markdown_table(version_rows(report, mine, "picture"), 2)]
    return markdown_page("Scores", parts, report.problems)


def write_text(path: Path, text: str) -> None:
    """The text as UTF-8, under a temporary name first; folders on the way are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode())


def _processor() -> str:
    """The processor's name; platform.processor() has none on Linux."""
    facts = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.+)$", facts.read_text(), re.MULTILINE) if facts.exists() else []
    return names[0] if names else platform.processor() or platform.machine()
