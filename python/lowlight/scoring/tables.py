"""What a scoring leaves on the disk: CSV, JSON and Markdown of a report."""

from __future__ import annotations

import csv
import io
import json
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from ..files.atomic import write_atomically
from ..metrics.srgb import MEASURES, RECIPE, VARIANTS
from .srgb import Report

TITLES = {"psnr": "PSNR", "ssim_rgb": "SSIM", "ssim_grey": "SSIM grey", "lpips": "LPIPS"}
VARIANT_TITLES = {"": "as it comes", "_gt_mean": "GT-mean", "_ls_gain": "LS gain"}
_DIGITS = {"psnr": 2, "ssim_rgb": 3, "ssim_grey": 3, "lpips": 3}


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


def cell(value: Mapping[str, float | None], measure: str) -> str:
    """A mean, with its standard deviation where there is one: "20.82 ± 0.02"."""
    digits = _DIGITS[measure]
    spread = "" if value["std"] is None else f" ± {value['std']:.{digits}f}"
    return f"{value['mean']:.{digits}f}{spread}"


def measured(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Those of MEASURES that the entries hold."""
    return [measure for measure in MEASURES if measure in entries[0]]


def score_rows(entries: Sequence[Mapping[str, Any]], key: str, more: Mapping[str, str] | None = None) -> list[dict]:
    """Entries of Report.summary or .pictures as lines of a table: a block a variant, in it a line an entry.

    Each line has `scored` (the variant's title), entry[key], a cell a measure, and cells of `more` (name -> format).
    """
    return [
        {
            "scored": VARIANT_TITLES[variant],
            key: str(entry[key]),
            **{TITLES[measure]: cell(entry[measure + variant], measure) for measure in measured(entries)},
            **{name: format(entry[name], spec) for name, spec in (more or {}).items()},
        }
        for variant in VARIANTS
        for entry in entries
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
    return csv_text(report.rows, ["split", "method", "picture", "seed", *report.scores, "seconds"])


def json_text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1) + "\n"


def report_json(report: Report, **context: Any) -> str:
    """Recipe, whatever the context says of the run, summary, pictures, rows and problems."""
    content = {
        "recipe": RECIPE,
        **context,
        "conditions": conditions(),
        "summary": report.summary(),
        "pictures": report.pictures(),
        "rows": report.rows,
        "problems": report.problems,
    }
    return json_text(content)


def markdown_table(rows: Sequence[Mapping[str, str]], left: int = 1) -> str:
    """A table of the rows' keys and values; the first `left` columns to the left, the rest to the right."""
    names = list(rows[0])
    lines = [names, ["---"] * left + ["---:"] * (len(names) - left), *([row[name] for name in names] for row in rows)]
    return "".join("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |\n" for line in lines)


def report_markdown(report: Report, notes: Iterable[str] = ()) -> str:
    """A table of methods for each split, the notes, a table of pictures for each split and method, the problems."""
    summary, pictures = report.summary(), report.pictures()
    parts = []
    for split in dict.fromkeys(entry["split"] for entry in summary):
        entries = [entry for entry in summary if entry["split"] == split]
        seeds = sorted({seed for entry in entries for seed in entry["seeds"]})
        counted = f"{entries[0]['pictures']} pictures" + (f", seeds {', '.join(map(str, seeds))}" if seeds else "")
        parts += [f"## {split} ({counted})", markdown_table(score_rows(entries, "method", {"seconds": ".3f"}), 2)]
    parts += list(notes)
    for entry in summary:
        mine = [p for p in pictures if (p["split"], p["method"]) == (entry["split"], entry["method"])]
        parts += [
            f"### {entry['split']}, {entry['method']}: each picture",
            markdown_table(score_rows(mine, "picture"), 2),
        ]
    problems = [f"- not scored: {problem}\n" for problem in report.problems]
    return "# Scores\n\n" + "\n\n".join(part.rstrip("\n") for part in [*parts, "".join(problems)] if part) + "\n"


def write_text(path: Path, text: str) -> None:
    """The text as UTF-8, under a temporary name first; folders on the way are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode())


def _processor() -> str:
    """The processor's name; platform.processor() has none on Linux."""
    facts = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.+)$", facts.read_text(), re.MULTILINE) if facts.exists() else []
    return names[0] if names else platform.processor() or platform.machine()
