"""The door to videos: a clip or a folder of numbered pictures in, the same kind bright out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checkpoints import chosen_system
from ..files.atomic import check_way
from ..files.formats import PictureError
from ..systems.base import picture_system
from .clips import Clip
from .pictures import PictureFilm
from .steady import AVERAGE, SETTLE, Steady
from .work import Film, WorkFolder, brighten
from .writing import CRF, ClipFilm

if TYPE_CHECKING:
    import torch

    from ..systems.base import System

FPS = 25.0


@dataclass
class Outcome:
    """frames that were written, 0 where the target was there; notes for the user; pictures that could not be read."""

    frames: int
    notes: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def enhance_video(
    source: str | os.PathLike,
    target: str | os.PathLike,
    model: str | os.PathLike | System = "default",
    *,
    average: int = AVERAGE,
    settle: float = SETTLE,
    crf: int = CRF,
    fps: float = FPS,
    overwrite: bool = False,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    engine: str = "torch",
    precision: str | None = None,
    advance: Callable[[int, int], None] = lambda done, total: None,
    **told: Any,
) -> Outcome:
    """The bright video of a dark one: a file of a file, a folder of a folder of numbered pictures.

    What does not move is averaged over up to `average` frames, exposure settles in `settle` seconds (0: each frame's
    own), the noise of the diffusion is the same in every frame. Of a file sound, time stamps, rotation, colour tags,
    bit depth and names are kept; H.264 with constant rate factor crf, in .mp4, .mov or .mkv; `[video]` extra. Of a
    folder all that lowlight.enhance keeps; fps: pictures a second, which settling is counted in.
    device, dtype, engine, precision: as lowlight.load takes them, for a model by name.
    told: brightness, saturation, strength, steps, seed ... of lowlight.enhance. advance(done, total): after every
    frame, total 0 where the file does not say it.
    What is interrupted goes on with the same arguments, to the same file: TARGET.parts holds what is done. A target
    that is there is left alone without `overwrite`.
    Raises ValueError (PictureError for what cannot be read or written), OSError, and TypeError for an unknown option.
    """
    source, target = Path(source), Path(target)
    check_way(target)
    parts = target.with_name(f"{target.name}.parts")
    if not overwrite and not parts.exists() and target.is_file():
        return Outcome(0)
    film: Film
    if source.is_dir():
        film = PictureFilm(source, target, Fraction(fps).limit_denominator(1000))
        there = [path for path in film.targets() if path.exists()]
        if not overwrite and not parts.exists() and there:
            if len(there) == film.total:
                return Outcome(0)
            raise PictureError(
                f"{target} holds {len(there)} of the pictures, from another run: overwrite, or move them"
            )
    else:
        film = ClipFilm(Clip.of(source), target, crf)
    system = picture_system(chosen_system(model, device, dtype, engine, precision))
    steady = Steady(system, average=average, settle=settle, **told)
    facts = {"source": _stamp(source), "model": _name(model), "average": average, "settle": settle}
    facts |= {
        "dtype": str(system.dtype),
        "engine": engine,
        "told": {k: repr(v) for k, v in told.items()},
        **film.settings,
    }
    done = 0

    def one(more: int) -> None:
        nonlocal done
        done += more
        advance(done, film.total)

    with WorkFolder(parts, facts) as work:
        frames = brighten(film, steady, work, one)
    return Outcome(frames, film.notes, film.failed)


def _stamp(path: Path) -> list[Any]:
    """What tells a file from another of its name; a folder's pictures have their names."""
    facts = path.stat()
    return [str(path.resolve()), *([] if path.is_dir() else [facts.st_size, facts.st_mtime_ns])]


def _name(model: str | os.PathLike | System) -> list[Any]:
    if not isinstance(model, str | os.PathLike):
        return [type(model).__name__]
    path = Path(model)
    return _stamp(path) if path.is_file() else [str(model)]
