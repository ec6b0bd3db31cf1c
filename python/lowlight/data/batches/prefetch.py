"""Results of a pure function, made in background threads before they are asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Request(NamedTuple):
    """Samples first .. first + count - 1, shrunk by `shrink`, cropped to `crop` or whole."""

    first: int
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody calls
    shrink: int
    crop: int | None


class Prefetch(Generic[T]):
    """make(request) for requests that go on evenly: the next `depth` of them are being made meanwhile.

    The step from one request to the next is guessed from the last two (several processes that share the samples
    each step over the others'). What is guessed wrongly is made when asked for; the results are those of `make`
    itself, errors included. For one caller at a time.
    """

    def __init__(self, make: Callable[[Request], T], depth: int):
        self._make, self._depth = make, depth
        self._pool: ThreadPoolExecutor | None = None
        self._coming: dict[Request, Future[T]] = {}
        self._last: Request | None = None

    def get(self, request: Request) -> T:
        future = self._coming.pop(request, None)
        if self._depth > 0:
            self._look_ahead(request)
        return self._make(request) if future is None else future.result()

    def close(self) -> None:
        """Stop the threads; the next `get` starts them again."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool, self._coming = None, {}

    def _look_ahead(self, request: Request) -> None:
        step = request.count
        if self._last is not None and self._last[1:] == request[1:] and self._last.first < request.first:
            step = request.first - self._last.first
        self._last = request
        wanted = [request._replace(first=request.first + step * k) for k in range(1, self._depth + 1)]
        for stale in self._coming.keys() - set(wanted):
            self._coming.pop(stale).cancel()
        if self._pool is None:
            workers = min(self._depth, max(1, (os.cpu_count() or 1) - 1))
            self._pool = ThreadPoolExecutor(workers, thread_name_prefix="pictures")
        for ahead in wanted:
            if ahead not in self._coming:
                self._coming[ahead] = self._pool.submit(self._make, ahead)
