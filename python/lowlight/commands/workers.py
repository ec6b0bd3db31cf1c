"""A process a device, each with a model of its own, which are handed the next pictures as they report the last."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, NamedTuple

from ..memory import keep_freed
from .enhancing import Request, Say, reader_of
from .jobs import Job, PlanError
from .pipeline import AHEAD, BEHIND, run_all
from .reports import Report

# jobs in a worker's hands: enough that it need not wait for the next
_FLYING = AHEAD + BEHIND + 2
_PATIENCE = 20.0  # seconds that workers have to finish what they write, after Ctrl-C


class _Ready(NamedTuple):
    """A worker's first message: what it says of its models, or why it cannot work."""

    said: list[str]
    refusal: str | None = None


@dataclass
class _Worker:
    """One as the parent sees it."""

    device: str
    process: SpawnProcess
    connection: Connection
    flying: deque[Job] = field(default_factory=deque)
    told_all: bool = False

    def ended(self) -> str:
        self.process.join(_PATIENCE)
        return f"the worker on {self.device} ended (exit code {self.process.exitcode})"


def parse_devices(text: str) -> list[str]:
    """Names of devices from "cuda:0,cuda:1", "cpu" or "all" (every GPU). Raises PlanError for what is not there."""
    import torch

    from ..checkpoints import parse_device

    names = [name.strip() for name in text.split(",")]
    if names == ["all"]:
        names = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
        if not names:
            raise PlanError(f"--devices all means every GPU, and torch {torch.__version__} sees none")
    if not all(names):
        raise PlanError(f"--devices takes names with commas between them, such as cuda:0,cuda:1, or all, got {text!r}")
    try:
        return [str(parse_device(name)) for name in names]
    except ValueError as error:
        raise PlanError(str(error)) from None


def run_on(
    devices: list[str], jobs: list[Job], request: Request, raws: int, report: Callable[[Report], None], say: Say
) -> None:
    """A report on every job, as they are done; CPU threads are shared among the workers.

    A worker that dies takes the pictures in its hands with it, which fail; the others go on. On Ctrl-C each finishes
    what it writes. Raises PlanError as reader_of, before the first picture.
    """
    with _crew(devices, request, raws, len(jobs)) as crew:
        try:
            _greet(crew, say)
            _hand_out(crew, deque(jobs), report)
        except KeyboardInterrupt:
            _interrupt(crew, report)
            raise


@contextmanager
def _crew(devices: list[str], request: Request, raws: int, total: int) -> Iterator[list[_Worker]]:
    import torch

    context = multiprocessing.get_context("spawn")
    threads = max(1, torch.get_num_threads() // len(devices))
    crew = []
    # a child takes over what is ignored: Ctrl-C finds it deaf until it has its own way of hearing it
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for device in devices:
            ours, theirs = context.Pipe()
            told = (theirs, replace(request, device=device), raws, total, threads)
            process = context.Process(target=_work, args=told, daemon=True)
            process.start()
            # so that its end is seen here
            theirs.close()
            crew.append(_Worker(device, process, ours))
    finally:
        signal.signal(signal.SIGINT, heard)
    try:
        yield crew
    finally:
        for worker in crew:
            worker.connection.close()
            worker.process.join(1)
            worker.process.terminate()


def _greet(crew: list[_Worker], say: Say) -> None:
    for worker in crew:
        try:
            ready: _Ready = worker.connection.recv()
        except EOFError:
            raise PlanError(f"{worker.ended()} before it was ready") from None
        if ready.refusal is not None:
            raise PlanError(f"{worker.device}: {ready.refusal}")
        if worker is crew[0]:
            for line in ready.said:
                say(line)


def _hand_out(crew: list[_Worker], jobs: deque[Job], report: Callable[[Report], None]) -> None:
    alive = {worker.connection: worker for worker in crew}
    why = ""
    while alive:
        for worker in alive.values():
            _feed(worker, jobs)
        for ready in wait([*alive]):
            worker = alive[ready]  # type: ignore[index]
            try:
                one = _next_report(worker)
            except (EOFError, ConnectionError):
                del alive[worker.connection]
                if worker.flying or not worker.told_all:
                    why = worker.ended()
                for job in worker.flying:
                    report(Report(str(job.source), str(job.target), "failed", why, device=worker.device))
                worker.flying.clear()
            else:
                report(one)
    for job in jobs:
        report(Report(str(job.source), str(job.target), "failed", f"no worker is left: {why}"))


def _feed(worker: _Worker, jobs: deque[Job]) -> None:
    """As many jobs as it may have in its hands; None is the end. A dead one is noticed where reports are awaited."""
    with suppress(ConnectionError):
        while jobs and len(worker.flying) < _FLYING:
            worker.connection.send(jobs[0])
            worker.flying.append(jobs.popleft())
        if not jobs and not worker.told_all:
            worker.connection.send(None)
            worker.told_all = True


def _next_report(worker: _Worker) -> Report:
    # reports come in the order of the jobs
    report: Report = worker.connection.recv()
    worker.flying.popleft()
    return report


def _interrupt(crew: list[_Worker], report: Callable[[Report], None]) -> None:
    """Ctrl-C for those who did not hear it at the terminal; what they still write is reported."""
    deadline = time.monotonic() + _PATIENCE
    for worker in crew:
        # nothing in its hands: it may not hear anything yet
        if os.name != "nt" and worker.process.is_alive() and worker.flying:
            os.kill(worker.process.pid or 0, signal.SIGINT)
    for worker in crew:
        with suppress(EOFError, OSError):
            while worker.flying and worker.connection.poll(max(0.0, deadline - time.monotonic())):
                report(_next_report(worker))


def _work(connection: Connection, request: Request, raws: int, total: int, threads: int) -> None:
    """A worker's whole life."""
    import torch

    keep_freed()
    torch.set_num_threads(threads)
    said: list[str] = []
    try:
        read = reader_of(request, raws, total, said.append)
    except PlanError as error:
        connection.send(_Ready(said, str(error)))
        return

    def interrupt(number: int, frame: Any) -> None:
        # once: from the terminal and from the parent it may come twice
        signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    # the parent is gone, or has had enough
    with suppress(KeyboardInterrupt, EOFError, ConnectionError):
        connection.send(_Ready(said))
        run_all(iter(connection.recv, None), read, connection.send)
