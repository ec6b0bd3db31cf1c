"""What the tabs of the page compute, without the page: a path of an upload in, paths of results and facts out."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..expose import enhance_raw
from ..files.pictures import FORMATS, Picture, PictureError, srgb_of, write_picture
from ..metrics.measures import MEASURES, picture_views, score
from ..raw.develop import is_raw, read_developed
from ..scoring.baselines import BASELINES
from ..shipped import DEFAULT_RAW_MODEL
from ..systems.brighten import enhance_picture
from .desk import PREVIEW, Desk, shrunk
from .shown import browser_file, facts, histogram, size_of


@dataclass(frozen=True)
class Wanted:
    """What a visitor asks of a model; steps: network calls, 0 for the model's own number."""

    model: str
    brightness: float = 0.0
    saturation: float = 1.0
    strength: float = 1.0
    steps: int = 0
    seed: int = 0

    def of(self, desk: Desk, picture: Picture) -> Picture:
        """What the model makes of a picture."""
        wish = {"brightness": self.brightness, "saturation": self.saturation, "strength": self.strength}
        return enhance_picture(desk.system(self.model), picture, **wish, steps=self.steps or None, seed=int(self.seed))


def brighten(desk: Desk, path: str | None, wanted: Wanted) -> tuple[tuple[str, str], str, str]:
    """A preview: (dark, bright) for the browser, histogram, facts."""
    picture = desk.read(path)
    dark = shrunk(picture, PREVIEW)
    bright, seconds = _timed(lambda: wanted.of(desk, dark))
    about = f"preview of {size_of(picture)}" if dark is not picture else size_of(picture)
    return _both(desk, dark, bright), histogram({"dark": dark, "bright": bright}), facts(about, seconds, wanted.model)


def whole(desk: Desk, path: str | None, wanted: Wanted) -> tuple[tuple[str, str], str, str]:
    """At full resolution: (dark, bright) for the browser, the file to download, facts."""
    picture = desk.read(path)
    bright, seconds = _timed(lambda: wanted.of(desk, picture))
    target, notes = _written(desk, Path(str(path)), bright)
    return _both(desk, picture, bright), str(target), facts(size_of(bright), seconds, wanted.model, notes=notes)


def film(desk: Desk, path: str | None, wanted: Wanted) -> list[tuple[str, str]]:
    """The dark preview and the estimates after each network call, as (file, caption)."""
    dark = _in_srgb(shrunk(desk.read(path), PREVIEW))
    system = desk.system(wanted.model)
    low = torch.from_numpy(dark.rgb).movedim(-1, 0)[None].to(system.device)
    frames = [(browser_file(desk, dark, "dark"), "dark")]
    for call, estimate in enumerate(system.enhance_steps(low, steps=wanted.steps or None, seed=int(wanted.seed)), 1):
        pixels = estimate[0].float().clamp(0, 1).movedim(0, -1).contiguous().cpu().numpy()
        frames.append((browser_file(desk, replace(dark, rgb=pixels), f"call-{call}"), f"network call {call}"))
    return frames


def compare(
    desk: Desk, path: str | None, truth: str | None, names: tuple[str, str]
) -> tuple[tuple[str, str], list[list[str]], str]:
    """Two methods, models or classical ones, side by side; with a truth of the same size also their scores.

    -> (one, other) for the browser, rows of method, seconds and scores, facts.
    """
    picture = _in_srgb(desk.read(path))
    bright = _in_srgb(desk.read(truth)) if truth else None
    if bright is not None and bright.rgb.shape != picture.rgb.shape:
        raise PictureError(f"the truth is {size_of(bright)}, the dark picture {size_of(picture)}: they must be alike")
    dark = picture if bright is not None else shrunk(picture, PREVIEW)
    shown, rows = [], []
    for name in names:
        result, seconds = _timed(lambda name=name: _by(desk, name, dark))  # type: ignore[misc]
        shown.append(browser_file(desk, result, name.replace(" ", "-")))
        rows.append([name, seconds, *([] if bright is None else _scores(result, bright))])
    return (shown[0], shown[1]), rows, facts(size_of(dark), "" if truth else "a preview, for there is no truth")


def score_titles() -> list[str]:
    """Of the columns that a truth adds."""
    return [m.title for m in MEASURES if m.space == "srgb"] + ["PSNR GT-mean"]


def _in_srgb(picture: Picture) -> Picture:
    return replace(picture, rgb=srgb_of(picture)[0], icc=None)


def _by(desk: Desk, name: str, dark: Picture) -> Picture:
    if name not in BASELINES:
        return Wanted(name).of(desk, dark)
    result = BASELINES[name](torch.from_numpy(dark.rgb).movedim(-1, 0))
    return replace(dark, rgb=result.movedim(0, -1).contiguous().numpy())


def _scores(result: Picture, truth: Picture) -> list[str]:
    pictures = [torch.from_numpy(p.rgb).movedim(-1, 0)[None] for p in (result, truth)]
    scored = score(picture_views(*pictures))
    names = [*(m.name for m in MEASURES if m.space == "srgb"), "psnr_gt_mean"]
    return [f"{scored[name][1].item():.{scored[name][0].digits}f}" for name in names]


def batch(desk: Desk, paths: list[str] | None, wanted: Wanted) -> Iterator[tuple[list[list[str]], str | None]]:
    """Rows of (file, state) after every picture, at the end with a zip of the results; a broken one is a row."""
    paths = list(paths or ())
    if not paths:
        raise PictureError("no pictures yet: drop some")
    if len(paths) > desk.limits.batch:
        raise PictureError(f"{len(paths)} pictures, at most {desk.limits.batch} are taken at a time")
    rows = [[Path(path).name, "waits"] for path in paths]
    archive = desk.place("bright.zip")
    done = 0
    with zipfile.ZipFile(archive, "w") as bundle:
        for row, path in zip(rows, paths, strict=True):
            row[1] = "works"
            yield rows, None
            try:
                bright, seconds = _timed(lambda path=path: wanted.of(desk, desk.read(path)))  # type: ignore[misc]
                target, notes = _written(desk, Path(path), bright)
                bundle.write(target, f"{done + 1:03}-{target.name}")
                done, row[1] = done + 1, facts("done", seconds, notes=notes)
            except (ValueError, OSError, MemoryError, RuntimeError) as error:
                row[1] = f"failed: {plain(error, path)}"
    yield rows, str(archive) if done else None


def expose(
    desk: Desk, path: str | None, stops: float, automatic: bool, camera: str | None, iso: float | None
) -> tuple[tuple[str, str], list[str], str]:
    """A raw file exposed longer: (dark, bright) for the browser, a DNG and a 16-bit PNG, facts."""
    upload = desk.checked(path)
    if not is_raw(upload):
        raise PictureError(f"{upload.name}: not a raw file; the Photo tab takes pictures")
    model = desk.raw_models[0] if desk.raw_models else DEFAULT_RAW_MODEL
    ratio = None if automatic else 2.0**stops
    told = {"ratio": ratio, "camera": camera or None, "iso": iso or None, "device": desk.device, "dtype": desk.dtype}
    exposed, seconds = _timed(lambda: enhance_raw(upload, model, **told))  # type: ignore[arg-type]
    files = [desk.place(f"{upload.stem}-long{suffix}") for suffix in (".dng", ".png")]
    for file in files:
        exposed.save(file)
    return (
        _both(desk, read_developed(upload), exposed.picture()),
        [str(file) for file in files],
        facts(str(exposed), seconds),
    )


def plain(error: BaseException, path: str | None = None) -> str:
    """The first line of what went wrong, with the upload's own name in the place of its path here."""
    text = (str(error).splitlines() or [type(error).__name__])[0]
    return text.replace(str(path), Path(path).name) if path else text


def _timed(work: Callable[[], Any]) -> tuple[Any, str]:
    began = time.perf_counter()
    result = work()
    return result, f"{time.perf_counter() - began:.2f} s"


def _both(desk: Desk, dark: Picture, bright: Picture) -> tuple[str, str]:
    return browser_file(desk, dark, "dark"), browser_file(desk, bright, "bright")


def _written(desk: Desk, upload: Path, bright: Picture) -> tuple[Path, tuple[str, ...]]:
    """In the format and depth that came; what only can be read, raw files too, becomes a PNG."""
    suffix = upload.suffix if upload.suffix.lower() in FORMATS else ".png"
    target = desk.place(f"{upload.stem}-bright{suffix}")
    return target, write_picture(target, bright)
