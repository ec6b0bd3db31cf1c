"""One line of the table: its inputs, the bytes it must move, our backends and the rivals."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lowlight_ext import backends, use_backend


@dataclass(frozen=True)
class Setting:
    """What a case is made for: shape [B, 3, H, W] of the pictures, dtype and device of all tensors."""

    shape: tuple[int, int, int, int]
    dtype: torch.dtype
    device: torch.device

    def rand(self, *shape: int) -> Tensor:
        return torch.rand(shape or self.shape, dtype=self.dtype, device=self.device)

    def pictures(self, count: int) -> Callable[[], tuple[Tensor, ...]]:
        return lambda: tuple(self.rand() for _ in range(count))


@dataclass
class Case:
    """Contenders that all compute `name` on the same inputs."""

    name: str
    operator: str
    tests: str
    # tensors read and written once, in units of one picture
    pictures_moved: float
    # arithmetic a pixel of the picture, counted from the formula: float or integer, a fused multiply-add is two. Rough:
    # it places the operator in the roofline picture and serves nothing else
    operations: float
    make: Callable[[], tuple]
    ours: Callable
    plain: Callable | None = None
    # name -> (call, preparation of its inputs from those that `make` gives)
    others: dict[str, tuple[Callable, Callable]] = field(default_factory=dict)
    # what to reach, as (contender, factor): our median at most `factor` times the contender's
    goal: tuple[str, float] | None = None
    # makes the contender torch.compile where that is not just `plain` compiled
    compiled: Callable[[], Callable] | None = None


def forced(backend: str, function: Callable) -> Callable:
    def call(*arguments):
        with use_backend(backend):
            return function(*arguments)

    return call


def available(operator: str, device: torch.device) -> dict[str, str | None]:
    """Our backends for this device -> None or the reason why one is not there."""
    names = ("cpp",) if device.type == "cpu" else ("cuda", "triton")
    return {name: backends(operator)[name] for name in names}
