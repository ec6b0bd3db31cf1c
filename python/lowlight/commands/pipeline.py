"""Pictures read, computed and written at once: threads that read and write around the network, in the jobs' order."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple, TypeVar

from .debugging import shown
from .jobs import Job
from .reports import Report

# pictures that are read ahead of the network, and that wait behind it
AHEAD = 2
BEHIND = 2
# no further picture is read while those in memory have so many; the network's numbers take 12 bytes for each
MOST_PIXELS = 32_000_000

T = TypeVar("T")
Write = Callable[[], tuple[str, ...]]  # returns notes for the user


class Opened(NamedTuple):
    """A picture that was read; compute() runs the network and returns what writes the result."""

    width: int
    height: int
    model: str
    device: str
    compute: Callable[[], Write]
    notes: tuple[str, ...] = ()


Read = Callable[[Job], Opened]


def run_all(
    jobs: Iterable[Job],
    read: Read,
    report: Callable[[Report], None],
    begin: Callable[[Job], None] = lambda job: None,
    *,
    overlap: bool = True,
) -> None:
    """A report on every job, in their order, from the writer's thread.

    The network runs in the caller's thread, so that Ctrl-C ends it at once; what was computed by then is still written
    and reported. begin: called when a job's turn comes. overlap: False does one thing after another.
    """
    room = _Room(MOST_PIXELS)
    waiting = iter(jobs)
    reads: deque[tuple[_Passage, Future[None]]] = deque()
    writes: deque[Future[None]] = deque()
    with _thread(overlap, "reader") as reader, _thread(overlap, "writer") as writer:
        try:
            while True:
                for job in islice(waiting, (AHEAD if overlap else 0) + 1 - len(reads)):
                    passage = _Passage(job, room)
                    reads.append((passage, reader.submit(passage.read, read)))
                if not reads:
                    break
                passage, done = reads.popleft()
                begin(passage.job)
                done.result()
                passage.compute()
                writes.append(writer.submit(passage.write, report))
                while len(writes) > BEHIND or (writes and writes[0].done()):
                    writes.popleft().result()
            for done in writes:
                done.result()
        except BaseException:
            room.close()
            for _, done in reads:
                done.cancel()
            raise


def _thread(overlap: bool, name: str) -> Executor:
    return ThreadPoolExecutor(1, thread_name_prefix=name) if overlap else _Here()


class _Here(Executor):
    """Does at once, in the caller's thread, what it is given."""

    def submit(self, fn: Callable[..., T], /, *args: object, **kwargs: object) -> Future[T]:
        done: Future[T] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


class _Room:
    """Pixels in memory: who wants to read waits until there are fewer than `most`, or none."""

    def __init__(self, most: int):
        self._most, self._held, self._closed = most, 0, False
        self._change = threading.Condition()

    def wait(self) -> bool:
        """False where nothing more shall be read."""
        with self._change:
            self._change.wait_for(lambda: self._closed or self._held < self._most)
            return not self._closed

    def take(self, pixels: int) -> None:
        with self._change:
            self._held += pixels
            self._change.notify_all()

    def close(self) -> None:
        with self._change:
            self._closed = True
            self._change.notify_all()


class _Passage:
    """One job on its way; what fails in a part of it is the reason in its report."""

    def __init__(self, job: Job, room: _Room):
        self.job, self._room = job, room
        self._opened: Opened | None = None
        self._write: Write | None = None
        self._pixels, self._seconds = 0, 0.0
        self._report = Report(str(job.source), str(job.target), "failed")

    def read(self, read: Read) -> None:
        if not self._room.wait():
            return
        opened = self._opened = self._tried(lambda: read(self.job))
        if opened is not None:
            facts = opened._asdict()
            del facts["compute"]
            self._report = self._report._replace(**facts)
            self._pixels = opened.width * opened.height
            self._room.take(self._pixels)

    def compute(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            self._write = self._tried(opened.compute)

    def write(self, report: Callable[[Report], None]) -> None:
        write, self._write = self._write, None
        notes = self._tried(write) if write is not None else None
        self._room.take(-self._pixels)
        if notes is not None:
            self._report = self._report._replace(status="enhanced", notes=(*self._report.notes, *notes))
        report(self._report._replace(seconds=self._seconds))

    def _tried(self, part: Callable[[], T]) -> T | None:
        start = time.perf_counter()
        try:
            return part()
        # RuntimeError: torch's for memory that ran out, enhance's for a network that overflowed
        except (ValueError, OSError, MemoryError, RuntimeError) as error:
            shown(error)
            lines = str(error).splitlines() or [type(error).__name__]
            self._report = self._report._replace(error=lines[0].removeprefix(f"{self.job.source}: "))
            return None
        finally:
            self._seconds += time.perf_counter() - start
