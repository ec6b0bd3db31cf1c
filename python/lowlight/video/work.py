"""A film brightened frame after frame, segment after segment: what is done stays done when it is interrupted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..files.atomic import write_atomically
from ..files.formats import PictureError
from .steady import Steady

SEGMENT = 32  # frames that an interruption costs at most
_STATE = "state.safetensors"


class Film(Protocol):
    """What is read frame by frame, and where the bright frames go."""

    suffix: str  # of segments
    total: int  # frames, 0 if not known
    position: int  # of the frame that was read last, counted from 1
    notes: list[str]
    failed: list[str]  # frames that could not be read, each in a sentence
    settings: dict[str, Any]  # that segments written before must share

    def frames(self, skip: int) -> Iterator[tuple[Tensor, float, Any]]:
        """(picture [3, H, W] in [0, 1], time in seconds, ticket) of all after position `skip`."""

    def segment(self, path: Path) -> AbstractContextManager[Callable[[Tensor, Any], None]]:
        """write(bright picture, ticket) for a segment that is at `path` when the context ends without an error."""

    def join(self, segments: list[Path], scratch: Path) -> None:
        """The target of all segments, by way of a file `scratch`."""


class Begun(NamedTuple):
    """What is done: segments, the position after them, frames written, frames that failed, the state of the Steady."""

    segments: int = 0
    position: int = 0
    frames: int = 0
    failed: tuple[str, ...] = ()
    state: Mapping[str, Tensor] = {}


class WorkFolder:
    """Segments and the state after the last of them, in a folder that goes when the film is done.

    told: all that decides what the frames look like; what was left with other settings is deleted.
    """

    def __init__(self, path: Path, told: Mapping[str, Any]):
        """Raises PictureError where another process works in it."""
        self._path, self._told = path, json.dumps(told, sort_keys=True)
        path.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(path / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise PictureError(f"{path} belongs to another process that goes on: wait for it, or stop it") from None

    def __enter__(self) -> WorkFolder:
        return self

    def __exit__(self, *_: Any) -> None:
        self._lock.release()
        if not (self._path / _STATE).exists():
            shutil.rmtree(self._path, ignore_errors=True)

    def begun(self) -> Begun:
        """Where the last run was, with the same settings; what another one left is deleted."""
        try:
            with safe_open(self._path / _STATE, framework="pt") as file:
                known = file.metadata()
                if known["told"] == self._told:
                    state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                    return Begun(**json.loads(known["done"]), state=state)
        except (OSError, SafetensorError, KeyError):
            pass
        for left in self._path.iterdir():
            if left.name != ".lock":
                left.unlink()
        return Begun()

    def segment(self, number: int, suffix: str) -> Path:
        return self._path / f"{number:06}{suffix}"

    def save(self, done: Begun) -> None:
        numbers = {name: value for name, value in done._asdict().items() if name != "state"}
        known = {"told": self._told, "done": json.dumps(numbers)}
        write_atomically(self._path / _STATE, save(dict(done.state), known), durable=True)

    def delete(self) -> None:
        self._lock.release()
        shutil.rmtree(self._path, ignore_errors=True)


def brighten(film: Film, steady: Steady, work: WorkFolder, advance: Callable[[int], None]) -> int:
    """Brings the film to its target; how many frames that were. advance(n): n more frames are done."""
    begun = work.begun()
    if begun.state:
        steady.restore(begun.state)
    film.failed += begun.failed
    advance(begun.position)
    segments, count = begun.segments, begun.frames
    frames = film.frames(begun.position)
    for first in frames:
        with film.segment(work.segment(segments, film.suffix)) as write:
            for picture, seconds, ticket in _with(first, frames):
                write(steady(picture, seconds), ticket)
                count += 1
                advance(1)
        segments += 1
        work.save(Begun(segments, film.position, count, tuple(film.failed), steady.state()))
    if not segments:
        raise PictureError(film.failed[0] if film.failed else "no frame of it can be read")
    film.join([work.segment(number, film.suffix) for number in range(segments)], work.segment(0, ".joined"))
    work.delete()
    return count


def _with(first: Any, more: Iterator[Any]) -> Iterator[Any]:
    """A segment: the first frame and those that follow."""
    yield first
    yield from islice(more, SEGMENT - 1)
