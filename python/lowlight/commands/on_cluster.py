"""`lowlight enhance --cluster`: what is left to do, by the manifest in the output's folder, and Ray to do it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..cluster.actors import ClusterError, Crew, attempt, check_ray, crew_of, joined
from ..cluster.manifest import Picture, Record, read_manifest
from ..cluster.rounds import Outcome, in_rounds
from ..cluster.stores import StoreError
from ..raw.develop import is_raw
from .addresses import Addresses
from .cluster_worker import REFUSED, Making, version
from .enhancing import Request
from .jobs import Job, Plan, PlanError, plan
from .reports import Report, Reporter
from .terminal import Bar

_DEVICES = {None: None, "cpu": False, "cuda": True}


class Mission:
    """One command's work: where it goes, what is left of it, and who does it.

    Raises PlanError for options that do not fit, and where Ray is not installed.
    """

    def __init__(self, address: str, cpus: int, request: Request, output: str | None, devices: str | None):
        if devices is not None:
            raise PlanError("--devices is for one machine; --cluster takes all GPUs that the cluster has, or its cores")
        if request.device not in _DEVICES:
            raise PlanError(f"--device is cpu or cuda with --cluster, got {request.device}")
        if request.engine == "auto":
            raise PlanError("--engine auto is what each machine measured for itself; with --cluster name the engine")
        if output is None:
            raise PlanError("--cluster needs an output folder, --output, for the results and their manifest")
        try:
            check_ray()
        except ClusterError as error:
            raise PlanError(str(error)) from None
        self._address, self._cpus = address, cpus
        self._request, content = _everywhere(request)
        self.places = Addresses(output)
        self._pictures: dict[Job, Picture] = {}
        self._asked = _options(request) | content
        # of which each line of the manifest has this
        self._options = sha256(json.dumps(self._asked, sort_keys=True).encode()).hexdigest()[:12]

    def plan(self, inputs: list[str], **how: Any) -> Plan:
        """As jobs.plan has it. Raises PlanError where the output is one file."""
        made = plan(inputs, self.places.folder, look=self.places.look, **how)
        if any(job.target == Path(self.places.folder) for job in made.jobs):
            raise PlanError(f"--cluster needs an output folder, and {self.places.folder} is a file's name")
        return made

    def left(self, jobs: Sequence[Job], overwrite: bool) -> tuple[list[Job], list[str]]:
        """The jobs to be done, and sentences on why and on what was found. Raises PlanError.

        Done is what exists and was made of the source as it is now, by these options, as the manifest has it. What the
        manifest has otherwise is made anew: it is this command's own, of something else. What exists and is in no
        manifest is somebody's, and stays.
        """
        output = self.places.output
        try:
            there = output.entries()
            manifest = read_manifest(output, there)
        except StoreError as error:
            raise PlanError(str(error)) from None
        self._pictures = {job: self.places.picture(job) for job in jobs}
        todo, anew, strange = [], 0, 0
        for job, picture in self._pictures.items():
            if overwrite or picture.target not in there:
                todo.append(job)
            elif manifest.knows(picture.target):
                if not manifest.done(picture, self._options):
                    todo.append(job)
                    anew += 1
            else:
                strange += 1
        said = [*manifest.unread]
        if anew:
            said.append(f"{anew} of the results are made anew: their sources or the options are others than before")
        if strange:
            said.append(f"{strange} of the results are there and in no manifest, and stay as they are")
        return todo, said

    def run(self, todo: Sequence[Job], reporter: Reporter, bar: Bar) -> None:
        """Raises PlanError where no picture can be made, or none any more."""
        try:
            with joined(self._address):
                crew = crew_of(self._cpus, _DEVICES[self._request.device])
                if not (reporter.voice.quiet or reporter.voice.json):
                    bar.say(f"Ray: {_count(crew.workers, 'worker')} on {_count(crew.machines, 'machine')}")
                record = Record(self.places.output, {"lowlight": version(), "options": self._asked})
                try:
                    self._carry_out(todo, crew, record, reporter, bar)
                finally:
                    record.close()
        except (ClusterError, StoreError) as error:
            raise PlanError(str(error)) from None

    def _carry_out(self, todo: Sequence[Job], crew: Crew, record: Record, reporter: Reporter, bar: Bar) -> None:
        raws = sum(is_raw(job.source) for job in todo)
        request = replace(self._request, device="cuda" if crew.gpus else "cpu")
        output = self.places.output.address
        if self.places.output.local is not None:
            output = str(self.places.output.local)
        making = Making(request, raws, len(todo), output, record.name, crew.cpus, version())
        said: set[str] = set()

        def words(item: int) -> str:
            return json.dumps(self.places.words(todo[item]))

        def one_round(items: Sequence[int], together: int) -> Iterable[Outcome]:
            for outcome in attempt(items, together, words, making, crew):
                if REFUSED in outcome.facts:
                    raise PlanError(f"{outcome.worker}: {outcome.error}")
                for line in outcome.facts.pop("said"):
                    if line not in said:
                        said.add(line)
                        bar.say(line)
                yield outcome

        for outcome, before in in_rounds(len(todo), crew.together(len(todo)), one_round):
            job = todo[outcome.item]
            report = self._report(job, outcome)
            workers = {"workers": [*before, outcome.worker]}
            record.add(self._pictures[job], self._options, _kept(report) | workers)
            reporter(report)
            bar.advance()

    def _report(self, job: Job, outcome: Outcome) -> Report:
        source, target = self.places.shown(job)
        report = Report(source, target, "enhanced" if outcome.error is None else "failed", outcome.error)
        facts = outcome.facts | {"notes": tuple(outcome.facts.get("notes", ()))}
        return report._replace(**{key: value for key, value in facts.items() if key != "status"})


def _kept(report: Report) -> dict[str, Any]:
    return {key: value for key, value in report.facts().items() if key not in ("source", "target")}


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _options(request: Request) -> dict[str, Any]:
    """All that decides what a picture becomes, as far as it was given. The device is not asked for but found."""
    told = {**asdict(request), **asdict(request.raw)}
    del told["raw"], told["device"]
    return {key: value for key, value in told.items() if value not in (None, False, {})}


def _everywhere(request: Request) -> tuple[Request, dict[str, str]]:
    """The same with files by their whole paths, for workers in other folders, and what is in them."""
    found: dict[str, str] = {}

    def whole(key: str, name: str | None) -> str | None:
        if name is None or name == "default" or not Path(name).exists():
            return name
        path = Path(name).resolve()
        content = sha256()
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                content.update(file.read_bytes())
        found[f"content of {key}"] = content.hexdigest()[:12]
        return str(path)

    raw = request.raw
    raw = replace(raw, camera=whole("camera", raw.camera), ratio_from=whole("ratio_from", raw.ratio_from))
    return replace(request, model=whole("model", request.model) or "default", raw=raw), found
