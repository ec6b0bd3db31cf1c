"""What a file is that some command or bench wrote, and its drawing."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files.atomic import write_atomically
from ..scoring.steps import RAW_MEASURES, raw_figure, step_figure
from ..training.curves import curves
from .roofline import roofline
from .sizes import sizes
from .speed import speed

LOGS = ("log.csv", "validation.csv")
_BENCH: dict[str, Callable[[Sequence[Mapping[str, Any]]], Any]] = {"roofline": roofline, "speed": speed}
CHARTS = ("training", "steps", "sizes", *_BENCH)


def figure_of(sources: Sequence[Path], chart: str | None = None) -> Any:
    """The matplotlib figure of folders of trainings (or of their logs), or of one JSON file of steps or of a bench.

    chart: one of CHARTS, where it is not the first that the file can be drawn as.
    Raises ValueError for what none of it was written to, and where files of several kinds come together.
    """
    runs = [folder for source in sources if (folder := _training(source)) is not None]
    if len(runs) == len(sources):
        _check(chart, "training", sources[0], ("training",))
        return curves({_name(folder, runs): folder for folder in runs})
    if len(sources) > 1:
        raise ValueError("several at once are for trainings; draw other files one by one")
    source = sources[0]
    try:
        content = json.loads(source.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, IsADirectoryError):
        raise ValueError(f"{source} is neither a training's folder nor a JSON file of results") from None
    if isinstance(content, list) and content and all("peak_mb" in row and "form" in row for row in content):
        _check(chart, "sizes", source, ("sizes",))
        return sizes(content)
    if isinstance(content, list) and content and all("copy_gb_s" in row for row in content):
        return _BENCH[_check(chart, "roofline", source, tuple(_BENCH))](content)
    entries = content.get("table") or content.get("summary") if isinstance(content, dict) else None
    if entries and all("sampler" in entry and "psnr" in entry for entry in entries):
        _check(chart, "steps", source, ("steps",))
        return step_figure(entries, f"{Path(content['model']).stem}: {entries[0]['pictures']} pictures")
    if entries and all("calls" in entry and RAW_MEASURES.keys() <= entry.keys() for entry in entries):
        _check(chart, "steps", source, ("steps",))
        return raw_figure([_with_spread(entry) for entry in entries], f"{content['set']}: quality over network calls")
    raise ValueError(f"{source} holds nothing that can be drawn: results of steps, evaluate-raw or a bench can")


def save(figure: Any, path: Path) -> None:
    """In the format of the path's extension, whole or not at all."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix.lower().removeprefix("."), dpi=110)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, buffer.getvalue())


def _training(source: Path) -> Path | None:
    """The folder of a training whose it is, or one of whose logs."""
    folder = source if source.is_dir() else source.parent if source.name in LOGS else None
    return folder if folder is not None and (folder / LOGS[0]).is_file() else None


def _name(folder: Path, all_of_them: Sequence[Path]) -> str:
    """Its last part, or all of it where that is another's too."""
    name = folder.resolve().name
    return name if [f.resolve().name for f in all_of_them].count(name) == 1 else str(folder)


def _check(chart: str | None, default: str, source: Path, possible: tuple[str, ...]) -> str:
    if chart not in (None, *possible):
        raise ValueError(f"{source} can be drawn as {' or '.join(possible)}, not as {chart}")
    return chart or default


def _with_spread(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Means as `evaluate-raw` writes them, without their deviations, as a summary has them."""
    return {**entry, **{name: {"mean": entry[name], "std": None} for name in RAW_MEASURES}}
