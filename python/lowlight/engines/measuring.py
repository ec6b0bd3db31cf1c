"""Times one picture by several engines in turn, and how far each one's result is from exact PyTorch's."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from ..metrics.scores import psnr
from ..systems.base import RawSystem, System

EXACT, FAST = 1e-3, 45.0  # what the precisions promise: largest difference in [0, 1], dB of the 8-bit picture
_RATIO, _GAIN = 100.0, 3.0  # of a raw picture, which change nothing in the time


class Measured(NamedTuple):
    """Of one engine in one precision."""

    milliseconds: float  # median of a picture
    difference: float  # largest, from the picture of the exact torch
    decibels: float  # PSNR to it, of 8-bit pictures

    def keeps(self, precision: str) -> bool:
        """Whether its picture is what the precision promises."""
        return self.difference <= EXACT if precision == "exact" else self.decibels >= FAST


def measure(
    systems: Mapping[str, System],
    picture: Tensor,
    runs: int = 5,
    *,
    clock: Callable[[], float] = time.perf_counter,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Measured]:
    """systems: ways of one model, the exact torch first. picture: what it takes. advance: called after each picture."""
    times: dict[str, list[float]] = {name: [] for name in systems}
    results = {}
    with torch.no_grad():
        # the first round compiles and fills caches
        for turn in range(runs + 1):
            for name, system in systems.items():
                start = clock()
                results[name] = enhanced(system, picture)
                if picture.is_cuda:
                    torch.cuda.synchronize(picture.device)
                if turn:
                    times[name].append(1e3 * (clock() - start))
                advance()
    exact = next(iter(results.values()))
    return {name: _measured(times[name], result.float(), exact) for name, result in results.items()}


def enhanced(system: System, picture: Tensor) -> Tensor:
    """By the system's own steps and sampler."""
    options = {"ratio": _RATIO, "K": _GAIN} if isinstance(system, RawSystem) else {}
    return system.enhance_tensor(picture, **options)  # type: ignore[operator]


def _measured(times: list[float], result: Tensor, exact: Tensor) -> Measured:
    difference = (result - exact).abs().max().item()
    return Measured(statistics.median(times), difference, psnr(result, exact).min().item())
