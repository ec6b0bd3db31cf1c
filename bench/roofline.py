"""The roofline picture of a results file: `python bench/roofline.py bench/results/NAME.json`."""

import json
import sys
from pathlib import Path

MARKS = {"cpp": "o", "cuda": "o", "triton": "^", "PyTorch": "x", "torch.compile": "+"}
COLUMNS = 2


def _panel(axes, rows: list[dict], colours) -> None:
    """Operations a byte against operations a second; over them the roof of bandwidth and of matrix products."""
    operators = sorted({row["op"] for row in rows}, key=lambda op: next(_intensity(r) for r in rows if r["op"] == op))
    bandwidth, peak = rows[0]["copy_gb_s"], rows[0]["matrix_gflop_s"]
    ends = [min(map(_intensity, rows)) / 2, max(peak / bandwidth * 3, 2 * max(map(_intensity, rows)))]
    knee = peak / bandwidth
    axes.plot([ends[0], knee, ends[1]], [ends[0] * bandwidth, peak, peak], color="black", linewidth=1)
    for row in rows:
        place = operators.index(row["op"])
        rate = 1e-6 * row["operations"] / row["median_ms"]
        label = row["op"] if row["implementation"] in ("cpp", "cuda") else None
        axes.plot(
            _intensity(row),
            rate,
            MARKS[row["implementation"]],
            color=colours(place / len(operators)),
            markersize=6,
            label=label,
        )
    axes.set(xscale="log", yscale="log", xlabel="operations a byte", ylabel="10$^9$ operations a second",
             title=f"{rows[0]['shape']} {rows[0]['dtype']}, copy {bandwidth:.0f} GB/s")  # fmt: skip
    axes.grid(alpha=0.3, which="both", linewidth=0.4)


def _intensity(row: dict) -> float:
    return row["operations"] / (1e6 * row["floor_ms"] * row["copy_gb_s"])


def picture(results: Path) -> str:
    """Draw NAME.png beside NAME.json; returns a sentence that says what came of it."""
    try:
        import matplotlib
    except ImportError as error:
        return f"no roofline picture: {error}; pip install matplotlib"
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [r for r in json.loads(results.read_text()) if r["implementation"] in MARKS and r.get("operations")]
    if not rows:
        return "no roofline picture: no row has its operations counted"
    panels = sorted({(r["shape"], r["dtype"], r["memory"]) for r in rows})
    lines = -(-len(panels) // COLUMNS)
    figure, grid = plt.subplots(lines, COLUMNS, figsize=(15, 6 * lines + 1), squeeze=False, layout="constrained")
    for axes, key in zip(grid.flat, panels, strict=False):
        _panel(axes, [r for r in rows if (r["shape"], r["dtype"], r["memory"]) == key], plt.get_cmap("turbo"))
    for axes in list(grid.flat)[len(panels):]:  # fmt: skip
        axes.set_axis_off()
    figure.suptitle(f"{rows[0]['gpu'] or rows[0]['cpu']}, {rows[0]['threads']} threads: filled ours (triangle Triton), "
                    "x PyTorch, + torch.compile; line: copy bandwidth, float32 matrix product")  # fmt: skip
    handles = {label: h for axes in grid.flat for h, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, fontsize=8)
    target = results.with_suffix(".png")
    part = target.with_suffix(".png.part")
    figure.savefig(part, format="png", dpi=110)
    plt.close(figure)
    part.replace(target)
    return f"roofline picture: {target.name}"


if __name__ == "__main__":
    print(picture(Path(sys.argv[1])))
