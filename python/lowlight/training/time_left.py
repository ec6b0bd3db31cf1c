"""How long a training will still take."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from .config import Stage

_WINDOW = 50  # iterations of the moving average


class TimeLeft:
    """From a moving average of the current stage's iterations, and the share of time that other things took.

    A stage that has not begun is taken to cost as much more as it has more pixels and network calls an iteration.
    """

    def __init__(self, stages: list[Stage], steps: Callable[[Stage], int], area: int = 1):
        """stages: counted in iterations. steps: network calls of a stage's iteration.

        area: pixels of a whole picture, where some stages crop and some do not.
        """
        self._stages, self._steps, self._area = stages, steps, area
        self._stage: int | None = None
        self._recent: deque[float] = deque(maxlen=_WINDOW)
        self._timed = 0
        self._work, self._beside = 0.0, 0.0  # seconds in iterations, and between them: checkpoints, validation

    def iteration(self, step: int, seconds: float) -> None:
        """Iteration `step` took so long."""
        stage = self._at(step)
        if stage != self._stage:
            self._stage, self._timed = stage, 0
        if self._timed < 2:
            # the first iteration of a stage also pays for memory and the choice of kernels
            self._recent.clear()
        self._timed += 1
        self._recent.append(seconds)
        self._work += seconds

    def beside(self, seconds: float) -> None:
        """Something between two iterations took so long."""
        self._beside += seconds

    def seconds(self, step: int) -> float | None:
        """For the iterations from `step` on; None before the first has been timed."""
        if self._stage is None or not self._recent:
            return None
        unit = sum(self._recent) / len(self._recent) / self._cost(self._stages[self._stage])
        left = 0.0
        for stage, begin in zip(self._stages, self._begins(), strict=True):
            remaining = begin + stage.length - max(step, begin)
            left += max(0, remaining) * unit * self._cost(stage)
        return left * (1 + self._beside / self._work)

    def _begins(self) -> list[int]:
        begins = [0]
        for stage in self._stages[:-1]:
            begins.append(begins[-1] + stage.length)
        return begins

    def _at(self, step: int) -> int:
        return max(i for i, begin in enumerate(self._begins()) if begin <= step)

    def _cost(self, stage: Stage) -> float:
        """In pixels times network calls."""
        pixels = stage.crop**2 if stage.crop else self._area / stage.shrink**2
        return stage.batch * pixels * self._steps(stage)
