"""What batches of every kind share: an endless stream of epochs, and batches made before they are asked for."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from .cutting import generator
from .prefetch import Prefetch, Request


class EpochBatches:
    """Order: a permutation an epoch, drawn from (seed, epoch). Subclasses define `batch` through `_make`."""

    def __init__(self, seed: int, length: int, ahead: int):
        """length: samples in an epoch. ahead: batches made in background threads before they are asked for."""
        self.seed, self._length = seed, length
        self._order = lru_cache(4)(lambda epoch: generator(seed, 1, epoch).permutation(length))
        self._prefetch = Prefetch(self._make, ahead)

    def __len__(self) -> int:
        return self._length

    def indices(self, first: int, count: int) -> list[int]:
        """Numbers in the data of the samples first .. first + count - 1 of the endless stream of epochs."""
        places = (divmod(n, len(self)) for n in range(first, first + count))
        return [int(self._order(epoch)[position]) for epoch, position in places]

    def close(self) -> None:
        """End the background threads; the next `batch` starts them again."""
        self._prefetch.close()

    def _make(self, request: Request) -> Any:
        raise NotImplementedError
