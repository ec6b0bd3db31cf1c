"""What `lowlight enhance` does to each file: raw files by the raw model, pictures by the one of pictures."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..raw.develop import is_raw
from .jobs import Job, PlanError
from .pipeline import Opened, Read, Write
from .raw_options import RawOptions, check_unused, raw_work

if TYPE_CHECKING:
    from ..systems.base import PictureSystem, System

# torch is imported inside the functions: `lowlight --help` must not wait for it

Say = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What the command line asks of all files, wherever they are worked on. told: what a model's file may not say."""

    model: str = "default"
    device: str | None = None
    dtype: str | None = None
    told: dict[str, bool | None] = field(default_factory=dict)
    raw: RawOptions = field(default_factory=RawOptions)
    wish: dict[str, Any] = field(default_factory=dict)
    steps: int | None = None
    seed: int = 0
    quality: int | None = None
    engine: str = "torch"
    precision: str | None = None

    def load(self, name: str, say: Say) -> System:
        """Raises PlanError for what keeps a model from being loaded."""
        from ..checkpoints import load_system

        try:
            with warnings.catch_warnings(record=True) as notes:
                warnings.simplefilter("always")
                how: dict[str, Any] = {"engine": self.engine, "precision": self.precision, **self.told}
                system = load_system(name, device=self.device, dtype=self.dtype, **how)
        # TypeError: something told of a system that has none of it
        except (ValueError, TypeError, OSError) as error:
            raise PlanError(str(error)) from None
        for note in notes:
            say(str(note.message))
        return system


def reader_of(request: Request, raws: int, total: int, say: Say) -> Read:
    """What begins with each job, all models loaded that `raws` raw files of `total` files are known to need.

    A named model of pictures does raw files too, developed before; one for raw leaves pictures to the default model.
    Raises PlanError for options that do not fit and a model that cannot be loaded.
    """
    from ..shipped import DEFAULT_RAW_MODEL
    from ..systems.base import RawSystem, raw_system

    named = None if request.model == "default" else request.load(request.model, say)
    if named is not None and not isinstance(named, RawSystem):
        check_unused(named, request.raw)
        return _pictures(named, request)
    pictures = lru_cache(maxsize=1)(lambda: _default_pictures(request, say))
    if named is None and not raws:
        if given := request.raw.given():
            say(f"no raw file here: {', '.join(given)} made no difference")
        return pictures()
    wish = " and --".join(request.wish)
    if wish and raws in (0, total):
        raise PlanError(f"for pictures alone: --{wish}; raw files take --ratio")
    name = DEFAULT_RAW_MODEL if named is None else request.model
    raw = raw_work(
        raw_system(named or request.load(name, say)), request.raw, request.steps, request.seed, request.quality, name
    )
    if not raws:
        return raw
    if raws < total:
        pictures()
        if named is not None:
            say(f"pictures: by the default model, {request.model} is one for raw files")
        if wish:
            say(f"raw files: without --{wish}, which are for pictures")
    fallback = pictures if named is None and not request.raw.says_ratio() else None
    return lambda job: _raw(job, raw, fallback) if is_raw(job.source) else pictures()(job)


def _default_pictures(request: Request, say: Say) -> Read:
    request = replace(request, model="default", told={})
    return _pictures(request.load("default", say), request)


def _pictures(system: System, request: Request) -> Read:
    from ..shipped import DEFAULT_MODEL
    from ..systems.base import picture_system

    _check_wish(system, request)
    told = {**request.wish, "steps": request.steps, "seed": request.seed}
    name = DEFAULT_MODEL if request.model == "default" else request.model
    return lambda job: _picture(job, picture_system(system), name, request.quality, **told)


def _check_wish(system: System, request: Request) -> None:
    """Raises PlanError for what would fail with every picture."""
    from ..systems.wish import Wish

    known, sampler = getattr(system, "samplers", ()), request.wish.get("sampler")
    if sampler not in (None, *known):
        raise PlanError(f"--sampler must be one of {', '.join(known)} with this model, got {sampler}")
    most = getattr(getattr(system, "config", None), "timesteps", None)
    if most is not None and request.steps is not None and request.steps > most:
        raise PlanError(f"--steps must lie in 1 .. {most} with this model, got {request.steps}")
    amounts = {"brightness": 0.0, "saturation": 1.0, "strength": 1.0}
    try:
        Wish.checked(**{name: request.wish.get(name, usual) for name, usual in amounts.items()})
    except ValueError as error:
        raise PlanError(str(error).replace("enhance: ", "--", 1)) from None


def _raw(job: Job, raw: Read, pictures: Callable[[], Read] | None) -> Opened:
    from ..raw.sensors import OtherSensorError

    try:
        return raw(job)
    except OtherSensorError as error:
        if pictures is None:
            raise
        reason = str(error).removeprefix(f"{job.source}: ")
    opened = pictures()(job)
    return opened._replace(notes=(f"developed and brightened as a picture: {reason}",))


def _picture(job: Job, system: PictureSystem, model: str, quality: int | None, **told: Any) -> Opened:
    from ..files.atomic import check_way, make_way
    from ..files.pictures import format_of, write_picture
    from ..systems.brighten import enhance_picture, read_any

    format_of(job.target)
    check_way(job.target)
    dark = read_any(job.source)

    def compute() -> Write:
        bright = enhance_picture(system, dark, **told)

        def write() -> tuple[str, ...]:
            make_way(job.target)
            return *bright.notes, *write_picture(job.target, bright, quality)

        return write

    height, width = dark.rgb.shape[:2]
    return Opened(width, height, model, str(system.device), compute)
