"""What an actor of `lowlight enhance --cluster` does: fetch pictures, enhance them as one machine would, put them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from ..cluster.actors import Work
from ..cluster.rounds import Outcome
from ..cluster.stores import Store
from ..memory import keep_freed
from .enhancing import Request, reader_of
from .jobs import Job, PlanError
from .pipeline import Opened, Read, Write, run_all
from .reports import Report

# key of an outcome's facts: why no picture at all can be made here
REFUSED = "refused"


def version() -> str:
    """This package's, which is to be the same on all machines."""
    try:
        return metadata.version("lowlight-ext")
    except metadata.PackageNotFoundError:
        return "that is not installed"


class Words(NamedTuple):
    """A picture as an actor is told of it: the store's address and the name in it, or "" and a path."""

    store: str
    name: str
    target: str


class Place(NamedTuple):
    """Where a picture is while it is worked on, which for what every machine sees is where it stays."""

    words: Words
    job: Job
    source: Store | None
    put: bool


@dataclass(frozen=True)
class Making:
    """Makes an actor's work. raws, total: as reader_of has them. mark: a file that stands in the output by now."""

    request: Request
    raws: int
    total: int
    output: str
    mark: str
    cpus: int
    version: str

    def __call__(self) -> Work:
        import torch

        keep_freed()
        torch.set_num_threads(self.cpus)
        said: list[str] = []
        try:
            output = self._output()
            read = reader_of(self.request, self.raws, self.total, said.append)
        except (PlanError, OSError) as error:
            reason = str(error)
            return lambda batch: [Outcome(n, reason, "", {REFUSED: True}) for n in range(len(batch))]
        return _Worker(output, read, said)

    def _output(self) -> Store:
        if (ours := version()) != self.version:
            raise PlanError(f"this machine has a lowlight-ext {ours}, and the one that asks {self.version}")
        output = Store(self.output)
        if output.stamp(self.mark) is None:
            raise PlanError(
                f"{output.shown} is not the same folder here as on the machine that asks: the output has to be on a "
                "file system which all machines share, or have an address such as s3://BUCKET/FOLDER"
            )
        return output


class _Worker:
    def __init__(self, output: Store, read: Read, said: list[str]):
        self._output, self._read, self._said = output, read, said
        # few: the folders that were named on the command line
        self._stores = lru_cache(maxsize=None)(Store)

    def __call__(self, batch: Sequence[str]) -> Iterator[Outcome]:
        """In their order. What runs out of a reader is its picture's failure, whatever it is, and those that follow it
        are left to another try."""
        with TemporaryDirectory(prefix="lowlight-") as folder:
            places = [self._place(Path(folder, str(n)), Words(*json.loads(words))) for n, words in enumerate(batch)]
            by_job = {place.job: place for place in places}
            reports: list[Report] = []
            try:
                run_all(by_job, lambda job: self._opened(by_job[job]), reports.append, overlap=len(places) > 1)
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                reports += [Report(str(p.job.source), None, "failed", reason) for p in places[len(reports) :]]
            for n, (place, report) in enumerate(zip(places, reports, strict=True)):
                yield Outcome(n, report.error and _told(report.error, place), "", self._facts(place, report))

    def _place(self, folder: Path, words: Words) -> Place:
        store = self._stores(words.store) if words.store else None
        source, target = Path(words.name), Path(self._output.local or folder / "out", words.target)
        if store is not None:
            source = folder / "in" / source.name
        if self._output.local is None:
            # the name alone: folders in it are the store's
            target = folder / "out" / target.name
        return Place(words, Job(source, target), store, self._output.local is None)

    def _opened(self, place: Place) -> Opened:
        job = place.job
        if place.source is not None:
            data = place.source.read(place.words.name)
            job.source.parent.mkdir(parents=True)
            job.source.write_bytes(data)
        opened = self._read(job)
        if not place.put:
            return opened

        def compute() -> Write:
            write = opened.compute()

            def put() -> tuple[str, ...]:
                notes = write()
                self._output.write(place.words.target, job.target.read_bytes())
                return notes

            return put

        return opened._replace(compute=compute)

    def _facts(self, place: Place, report: Report) -> dict[str, object]:
        said, self._said = self._said, []
        facts = {key: value for key, value in report.facts().items() if key not in ("source", "target", "error")}
        return facts | {"notes": [_told(note, place) for note in report.notes], "said": said}


def _told(text: str, place: Place) -> str:
    """Without the name of a file that is gone when it is read."""
    if place.source is None:
        return text
    return text.replace(f"{place.job.source}", place.source.path(place.words.name))
