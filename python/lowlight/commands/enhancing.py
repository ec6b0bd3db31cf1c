"""One file of `lowlight enhance` after another: raw files by the raw model, pictures by the one of pictures."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from ..raw.develop import is_raw
from .jobs import Job, PlanError
from .raw_options import RawOptions, check_unused, raw_work

if TYPE_CHECKING:
    from ..systems.base import PictureSystem, System

Work = Callable[[Job], tuple[str, ...]]  # reads, enhances, writes; returns notes for the user

# torch is imported inside the functions: `lowlight --help` must not wait for it


class Loader(NamedTuple):
    """Loads models as the command line says; what keeps one from being loaded is an error of the command line's."""

    device: str | None
    dtype: str | None
    told: dict[str, bool | None]  # of what a file may not say
    engine: str = "torch"
    precision: str | None = None

    def __call__(self, name: str) -> System:
        from ..checkpoints import load_system

        try:
            with warnings.catch_warnings(record=True) as notes:
                warnings.simplefilter("always")
                how: dict[str, Any] = {"engine": self.engine, "precision": self.precision, **self.told}
                system = load_system(name, device=self.device, dtype=self.dtype, **how)
        # TypeError: something told of a system that has none of it
        except (ValueError, TypeError, OSError) as error:
            raise typer.BadParameter(str(error)) from None
        for note in notes:
            typer.echo(note.message, err=True)
        return system


def work_on(
    todo: list[Job],
    model: str,
    load: Loader,
    options: RawOptions,
    *,
    wish: dict[str, Any],
    steps: int | None,
    seed: int,
    quality: int | None,
) -> Work:
    """What becomes of each job, with all models loaded that they are known to need.

    A named model of pictures does raw files too, developed before; one for raw leaves pictures to the default model.
    Raises PlanError for options that do not fit, BadParameter for a model that cannot be loaded.
    """
    from ..shipped import DEFAULT_RAW_MODEL
    from ..systems.base import RawSystem, picture_system, raw_system

    raws = [job for job in todo if is_raw(job.source)]
    named = None if model == "default" else load(model)

    def brighten_by(system: System) -> Work:
        known = getattr(system, "samplers", ())
        if wish.get("sampler") not in (None, *known):
            raise PlanError(f"--sampler must be one of {', '.join(known)} with this model, got {wish['sampler']}")
        told = {**wish, "steps": steps, "seed": seed}
        return lambda job: _brighten(job, picture_system(system), quality, **told)

    if named is not None and not isinstance(named, RawSystem):
        check_unused(named, options)
        return brighten_by(named)
    pictures = lru_cache(maxsize=1)(lambda: brighten_by(load._replace(told={})("default")))
    if named is None and not raws:
        _say_unused(options)
        return pictures()
    if wish and len(raws) in (0, len(todo)):
        raise PlanError(f"--{' and --'.join(wish)} are for pictures; raw files take --ratio")
    raw = raw_work(raw_system(named or load(DEFAULT_RAW_MODEL)), options, steps, seed, quality)
    if not raws:
        return raw
    if len(raws) < len(todo):
        pictures()
        if named is not None:
            typer.echo(f"pictures: by the default model, {model} is one for raw files", err=True)
        if wish:
            typer.echo(f"raw files: without --{' and --'.join(wish)}, which are for pictures", err=True)
    fallback = pictures if named is None and not options.says_ratio() else None
    return lambda job: _raw(job, raw, fallback) if is_raw(job.source) else pictures()(job)


def _say_unused(options: RawOptions) -> None:
    if given := options.given():
        typer.echo(f"no raw file here: {', '.join(given)} made no difference", err=True)


def _raw(job: Job, raw: Work, pictures: Callable[[], Work] | None) -> tuple[str, ...]:
    from ..raw.files import OtherSensorError

    try:
        return raw(job)
    except OtherSensorError as error:
        if pictures is None:
            raise
        reason = str(error).removeprefix(f"{job.source}: ")
        return f"developed and brightened as a picture: {reason}", *pictures()(job)


def _brighten(job: Job, system: PictureSystem, quality: int | None, **told: Any) -> tuple[str, ...]:
    from ..files.pictures import format_of, write_picture
    from ..systems.brighten import enhance_picture, read_any

    format_of(job.target)
    bright = enhance_picture(system, read_any(job.source), **told)
    job.target.parent.mkdir(parents=True, exist_ok=True)
    return *bright.notes, *write_picture(job.target, bright, quality)
