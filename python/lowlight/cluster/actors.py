"""Items on Ray's workers: Ray Data hands them to actors, each of which makes what it works with once."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import socket
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import IO, Any

from .rounds import Outcome

# the most items that a worker takes at once, which is what is lost with it, and how often it shall at least be asked
_TOGETHER = 16
_TURNS = 8
_PATIENCE = 20.0  # seconds to wait for who runs at an address


class ClusterError(ValueError):
    """A cluster that cannot be had, or does not work; the message is meant for the user."""


# made in the actor; takes items' words, and returns what became of each, in any order
Work = Callable[[Sequence[str]], Iterable[Outcome]]


@dataclass(frozen=True)
class Crew:
    """So many actors may work at once, each with its share."""

    machines: int
    workers: int
    cpus: int
    gpus: int

    def together(self, count: int) -> int:
        """How many of `count` items an actor takes at once."""
        return max(1, min(_TOGETHER, count // (_TURNS * self.workers)))


def check_ray() -> None:
    """Raises ClusterError where Ray Data is not installed."""
    for module in ("ray", "pyarrow", "pandas"):
        if find_spec(module) is None:
            raise ClusterError(
                f"a cluster needs {module}: pip install 'lowlight-ext[cluster]', where Ray has wheels for this Python"
            )


@contextmanager
def joined(address: str) -> Iterator[None]:
    """A Ray cluster: "auto" is one that runs here or that $RAY_ADDRESS names, else one of this machine alone.

    Ray reports nothing home unless RAY_USAGE_STATS_ENABLED=1 is set. What it has to say is in its own logs.
    Raises ClusterError.
    """
    check_ray()
    if address.startswith("ray://"):
        raise ClusterError(
            f"{address} is for Ray's client; give HOST:PORT of a cluster that this machine is part of, or submit the "
            "command to it with `ray job submit`"
        )
    if not re.fullmatch(r"auto|local|.+:\d+", address):
        raise ClusterError(f"--cluster takes auto or HOST:PORT, got {address}")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    # Ray prints to standard output when a machine dies, which is for the reports
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        try:
            with _unheard(nowhere):
                _join(ray, address)
        # RuntimeError: another Ray or Python there; TimeoutError, ConnectionError: nobody there
        except (OSError, ValueError, RuntimeError) as error:
            lines = str(error).splitlines() or [type(error).__name__]
            raise ClusterError(f"no Ray cluster at {address}: {lines[0]}") from None
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _unheard(nowhere: IO[str]) -> Iterator[None]:
    """Without Ray's word on stderr that it was told to say less, which its C++ half writes."""
    stderr = os.dup(2)
    try:
        os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _join(ray: Any, address: str) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "auto")
    if address == "auto":
        try:
            ray.init(address="auto", **quiet)
        except ConnectionError:
            ray.init(address="local", include_dashboard=False, **quiet)
        return
    host, colon, port = address.rpartition(":")
    if colon:
        # Ray asks for minutes where nobody answers
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()
    ray.init(address=address, **quiet)


def crew_of(cpus: int, gpus: bool | None) -> Crew:
    """The actors that the joined cluster has room for, one a GPU, or one for every `cpus` cores.

    gpus: None takes them where there are any. Raises ClusterError where there is no room for one.
    """
    import ray

    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if gpus is not False:
        count = sum(int(min(have.get("GPU", 0), have.get("CPU", 0) // cpus)) for have in alive)
        if count:
            return Crew(len(alive), count, cpus, 1)
        if gpus:
            raise ClusterError("--device cuda: the cluster has no GPU")
    count = sum(int(have.get("CPU", 0) // cpus) for have in alive)
    if not count:
        most = max((int(have.get("CPU", 0)) for have in alive), default=0)
        raise ClusterError(f"a worker shall have {cpus} cores, and the cluster's largest machine has {most}")
    return Crew(len(alive), count, cpus, 0)


class _Actor:
    """Ray Data's: rows of words in, rows of outcomes out. What cannot be made is said with the first items."""

    def __init__(self, make: Callable[[], Work]):
        import ray

        context = ray.get_runtime_context()
        self._name = f"{ray.util.get_node_ip_address()}/{os.getpid()}/{(context.get_actor_id() or '')[:8]}"
        self._work = make()

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        items = [int(item) for item in batch["item"]]
        outcomes = [
            Outcome(items[outcome.item], outcome.error, self._name, outcome.facts)
            for outcome in self._work([str(words) for words in batch["words"]])
        ]
        return {"outcome": [json.dumps(outcome) for outcome in outcomes]}


def attempt(
    items: Sequence[int], together: int, words: Callable[[int], str], make: Callable[[], Work], crew: Crew
) -> Iterator[Outcome]:
    """One round: each item's words handed to an actor once; what becomes of them, as it becomes known.

    Items of actors that die, and of machines that are lost, are missing. Raises ClusterError where no actor works.
    """
    import ray.data

    _quiet(ray.data)
    rows = [{"item": item, "words": words(item)} for item in items]
    blocks = -(-len(rows) // together)
    data = ray.data.from_items(rows, override_num_blocks=blocks)
    size = min(crew.workers, blocks)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Ray would hand an actor's items to its successor for ever: who is lost here is missed by the caller
        data = data.map_batches(
            _Actor,
            batch_size=None,
            compute=ray.data.ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=1),
            fn_constructor_kwargs={"make": make},
            num_cpus=crew.cpus,
            num_gpus=crew.gpus or None,
            max_restarts=-1,
            max_task_retries=0,
        )
    came = 0
    try:
        for row in data.iter_rows():
            came += 1
            yield Outcome(*json.loads(row["outcome"]))
    except ray.exceptions.RayError as error:
        if not came:
            lines = str(error).splitlines() or [type(error).__name__]
            raise ClusterError(f"the cluster does not work: {lines[0]}") from None


def _quiet(data: Any) -> None:
    """Progress and failures are told by the caller; Ray Data's own words are in its log."""
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # a lost actor is no reason to stop
    context.max_errored_blocks = -1
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.CRITICAL + 1)
