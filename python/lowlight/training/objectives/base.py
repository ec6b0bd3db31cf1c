"""What a system brings to the training loop: its networks, what a step minimises, and which settings make sense."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

import lowlight_ext

from ...data.batches.batches import PairBatches
from ...data.sets.pairs import Pair, find_pairs
from ...seeds import first_seed
from ..config import Stage, TrainConfig, require
from ..validation import Validates, Validator

if TYPE_CHECKING:
    from pathlib import Path

    from ...systems.base import System

NOISE, TIMES, START, CENTER = 1 << 15, 1 << 14, 1 << 13, 1 << 12  # generator's streams, apart from a sampler's


class Objective(nn.Module):
    """A system with its losses as `forward`, which is what processes that share a batch synchronise.

    All draws are functions of (seed, number of the sample).
    """

    options: ClassVar[type]  # the dataclass of the configuration's `objective`
    terms: ClassVar[tuple[str, ...]]  # names of the terms that `forward` may return
    groups: ClassVar[dict[str, tuple[str, ...]]] = {}  # names for several terms together
    statistics: ClassVar[Callable[..., Tensor] | None] = None  # of whole dark pictures, where crops need them

    system: System

    def __init__(self, config: TrainConfig, device: torch.device | None = None):
        """A training gives both; the device is for the subclass, which makes `system` there after this."""
        super().__init__()
        torch.manual_seed(config.seed)
        self.config = config
        self.loss_parameters = nn.ParameterList()  # what is learned beside the system, for the loss alone

    @classmethod
    def find(cls, config: TrainConfig, root: Path, split: str | None, high: Path | None = None) -> list[Any]:
        """What is there to train or validate on: pairs of pictures, here; high: their bright ones, as of find_pairs.

        Raises FileNotFoundError and ValueError where there is nothing.
        """
        return find_pairs(root, split, high=high)

    @classmethod
    def split(cls, root: Path) -> str | None:
        """The split to train on where none is named."""
        return "our485" if (root / "our485").is_dir() else None

    @classmethod
    def batches(cls, config: TrainConfig, found: list[Pair]) -> Any:
        """The batches that a training of this configuration draws from what was found."""
        return PairBatches(found, config.seed, turn=config.turn, statistics=cls.statistics)

    @classmethod
    def validator(cls, config: TrainConfig, found: list[Pair]) -> Validates:
        return Validator(found, config.validate_pairs, config.validate_lpips)

    @classmethod
    def check(cls, config: TrainConfig) -> None:
        """Raises ValueError where a stage does not go with the network."""

    @classmethod
    def active_terms(cls, config: TrainConfig) -> tuple[str, ...]:
        """Those of `terms` that the configuration leads to: the columns of its log."""
        return cls.terms

    @staticmethod
    def steps(stage: Stage) -> int:
        """About how many network calls an iteration of the stage costs."""
        raise NotImplementedError

    def prepare(self, stage: Stage) -> None:
        """Before the first iteration of a stage, and before the first after resuming: what it trains needs gradients.

        Here: everything.
        """

    @property
    def partial(self) -> bool:
        """Whether some stage leaves some parameter without a gradient."""
        return False

    def forward(self, batch: Any, stage: Stage, first: int, skip: int = 0) -> dict[str, Tensor]:
        """Terms of the loss, each a mean over the batch.

        batch: as `batches` makes them, the samples from `skip` on of the stage's whole one, which begins with sample
        `first`.
        """
        raise NotImplementedError

    def for_inference(self, system: System) -> System:
        """The system as it enhances; the argument, a copy of the trained one, may be changed."""
        return system

    def seeds(self, count: int, sample: int) -> Tensor:
        """[count] seeds of the samples from `sample` on."""
        return torch.arange(sample, sample + count) + first_seed(self.config.seed, 40)

    def normal(self, shape: tuple[int, ...], sample: int, stream: int = NOISE) -> Tensor:
        """Noise [B, ...] of the samples from `sample` on."""
        return lowlight_ext.normal(shape, self.seeds(shape[0], sample), stream=stream, device=self.system.device)

    def uniform(self, count: int, first: int, stream: int = TIMES) -> Tensor:
        """[count] numbers in (0, 1) of the whole batch that begins with sample `first`."""
        seed = first + first_seed(self.config.seed, 40)
        return lowlight_ext.uniform((count,), seed, stream=stream, device=self.system.device)


def term_weights(weights: dict[str, float], objective: type[Objective]) -> dict[str, float]:
    """A weight for each of the terms."""
    known = (*objective.terms, *objective.groups)
    unknown = sorted(set(weights) - set(known))
    require(not unknown, "weights", f"have keys of {', '.join(known)}", ", ".join(unknown))
    full = dict.fromkeys(objective.terms, 1.0)
    for group, terms in objective.groups.items():
        full |= dict.fromkeys(terms, weights.get(group, 1.0))
    full |= {name: value for name, value in weights.items() if name in objective.terms}
    for name, value in full.items():
        require(isinstance(value, int | float) and math.isfinite(value), f"weights.{name}", "be a number", value)
    return {name: float(value) for name, value in full.items()}
