"""Quality in raw space against the number of network calls, drawn from the summary of a scoring."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .steps import Curve, require_matplotlib, write_curves

_MEASURES = {"raw_psnr": "raw PSNR in dB", "raw_ssim": "raw SSIM"}


def check_plot(path: Path, models: Sequence[str] | None) -> None:
    """Raises ValueError, before any work, where there is nothing to draw or no way to."""
    if not models:
        raise ValueError("--plot draws models over --steps: name one with --model")
    require_matplotlib(path)


def write_plot(path: Path, entries: Sequence[dict[str, Any]], title: str) -> None:
    """entries: RawReport.summary(). A line a ratio, model and protocol; what makes no network calls is not drawn."""
    write_curves(path, curves(entries), _MEASURES, title, "network calls")


def curves(entries: Sequence[dict[str, Any]]) -> list[Curve]:
    """Lines of the entries with calls, in their order, fewest calls first."""
    lines: dict[tuple, list[dict[str, Any]]] = {}
    for entry in entries:
        if entry["calls"] is not None:
            model = entry["method"].rsplit(", ", 1)[0]
            lines.setdefault((model, entry["ratio"], entry["protocol"]), []).append(entry)
    return [
        Curve(
            f"{Path(model).name}, x{ratio:g}, {protocol}",
            [entry["calls"] for entry in mine],
            {name: [entry[name] for entry in mine] for name in _MEASURES},
        )
        for (model, ratio, protocol), group in lines.items()
        for mine in [sorted(group, key=lambda entry: entry["calls"])]
    ]
