"""Lines of a bench's rows: seconds and peak memory of a whole picture over its size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
_STYLES: dict[str, Any] = {"here": "-", "formulas": "--", "openvino": ":", "fast": "-."}


def sizes(rows: Sequence[Row]) -> Any:
    """A matplotlib figure of rows of bench/results/NAME-sizes.json: a colour a system, a style a form of it.

    Systems that were measured at one size alone are left out. Raises ValueError where that is all of them.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    systems = [name for name in dict.fromkeys(row["system"] for row in rows) if len(_line(rows, name, "here")) > 1]
    if not systems:
        raise ValueError("no system was timed at two sizes")
    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, key, label in zip(figure.subplots(1, 2), ("seconds", "peak_mb"), ("seconds", "peak MB"), strict=True):
        for number, system in enumerate(systems):
            for form, style in _STYLES.items():
                line = _line(rows, system, form)
                points = [_megapixels(row) for row in line], [row[key] for row in line]
                axes.plot(*points, style, color=f"C{number}", marker="o", markersize=3)
        axes.set(xscale="log", yscale="log", xlabel="megapixels", ylabel=label)
        axes.grid(alpha=0.3)
    used = [form for form in _STYLES if any(row["form"] == form for row in rows)]
    handles = [Line2D([], [], color=f"C{number}", label=system) for number, system in enumerate(systems)]
    handles += [Line2D([], [], color="black", linestyle=_STYLES[form], label=form) for form in used]
    figure.axes[0].legend(handles=handles, fontsize=7)
    figure.suptitle(f"{rows[0]['cpu']}, one thread, float32 but for fast", fontsize=9)
    return figure


def _line(rows: Sequence[Row], system: str, form: str) -> list[Row]:
    return sorted((row for row in rows if row["system"] == system and row["form"] == form), key=_megapixels)


def _megapixels(row: Row) -> float:
    width, height = map(int, row["size"].split("x"))
    return width * height / 1e6
