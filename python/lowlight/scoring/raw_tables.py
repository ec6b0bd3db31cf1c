"""What a scoring in raw space leaves on the disk: CSV, JSON and Markdown with recipe and protocols."""

from __future__ import annotations

from collections.abc import Sequence

from .raw import RawReport
from .tables import conditions, csv_text, json_text, markdown_table

_TITLES = {"raw_psnr": "raw PSNR", "raw_ssim": "raw SSIM", "srgb_psnr": "sRGB PSNR", "srgb_ssim": "sRGB SSIM"}
_COLUMNS = ("set", "ratio", "method", "protocol", "calls", "picture", "exact_ratio", "K", *_TITLES, "seconds")


def summary_lines(report: RawReport) -> list[dict[str, str]]:
    """The summary as cells: ratio, method and protocol to the left."""
    return [
        {"ratio": f"{entry['ratio']:g}", "method": entry["method"], "protocol": entry["protocol"],
         "pictures": str(entry["pictures"]),
         **{title: format(entry[name], ".2f" if "psnr" in name else ".4f") for name, title in _TITLES.items()},
         "seconds": f"{entry['seconds']:.2f}"}
        for entry in report.summary()
    ]  # fmt: skip


def raw_csv(report: RawReport, name: str, notes: Sequence[str]) -> str:
    """One line a picture and method, the protocol in each. name: of the set."""
    return csv_text([{"set": name, **row} for row in report.rows], _COLUMNS)


def raw_json(report: RawReport, name: str, notes: Sequence[str]) -> str:
    """notes: recipe and protocols."""
    content = {"set": name, "recipe": list(notes), "conditions": conditions(), "summary": report.summary()}
    return json_text(content | {"rows": report.rows, "problems": report.problems})


def raw_markdown(report: RawReport, name: str, notes: Sequence[str]) -> str:
    """The table, the notes, the problems."""
    problems = "".join(f"- not scored: {problem}\n" for problem in report.problems)
    parts = [f"# {name}", markdown_table(summary_lines(report), 3) if report.rows else "", *notes, problems]
    return "\n\n".join(part.rstrip("\n") for part in parts if part) + "\n"
