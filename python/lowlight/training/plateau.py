"""The learning rate of a stage that falls when the loss stops falling; its state is in the checkpoints."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from .config import Stage

_BETTER = 1 - 1e-4  # a mean loss below this times the best one is an improvement


@dataclass
class Plateau:
    """What has been seen of a stage's losses. `scale` is the factor on the stage's learning rate, 1 at its start."""

    stage: int = 0
    scale: float = 1.0
    best: float = math.inf
    waited: int = 0
    total: float = 0.0
    count: int = 0

    def entering(self, number: int) -> Plateau:
        """That of the stage `number`, which goes on or begins: another one than before starts afresh."""
        return self if number == self.stage else Plateau(stage=number)

    def seen(self, loss: float, stage: Stage) -> None:
        """The loss of one iteration of the stage, whose `every` is counted in iterations."""
        if stage.schedule != "plateau":
            return
        assert stage.every is not None
        self.total, self.count = self.total + loss, self.count + 1
        if self.count < stage.every:
            return
        mean, self.total, self.count = self.total / self.count, 0.0, 0
        if mean < self.best * _BETTER:
            self.best, self.waited = mean, 0
            return
        self.waited += 1
        if self.waited > stage.patience:
            self.scale, self.waited = self.scale * stage.factor, 0

    def state(self) -> dict[str, float]:
        return asdict(self)
