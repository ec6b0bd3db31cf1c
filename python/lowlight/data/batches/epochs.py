"""What batches of every kind share: an endless stream of epochs, and batches made before they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np

from ...cameras.cameras import CameraError
from ...files.pictures import PictureError
from .cutting import generator
from .prefetch import Prefetch, Request
from .raw_cache import CacheError

T = TypeVar("T")
# what is wrong with one file, and no reason to stop
_DAMAGE = (PictureError, CacheError, CameraError, FileNotFoundError)


class EpochBatches:
    """Order: a permutation an epoch, drawn from (seed, epoch). Subclasses define `batch` through `_make`.

    skipped: what is wrong with those pictures that could not be read so far, by their number in the data.
    """

    def __init__(self, seed: int, length: int, ahead: int):
        """length: samples in an epoch. ahead: batches made in background threads before they are asked for."""
        self.seed, self._length = seed, length
        self.skipped: dict[int, str] = {}
        self._order = lru_cache(4)(lambda epoch: generator(seed, 1, epoch).permutation(length))
        self._prefetch = Prefetch(self._make, ahead)

    def __len__(self) -> int:
        return self._length

    def indices(self, first: int, count: int) -> list[int]:
        """Numbers in the data of the samples first .. first + count - 1 of the endless stream of epochs."""
        places = (divmod(n, len(self)) for n in range(first, first + count))
        return [int(self._order(epoch)[position]) for epoch, position in places]

    def check(self, shrink: int, crop: int | None) -> None:
        """Raises ValueError where a picture is too small for such batches, as far as its header says."""

    def _read(
        self, first: int, count: int, read: Callable[[int, int], T], size: Callable[[int], Any] | None = None
    ) -> tuple[list[int], list[T]]:
        """The samples' numbers in the data, and what `read` makes of them and of their numbers in the stream.

        The next in the epoch's order takes the place of one that is damaged or, where `size` is given, of one that has
        not the first one's. Raises PictureError where none can be read.
        """
        numbers: list[int] = []
        found: list[T] = []
        for place in range(first, first + count):
            for number in self._from(place, {*self.indices(first, count), *numbers}):
                if number in self.skipped or (size and numbers and size(number) != size(numbers[0])):
                    continue
                try:
                    made = read(number, place)
                except _DAMAGE as error:
                    self.skipped[number] = str(error)
                else:
                    numbers.append(number)
                    found.append(made)
                    break
            else:
                raise PictureError(f"no picture of {len(self)} can be read: {next(iter(self.skipped.values()))}")
        return numbers, found

    def _from(self, place: int, busy: set[int]) -> Iterator[int]:
        """The sample's own number, then those behind it in its epoch, the busy ones last."""
        epoch, position = divmod(place, len(self))
        order = self._order(epoch)
        yield int(order[position])
        behind = np.roll(order, -position).tolist()
        yield from (number for number in behind if number not in busy)
        yield from (number for number in behind if number in busy)

    def close(self) -> None:
        """End the background threads; the next `batch` starts them again."""
        self._prefetch.close()

    def _make(self, request: Request) -> Any:
        raise NotImplementedError
