"""Inputs and outputs of `lowlight enhance --cluster`, which may have addresses such as s3://BUCKET/FOLDER."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from ..cluster.manifest import Picture
from ..cluster.stores import Stamp, Store, StoreError, is_address
from . import jobs
from .cluster_worker import Words
from .jobs import Job, PlanError
from .listing import taken


class _Place(NamedTuple):
    store: Store
    name: str
    stamp: Stamp


class Addresses:
    """Plans speak of paths: this knows which path stands for which address.

    folder: of the results, as a plan is told of it; output: the same as a store. Raises PlanError for no such store.
    """

    def __init__(self, output: str):
        try:
            self.output = Store(output)
        except StoreError as error:
            raise PlanError(str(error)) from None
        if is_address(output):
            # a folder, whatever its name looks like
            self.folder = f"{self.output.shown}/"
        else:
            self.folder = output
        self._sources: dict[Path, _Place] = {}

    def look(
        self, entry: str, recursive: bool, output: Path | None, left_out: Counter[str]
    ) -> tuple[list[tuple[Path, Path]], str | None]:
        """As jobs.look, at addresses too."""
        if not is_address(entry):
            return jobs.look(entry, recursive, output, left_out)
        try:
            store = Store(entry)
            if store.local is not None:
                return jobs.look(str(store.local), recursive, output, left_out)
            kind = store.kind()
            if kind == "folder":
                return self._below(store, recursive, left_out), jobs.nothing_in_folder(recursive)
            if kind == "file":
                folder, name = store.split()
                return [self._keep(folder, name, folder.stamp(name) or Stamp(0, 0))], None
        except StoreError as error:
            return [], str(error).removeprefix(f"{entry}: ")
        return [], "no such file or folder"

    def _below(self, store: Store, recursive: bool, left_out: Counter[str]) -> list[tuple[Path, Path]]:
        found: dict[Path, Path] = {}
        for name, stamp in sorted(store.entries(recursive).items()):
            hidden = any(part.startswith(".") for part in name.split("/"))
            if not hidden and not store.path(name).startswith(f"{self.output.shown}/"):
                found.update([self._keep(store, name, stamp)])
        return [(path, found[path]) for path in taken([*found], left_out)]

    def _keep(self, store: Store, name: str, stamp: Stamp) -> tuple[Path, Path]:
        path = Path(store.path(name))
        self._sources[path] = _Place(store, name, stamp)
        return path, Path(name)

    def target(self, job: Job) -> str:
        """Its name in the output."""
        return job.target.relative_to(self.folder).as_posix()

    def picture(self, job: Job) -> Picture:
        """As the manifest knows it: the source by a name that means the same on every machine."""
        place = self._sources.get(job.source)
        if place is not None:
            return Picture(place.store.path(place.name), place.stamp, self.target(job))
        try:
            found = os.stat(job.source)
            stamp = Stamp(found.st_size, found.st_mtime_ns)
        except OSError:
            # whoever reads it says why not
            stamp = Stamp(0, 0)
        return Picture(os.path.abspath(job.source), stamp, self.target(job))

    def words(self, job: Job) -> Words:
        """As a worker is told of it."""
        place = self._sources.get(job.source)
        if place is not None:
            return Words(place.store.address, place.name, self.target(job))
        return Words("", os.path.abspath(job.source), self.target(job))

    def shown(self, job: Job) -> tuple[str, str]:
        """Source and target for people: as they were typed."""
        place = self._sources.get(job.source)
        source = str(job.source) if place is None else place.store.path(place.name)
        return source, str(job.target) if self.output.local else self.output.path(self.target(job))
