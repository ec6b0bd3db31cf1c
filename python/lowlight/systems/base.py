"""What systems are and can do: all of them (System), those of sRGB pictures, those of a camera's raw."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..seeds import checked_seed, signed
from .brighten import enhance_picture

Noise = Callable[[int, tuple[int, ...]], Tensor]  # (stream, shape) -> normal numbers, in the generator's place
Number = float | Tensor  # one for all pictures, or [B]
AnyModule = TypeVar("AnyModule", bound=nn.Module)


class System(nn.Module):
    """Networks and their sampler. A system is a PictureSystem or a RawSystem; registry.py has a row for each."""

    name = ""  # in files and configurations
    config: Any  # the dataclass it was made from; config.steps: network calls where the caller does not say
    trained_on: str | None = None  # the split of the training pictures, where the checkpoint or its card says it

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype


class PictureSystem(System):
    """A system of sRGB pictures. Subclasses may take further keywords: `enhance` passes them through by name."""

    samplers: tuple[str, ...] = ()  # names that enhance_tensor takes
    numbers: tuple[str, ...] = ()  # further keywords that are a number for all pictures or one each

    @property
    def alpha_bar(self) -> Tensor:
        """[T] float64, products of 1 - beta; kept where torch.export takes it for the constant that it is."""
        return self._schedule[0]

    @alpha_bar.setter
    def alpha_bar(self, values: Tensor) -> None:
        self._schedule = (values,)

    def enhance_tensor(
        self,
        low: Tensor,
        *,
        steps: int | None = None,
        noise: Noise | None = None,
        seed: int | Tensor = 0,
        sampler: str | None = None,
    ) -> Tensor:
        """[B, 3, H, W] dark pictures in [0, 1] -> bright pictures of the same shape; each system documents its own.

        steps: network calls. sampler: one of `samplers`. None: the system's own. seed: an integer, the same noise for
        every picture, or one a picture [B].
        """
        raise NotImplementedError

    def check_numbers(self, count: int, **numbers: Number | None) -> None:
        """Raises ValueError where those of enhance_tensor's `numbers` do not fit so many pictures; looks at values."""

    def enhance_steps(
        self,
        low: Tensor,
        *,
        steps: int | None = None,
        noise: Noise | None = None,
        seed: int | Tensor = 0,
        sampler: str | None = None,
    ) -> Iterator[Tensor]:
        """The estimates of enhance_tensor's result after each network call, the last equal to it; for films of it."""
        raise NotImplementedError

    def enhance(self, picture: Any, *, steps: int | None = None, seed: int | Tensor = 0, **options: Any) -> Any:
        """The bright picture of a path, PIL image, array or tensor, of the same kind; see lowlight.enhance."""
        return enhance_picture(self, picture, steps=steps, seed=seed, **options)


class RawSystem(System):
    """A system of packed raw, which it exposes longer. lowlight.enhance_raw is its door."""

    def enhance_tensor(
        self, packed: Tensor, *, ratio: Number, K: Number, steps: int | None = None, seed: int | Tensor = 0
    ) -> Tensor:
        """[B, 4, h, w] packed raw in [0, 1], already times the ratio -> long exposures; each documents its own.

        ratio: of the exposures, at least 1. K: system gain. steps: network calls, None: the system's own.
        """
        raise NotImplementedError

    def enhance_steps(
        self, packed: Tensor, *, ratio: Number, K: Number, steps: int | None = None, seed: int | Tensor = 0
    ) -> Iterator[Tensor]:
        """The outputs of all network calls, the last enhance_tensor's."""
        raise NotImplementedError


def picture_system(system: System) -> PictureSystem:
    """The system, if it works on sRGB pictures; raises ValueError that names the other door."""
    # what else has an enhance_tensor is taken at its word
    if isinstance(system, RawSystem):
        raise ValueError(
            f"enhance: {type(system).__name__} works on the raw of a camera, not on sRGB pictures; "
            "lowlight.enhance_raw takes a raw file"
        )
    return system  # type: ignore[return-value]


def raw_system(system: System) -> RawSystem:
    """The system, if it works on raw; raises ValueError that names the other door."""
    if not isinstance(system, RawSystem):
        raise ValueError(
            f"enhance_raw: {type(system).__name__} works on sRGB pictures, not on the raw of a camera: "
            "lowlight.enhance develops a raw file and brightens that"
        )
    return system


def channels_last(module: AnyModule) -> AnyModule:
    """The module with the channels of its convolutions' weights last."""
    # torch's hints of Module.to leave memory_format out
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def check_pictures(system: System, low: Tensor) -> None:
    """Raises ValueError where `low` is no batch of RGB pictures."""
    if low.dim() != 4 or low.shape[1] != 3 or min(low.shape[-2:]) < 1:
        raise ValueError(f"{type(system).__name__}: low must be [B, 3, H, W], got {tuple(low.shape)}")


def seeds_of(seed: int | Tensor, count: int) -> Tensor:
    """[count] int64 seeds of as many pictures; an integer, 0 to 2^64 - 1, is every picture's.

    Raises TypeError for another kind, ValueError for an integer outside and another number of seeds.
    """
    if isinstance(seed, Tensor):
        if seed.dtype.is_floating_point or seed.dtype.is_complex or seed.dtype == torch.bool:
            raise TypeError(f"seed must be an integer or an int64 tensor, got {seed.dtype}")
        if seed.numel() not in (1, count):
            raise ValueError(f"seed must be one number or {count}, one a picture, got {seed.numel()}")
        return seed.long().reshape(-1).expand(count).contiguous()
    number = signed(checked_seed(seed, "an integer or an int64 tensor"))
    # on the CPU whatever torch's default device is
    return torch.tensor([number], dtype=torch.int64, device="cpu").expand(count).contiguous()
