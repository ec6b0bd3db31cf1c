"""Quality against the number of sampling steps: a model's samplers on the same pictures with the same noise."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ..files.atomic import write_atomically
from ..systems.base import PictureSystem
from .report import Method, Report
from .srgb import model_method

RAW_MEASURES = {"raw_psnr": "raw PSNR in dB", "raw_ssim": "raw SSIM"}  # of a plot, with the labels of their axes
TITLES = {"drds": "DRDS (published)", "ddim": "DDIM", "dpm++": "DPM-Solver++ (second order)"}


def sampler_methods(system: PictureSystem, samplers: Iterable[str], steps: Iterable[int]) -> list[Method]:
    """Every sampler with every number of steps, each once, fewest steps first, under the name "SAMPLER S".

    Raises ValueError for what cannot be. Samplers take turns, so that a machine that slows down slows all of them.
    """
    samplers, steps = list(dict.fromkeys(samplers)), sorted(set(steps))
    for sampler in samplers:
        if sampler not in system.samplers:
            raise ValueError(f"sampler must be one of {', '.join(system.samplers)}, got {sampler!r}")
    if not steps or steps[0] < 1 or steps[-1] > system.config.timesteps:
        raise ValueError(f"steps must lie in 1 .. {system.config.timesteps}, got {', '.join(map(str, steps))}")
    return [_method(system, sampler, count) for count in steps for sampler in samplers]


def _method(system: PictureSystem, sampler: str, steps: int) -> Method:
    method = model_method(f"{sampler} {steps}", system, steps, sampler)
    # the exposure is the same for all, and not what is asked
    return replace(method, told=None, about={"sampler": sampler, "steps": steps})


def step_entries(report: Report) -> list[dict[str, Any]]:
    """The report's summary by `sampler` and `steps`, sampler after sampler."""
    entries = report.summary("sampler", "steps")
    order = list(dict.fromkeys((entry["split"], entry["sampler"]) for entry in entries))
    return sorted(entries, key=lambda entry: (order.index((entry["split"], entry["sampler"])), entry["steps"]))


def fewest_steps(entries: Sequence[dict[str, Any]], within: float = 0.05) -> dict[str, Any]:
    """The entry of the fewest steps whose mean PSNR is at most `within` dB below the best of all; of several with as
    many steps, the first."""
    best = max(entry["psnr"]["mean"] for entry in entries)
    return min((e for e in entries if e["psnr"]["mean"] >= best - within), key=lambda entry: entry["steps"])


def verdicts(entries: Sequence[dict[str, Any]], within: float = 0.05) -> list[str]:
    """For each split and sampler a sentence with the fewest steps within reach of its best."""
    lines = []
    for split, sampler in dict.fromkeys((entry["split"], entry["sampler"]) for entry in entries):
        mine = [entry for entry in entries if (entry["split"], entry["sampler"]) == (split, sampler)]
        fewest, best = fewest_steps(mine, within), max(mine, key=lambda entry: entry["psnr"]["mean"])
        lines.append(
            f"{split}, {sampler}: S = {fewest['steps']} ({fewest['psnr']['mean']:.2f} dB) is the smallest within "
            f"{within:g} dB of the best ({best['psnr']['mean']:.2f} dB at S = {best['steps']})."
        )
    return lines


def require_matplotlib(path: Path) -> None:
    """Raises ValueError, before any work, where a plot of that name cannot be drawn."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
    except ImportError:
        raise ValueError("a plot needs matplotlib: pip install 'lowlight-ext[train]'") from None
    known = FigureCanvasAgg.get_supported_filetypes()
    if path.suffix.lower().removeprefix(".") not in known:
        raise ValueError(f"cannot draw a plot as {path.name!r}; use one of {', '.join('.' + name for name in known)}")


class Curve(NamedTuple):
    """A line of a plot: values and their standard deviations (0 where unknown) by measure, one a number of calls."""

    label: str
    calls: list[int]
    values: dict[str, list[float]]
    spread: dict[str, list[float]]


def curves(
    entries: Sequence[dict[str, Any]], calls: str, label: Callable[[dict[str, Any]], str], measures: Iterable[str]
) -> list[Curve]:
    """Lines of the entries that have a number under `calls`, one a label, in their order, fewest calls first."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        if entry[calls] is not None:
            lines.setdefault(label(entry), []).append(entry)
    made = []
    for name, group in lines.items():
        mine = sorted(group, key=lambda entry: entry[calls])
        values = {m: [entry[m]["mean"] for entry in mine] for m in measures}
        spread = {m: [entry[m]["std"] or 0.0 for entry in mine] for m in measures}
        made.append(Curve(name, [entry[calls] for entry in mine], values, spread))
    return made


def step_figure(entries: Sequence[dict[str, Any]], title: str) -> Any:
    """PSNR and SSIM over the number of steps, a line a split and sampler, bars of one standard deviation over seeds."""
    measures = {"psnr": "PSNR in dB", "ssim_rgb": "SSIM"}

    def label(entry: dict[str, Any]) -> str:
        return f"{entry['split']}, {TITLES.get(entry['sampler'], entry['sampler'])}"

    return curve_figure(curves(entries, "steps", label, measures), measures, title, "network calls S")


def write_plot(path: Path, entries: Sequence[dict[str, Any]], title: str) -> None:
    _write(path, step_figure(entries, title))


def raw_curves(entries: Sequence[dict[str, Any]]) -> list[Curve]:
    """Lines of a summary in raw space, one a ratio, model and protocol; what makes no network calls is not drawn."""

    def label(entry: dict[str, Any]) -> str:
        model = entry["method"].rsplit(", ", 1)[0]
        return f"{Path(model).name}, x{entry['ratio']:g}, {entry['protocol']}"

    return curves(entries, "calls", label, RAW_MEASURES)


def raw_figure(entries: Sequence[dict[str, Any]], title: str) -> Any:
    """PSNR and SSIM of packed raw over the number of network calls."""
    return curve_figure(raw_curves(entries), RAW_MEASURES, title, "network calls")


def write_raw_plot(path: Path, entries: Sequence[dict[str, Any]], title: str) -> None:
    _write(path, raw_figure(entries, title))


def curve_figure(curves: Sequence[Curve], measures: dict[str, str], title: str, calls: str) -> Any:
    """A panel a measure (name -> label of its axis), the number of calls below, logarithmic."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import ScalarFormatter

    figure = Figure(figsize=(9, 4), layout="constrained")
    figure.suptitle(title)
    for axes, (measure, label) in zip(figure.subplots(1, len(measures)), measures.items(), strict=True):
        for i, curve in enumerate(curves):
            spread = curve.spread[measure]
            # samplers agree up to S = 2: the first one's line stays visible beneath
            axes.errorbar(
                curve.calls,
                curve.values[measure],
                yerr=spread if any(spread) else None,
                marker="os^D"[i % 4],
                linestyle=("-", "--")[i % 2],
                label=curve.label,
            )
        axes.set_xscale("log")
        axes.set_xticks(sorted({count for curve in curves for count in curve.calls}))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.minorticks_off()
        axes.set_xlabel(calls)
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize="small")
    return figure


def _write(path: Path, figure: Any) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix.lower().removeprefix("."), dpi=150)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, buffer.getvalue())
