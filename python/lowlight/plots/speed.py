"""Bars of a bench's rows: how many times as fast as plain PyTorch each operator is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
_OURS = ("cpp", "cuda")
_VARIANTS = (", channels_last", ", with gradient")


def speed(rows: Sequence[Row]) -> Any:
    """A matplotlib figure of rows of bench/results/NAME.json: bars of PyTorch's median over ours.

    Of float32 rows, every operator as it is mostly called (contiguous, without gradient) at its largest shape; a line
    where both take as long. Raises ValueError where no operator was timed beside PyTorch.
    """
    from matplotlib.figure import Figure

    found = _ratios(rows)
    if not found:
        raise ValueError("no operator was timed beside PyTorch")
    names = sorted(found, key=lambda name: found[name][0])
    figure = Figure(figsize=(7, 0.28 * len(names) + 1.1), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(names, [found[name][0] for name in names], color="#e0a030")
    axes.bar_label(bars, [f"{found[name][0]:.1f}x, {found[name][1]:.1f} ms" for name in names], padding=3, fontsize=8)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set(xscale="log", xlabel="times as fast as plain PyTorch")
    axes.set_xlim(0.7, 2.2 * max(ratio for ratio, _, _ in found.values()))
    axes.set_xticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
    axes.minorticks_off()
    axes.tick_params(axis="y", labelsize=8)
    shapes = {shape for _, _, shape in found.values()}
    axes.set_title(
        f"{rows[0]['gpu'] or rows[0]['cpu']}, {rows[0]['threads']} threads, {', '.join(shapes)} float32", fontsize=9
    )
    return figure


def _ratios(rows: Sequence[Row]) -> dict[str, tuple[float, float, str]]:
    """(PyTorch's median over ours, ours in ms, shape) by operator, at the shape that takes PyTorch longest."""
    found: dict[str, tuple[float, float, str]] = {}
    longest: dict[str, float] = {}
    plain = {_key(row): row["median_ms"] for row in rows if row["implementation"] == "PyTorch"}
    for row in rows:
        mostly = row["dtype"] == "float32" and not any(variant in row["op"] for variant in _VARIANTS)
        if row["implementation"] not in _OURS or not mostly or _key(row) not in plain:
            continue
        theirs = plain[_key(row)]
        if theirs > longest.get(row["op"], 0):
            longest[row["op"]], found[row["op"]] = theirs, (theirs / row["median_ms"], row["median_ms"], row["shape"])
    return found


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("op", "shape", "dtype", "threads", "memory"))
