"""What every system can do for a user."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from .brighten import enhance_picture


class System(nn.Module):
    """Networks and their sampler. Subclasses define `name` and `enhance_tensor`."""

    name = ""
    space = "srgb"  # of the pictures that enhance_tensor takes: "srgb", or "raw" (packed Bayer)
    samplers: tuple[str, ...] = ()  # names that enhance_tensor takes
    trained_on: str | None = None  # the split of the training pictures, where the checkpoint or its card says it

    def enhance_tensor(self, low: Tensor, *, steps: int | None = None, noise: Any = None, seed: int = 0) -> Tensor:
        """[B, 3, H, W] dark pictures in [0, 1] -> bright pictures of the same shape; each system documents its own."""
        raise NotImplementedError

    def enhance_steps(
        self, low: Tensor, *, steps: int | None = None, noise: Any = None, seed: int = 0
    ) -> Iterator[Tensor]:
        """The estimates of enhance_tensor's result after each network call, the last equal to it; for films of it."""
        raise NotImplementedError

    def enhance(self, picture: Any, *, steps: int | None = None, seed: int = 0) -> Any:
        """The bright picture of a path, PIL image, array or tensor, of the same kind; see lowlight.enhance."""
        return enhance_picture(self, picture, steps=steps, seed=seed)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype


def check_pictures(system: System, low: Tensor) -> None:
    """Raises ValueError where `low` is no batch of RGB pictures."""
    if low.dim() != 4 or low.shape[1] != 3 or min(low.shape[-2:]) < 1:
        raise ValueError(f"{type(system).__name__}: low must be [B, 3, H, W], got {tuple(low.shape)}")


def seeds_of(seed: int | Tensor, count: int) -> Tensor:
    """[count] int64 seeds of as many pictures; an integer is every picture's."""
    return torch.as_tensor(seed, dtype=torch.int64).expand(count).contiguous()
