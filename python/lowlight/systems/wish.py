"""What a user may wish of any system's result: brighter or darker in stops, more colour or less, stronger or weaker."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .light import exposed, saturated
from .rows import Rows, strips

MOST_STOPS = 10
MOST_SATURATION = 4
_STRIP = 256  # rows copied at a time


class Wish(NamedTuple):
    """How bright, how colourful and how strong."""

    brightness: Tensor  # stops against the system's own exposure, one number or [B]
    saturation: float  # factor of the result's own
    strength: float  # from 0, the dark picture, to 1

    @classmethod
    def checked(cls, brightness: float | Tensor, saturation: float, strength: float) -> Wish:
        """Raises ValueError for stops beyond +-10, a saturation outside [0, 4] and a strength outside [0, 1], TypeError
        for what is no number."""
        stops = _numbers(brightness)
        for name, value in (("saturation", saturation), ("strength", strength)):
            if not hasattr(value, "__float__"):
                raise TypeError(f"enhance: {name} must be a number, got {type(value).__name__}")
        # written so that NaN, which compares false, is caught
        if stops.dim() > 1 or not (stops.abs() <= MOST_STOPS).all():
            wanted = f"stops from -{MOST_STOPS} to {MOST_STOPS}, one number or one a picture"
            raise ValueError(f"enhance: brightness must be {wanted}, got {stops.tolist()}")
        if not 0 <= saturation <= MOST_SATURATION:
            raise ValueError(f"enhance: saturation must lie in [0, {MOST_SATURATION}], got {saturation}")
        if not 0 <= strength <= 1:
            raise ValueError(f"enhance: strength must lie in [0, 1], got {strength}")
        return cls(stops, saturation, strength)


def _numbers(brightness: float | Tensor) -> Tensor:
    if isinstance(brightness, Tensor):
        return brightness.float()
    try:
        return torch.tensor(brightness, dtype=torch.float32, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        kind = type(brightness).__name__
        raise TypeError(f"enhance: brightness must be a number, or one a picture, got {kind}") from None


def wished(
    enhance_tensor: Callable[..., Tensor], keywords: Collection[str], low: Tensor, wish: Wish, **told: Any
) -> Tensor:
    """What a system makes of dark pictures [B, 3, H, W], float32 in [0, 1], as wished.

    keywords: what enhance_tensor takes. One that takes `brightness` exposes anew, in its own way. Every other one's
    result gets a gain of 2^brightness in linear light: no network call more, but what is clipped stays clipped.
    Saturation is changed after that; strength blends with the dark picture.
    Raises ValueError where there are neither one nor B stops.
    """
    stops = wish.brightness.to(low.device)
    if stops.numel() not in (1, low.shape[0]):
        raise ValueError(
            f"enhance: brightness must be one number or {low.shape[0]}, one a picture, got {stops.numel()}"
        )
    if wish.strength == 0:
        return low.clone()
    if "brightness" in keywords:
        told["brightness"], stops = stops, torch.zeros((), device=stops.device)
    bright = enhance_tensor(low, **told).float()
    if stops.any():
        bright = exposed(bright, stops)
    return _touched(low, bright, wish)


def wished_rows(system: Any, keywords: Collection[str], rows: Rows, wish: Wish, **told: Any) -> None:
    """As `wished`, from rows of dark pictures to rows of bright ones, by the system's enhance_rows where it has one."""
    if not hasattr(system, "enhance_rows"):
        rows.write(0, wished(system.enhance_tensor, keywords, rows.read(0, rows.shape[1]), wish, **told))
    elif wish.strength == 0:
        for first, last, _, _ in strips(rows.shape[1], _STRIP):
            rows.write(first, rows.read(first, last))
    else:
        touched = rows if wish.saturation == wish.strength == 1 else _Touched(rows, wish)
        system.enhance_rows(touched, brightness=wish.brightness, **told)


def _touched(dark: Tensor, bright: Tensor, wish: Wish) -> Tensor:
    if wish.saturation != 1:
        bright = saturated(bright, wish.saturation)
    return bright if wish.strength == 1 else torch.lerp(dark, bright, wish.strength)


class _Touched:
    """Rows that are written with another saturation, and as a blend with the dark pictures."""

    def __init__(self, rows: Rows, wish: Wish):
        self._rows, self._wish = rows, wish
        self.shape, self.read = rows.shape, rows.read

    def write(self, first: int, bright: Tensor) -> None:
        dark = self._rows.read(first, first + bright.shape[-2])
        self._rows.write(first, _touched(dark, bright.to(dark.dtype), self._wish))
