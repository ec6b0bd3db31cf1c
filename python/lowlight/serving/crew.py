"""Who does the work: a thread a device, which takes pictures in the order they came."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

from ..checkpoints import load_system
from ..files.formats import format_of
from ..files.pictures import encode, read_picture
from ..memory import give_back
from ..shipped import DEFAULT_MODEL
from ..systems.base import PictureSystem, picture_system
from ..systems.brighten import enhance_picture
from .gauges import Gauges
from .uploads import Refused, Upload
from .wanted import MEDIA_TYPES, Wanted

# formats that are only read, and a camera's name for several JPEG in one file
_WRITTEN_AS = {"GIF": "PNG", "MPO": "JPEG"}


class Answer(NamedTuple):
    """A picture's file, its media type and what the user should know of it."""

    data: bytes
    media_type: str
    notes: tuple[str, ...]


def load_models(
    names: Sequence[str],
    devices: Sequence[str],
    dtype: str | None = None,
    engine: str = "torch",
    precision: str | None = None,
) -> list[dict[str, PictureSystem]]:
    """The models of pictures by name, once a device; checkpoint files are called as their names without the extension.

    No name is the default model, no device the first GPU or the CPU. Raises what load_system raises, and ValueError for
    a model of raw and for two of one name.
    """
    files = [DEFAULT_MODEL if name == "default" else name for name in names or ["default"]]
    stems = [Path(file).stem if Path(file).is_file() else file for file in files]
    if len(set(stems)) < len(stems):
        raise ValueError(f"two models would have one name: {', '.join(stems)}")
    stations = []
    named: Sequence[str | None] = devices or [None]
    for device in dict.fromkeys(named):
        systems = (load_system(file, device=device, dtype=dtype, engine=engine, precision=precision) for file in files)
        stations.append(dict(zip(stems, map(picture_system, systems), strict=True)))
    return stations


class Crew:
    """stations: the loaded models of each device, a worker each. places: requests that may wait beside those in work.

    All but the work itself happens in the event loop's thread.
    """

    def __init__(self, stations: Sequence[Mapping[str, PictureSystem]], places: int, gauges: Gauges):
        self.models = list(stations[0])
        self.devices = [str(next(iter(station.values())).device) for station in stations]
        self.most = places + len(stations)
        self.inside = 0
        self._gauges = gauges
        self._usual = 1.0  # seconds a picture, of the last ones
        self._free: SimpleQueue[Mapping[str, PictureSystem]] = SimpleQueue()
        for station in stations:
            self._free.put(station)
        self._pool = ThreadPoolExecutor(len(stations), "lowlight-worker")

    @contextmanager
    def place(self) -> Iterator[None]:
        """One of the places, from before a picture arrives to its answer. Raises Refused (503) where all are taken."""
        if self.inside >= self.most:
            seconds = self._usual * self.inside / len(self.devices)
            raise Refused(503, f"all {self.most} places are taken, come again", min(60, math.ceil(seconds)))
        self.inside += 1
        self._gauges.taken.set(self.inside)
        try:
            yield
        finally:
            self.inside -= 1
            self._gauges.taken.set(self.inside)
            # the last one here: after its answer, which need not wait for it, and not where the crew is closed
            if not self.inside:
                with suppress(RuntimeError):
                    self._pool.submit(give_back)

    def begin(self, upload: Upload, format: str, wanted: Wanted) -> Future[Answer]:
        """The answer, later. Raises PictureError for a format that is not written here."""
        kind = _WRITTEN_AS.get(format, format) if wanted.format is None else format_of(f"answer.{wanted.format}")
        self._gauges.waiting.inc()
        return self._pool.submit(self._work, upload, kind, wanted)

    def drop(self, work: Future[Answer], upload: Upload) -> None:
        """Nobody waits any more: what has not been begun will not be, and keeps no memory until its turn."""
        if work.cancel():
            upload.data = b""
            self._gauges.waiting.dec()
            self._gauges.dropped.inc()

    def close(self, wait: bool = True) -> None:
        self._pool.shutdown(wait=wait, cancel_futures=True)

    def _work(self, upload: Upload, format: str, wanted: Wanted) -> Answer:
        self._gauges.waiting.dec()
        station, began = self._free.get(), time.perf_counter()
        try:
            system = station[wanted.model]
            told: dict[str, Any] = wanted.model_dump(exclude={"model", "format", "quality"})
            picture = read_picture(upload.name, upload.data)
            bright = enhance_picture(system, picture, **told)
            data, notes = encode(bright, format, wanted.quality)
            self._gauges.pixels.labels(wanted.model).inc(picture.rgb.shape[0] * picture.rgb.shape[1])
            return Answer(data, MEDIA_TYPES[format], (*bright.notes, *notes))
        finally:
            self._free.put(station)
            seconds = time.perf_counter() - began
            self._usual += (seconds - self._usual) / 8
            self._gauges.work.labels(wanted.model).observe(seconds)
