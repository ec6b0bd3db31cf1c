"""The roofline of a bench's rows: operations a byte against operations a second, under what the machine can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
_MARKS = {"cpp": "o", "cuda": "o", "triton": "^", "PyTorch": "x", "torch.compile": "+"}
_COLUMNS = 2


def roofline(rows: Sequence[Row]) -> Any:
    """A matplotlib figure of rows of bench/results/NAME.json, a panel a shape, dtype and memory mode.

    Raises ValueError where no row has its operations counted.
    """
    from matplotlib.figure import Figure

    rows = [row for row in rows if row["implementation"] in _MARKS and row.get("operations")]
    if not rows:
        raise ValueError("no row has its operations counted")
    panels = sorted({(row["shape"], row["dtype"], row["memory"]) for row in rows})
    lines = -(-len(panels) // _COLUMNS)
    figure = Figure(figsize=(15, 6 * lines + 1), layout="constrained")
    grid = figure.subplots(lines, _COLUMNS, squeeze=False)
    for axes, key in zip(grid.flat, panels, strict=False):
        _panel(axes, [row for row in rows if (row["shape"], row["dtype"], row["memory"]) == key])
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_axis_off()
    figure.suptitle(
        f"{rows[0]['gpu'] or rows[0]['cpu']}, {rows[0]['threads']} threads: filled ours (triangle Triton), "
        "x PyTorch, + torch.compile; line: copy bandwidth, float32 matrix product"
    )
    labelled = [axes.get_legend_handles_labels() for axes in grid.flat]
    handles = {label: h for found in labelled for h, label in zip(*found, strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, fontsize=8)
    return figure


def _panel(axes: Any, rows: Sequence[Row]) -> None:
    from matplotlib import colormaps

    colours: Callable[[float], Any] = colormaps["turbo"]
    operators = sorted({row["op"] for row in rows}, key=lambda op: next(_intensity(r) for r in rows if r["op"] == op))
    bandwidth, peak = rows[0]["copy_gb_s"], rows[0]["matrix_gflop_s"]
    intensities = [_intensity(row) for row in rows]
    knee = peak / bandwidth
    ends = [min(intensities) / 2, max(knee * 3, 2 * max(intensities))]
    axes.plot([ends[0], knee, ends[1]], [ends[0] * bandwidth, peak, peak], color="black", linewidth=1)
    for row, intensity in zip(rows, intensities, strict=True):
        axes.plot(
            intensity,
            1e-6 * row["operations"] / row["median_ms"],
            _MARKS[row["implementation"]],
            color=colours(operators.index(row["op"]) / len(operators)),
            markersize=6,
            label=row["op"] if row["implementation"] in ("cpp", "cuda") else None,
        )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="operations a byte",
        ylabel="10$^9$ operations a second",
        title=f"{rows[0]['shape']} {rows[0]['dtype']}, copy {bandwidth:.0f} GB/s",
    )
    axes.grid(alpha=0.3, which="both", linewidth=0.4)


def _intensity(row: Row) -> float:
    return row["operations"] / (1e6 * row["floor_ms"] * row["copy_gb_s"])
