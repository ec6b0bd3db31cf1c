"""Exposure that settles as a camera's does, instead of being decided anew in every frame."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..systems.light import exposed

_FLOOR = 1 / 255  # of a mean that a lift is counted from
_CUT = math.log(1.5)  # a scene that brightens or darkens so far from one frame to the next is another
_RANGE = (0.005, 0.98)  # means that can be asked for
_STEP = 1.6  # stops a doubling of the mean, between those of linear light (1) and of sRGB's curve (2.4)
_ROUNDS = 8


class Settling:
    """The lift, log(bright mean / dark mean), low-passed over time; begun anew where the light jumps.

    It is the lift that is held and not the mean: a bright thing that enters makes the picture brighter, and not
    everything else darker. It strays from the frame's own by no more than what makes a scene another: a fade from black
    would else be white for as long as the lift of its first frames takes to settle.
    """

    def __init__(self, seconds: float):
        """seconds: until about two thirds of a change are made; 0 follows each frame. Raises ValueError below 0."""
        if not seconds >= 0:
            raise ValueError(f"the exposure must settle in 0 seconds or more, got {seconds}")
        self._seconds = seconds
        self.lift: float | None = None
        self.own = 0.0

    def __call__(self, wanted: float, own: float, passed: float) -> float:
        """The bright mean of a frame of mean `own`, `passed` seconds after the last, of which `wanted` is wanted."""
        lift = math.log((wanted + _FLOOR) / (own + _FLOOR))
        jumped = abs(math.log((own + _FLOOR) / (self.own + _FLOOR))) > _CUT
        if self.lift is None or jumped or self._seconds == 0:
            self.lift = lift
        else:
            held = self.lift + (1 - math.exp(-passed / self._seconds)) * (lift - self.lift)
            self.lift = min(max(held, lift - _CUT), lift + _CUT)
        self.own = own
        mean = (own + _FLOOR) * math.exp(self.lift) - _FLOOR
        return min(max(mean, _RANGE[0]), _RANGE[1])


def of_mean(picture: Tensor, mean: float) -> Tensor:
    """A picture [3, H, W] in [0, 1] after a gain in linear light that gives it this mean, clipping allowing."""
    stops = torch.zeros((), device=picture.device)
    for _ in range(_ROUNDS):
        reached = exposed(picture[None], stops).mean().clamp(min=1e-4)
        stops = (stops + _STEP * torch.log2(mean / reached)).clamp(-10, 10)
    return exposed(picture[None], stops)[0]
