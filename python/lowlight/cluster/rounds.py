"""Every item done once, or given up after it failed on two workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

# failures of an item's own, after which it is given up
TRIES = 2
_DIED = "the worker died while it worked on this"


class Outcome(NamedTuple):
    """What a worker did with an item: error says why it failed. facts: whatever else it has to say."""

    item: int
    error: str | None
    worker: str
    facts: dict


# (items, how many a worker takes at once) -> what became of them, in any order; items whose worker died are missing
Attempt = Callable[[Sequence[int], int], Iterable[Outcome]]


def in_rounds(count: int, together: int, attempt: Attempt) -> Iterator[tuple[Outcome, list[str]]]:
    """(its last outcome, workers that failed before) of each of `count` items, as soon as it is known.

    The first round hands out `together` items at a time, and who loses a worker then may have been its neighbour's
    victim. Later rounds have new workers, one item in each one's hands; who fails or loses its worker there, fails by
    itself.
    """
    left, failed, together = list(range(count)), Counter[int](), max(1, together)
    before: dict[int, list[str]] = {}
    alone = False
    while left:
        again, lost = [], dict.fromkeys(left)
        for outcome in attempt(left, together):
            # a worker that was thought dead may answer too
            if outcome.item not in lost:
                continue
            del lost[outcome.item]
            failed[outcome.item] += outcome.error is not None
            if outcome.error is None or failed[outcome.item] >= TRIES:
                yield outcome, before.pop(outcome.item, [])
            else:
                before.setdefault(outcome.item, []).append(outcome.worker)
                again.append(outcome.item)
        for item in lost:
            failed[item] += alone
            if failed[item] >= TRIES:
                yield Outcome(item, _DIED, "", {}), before.pop(item, [])
            else:
                before.setdefault(item, []).append("died")
                again.append(item)
        left, together, alone = sorted(again), 1, True
