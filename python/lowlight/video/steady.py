"""A system of pictures that brightens frame after frame, and remembers what it needs to do so steadily."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..systems.base import PictureSystem
from ..systems.brighten import enhance_picture, keywords_of
from .averaging import StillAverage
from .exposure import Settling, of_mean

AVERAGE = 8  # frames
SETTLE = 1.0  # seconds


class Steady:
    """Frames [3, H, W] in [0, 1] to bright ones, in order.

    The dark frame is averaged over time where nothing moves; the noise of the diffusion has one seed for all frames;
    the exposure settles (exposure.py): a system that takes a `mean` is asked for it, any other's result gets a gain.
    """

    def __init__(self, system: PictureSystem, *, average: int = AVERAGE, settle: float = SETTLE, **told: Any):
        """average: of the StillAverage. settle: seconds of the Settling. told: further arguments of enhance_picture."""
        self._system, self._told = system, told
        self._asks = "mean" in keywords_of(system) and hasattr(system, "wanted_mean")
        self._average, self._exposure = StillAverage(average), Settling(settle)
        self._time = 0.0

    @torch.no_grad()
    def __call__(self, frame: Tensor, time: float) -> Tensor:
        """time: in seconds, of the frame; only what passed since the last one counts."""
        passed, self._time = max(0.0, time - self._time), time
        dark = self._average(frame.to(self._system.device))
        own = dark.mean().item()
        if self._asks:
            told = {name: value for name, value in self._told.items() if name != "brightness"}
            mean = self._exposure(self._wanted(dark), own, passed)
            return enhance_picture(self._system, dark, mean=mean, **told)
        bright = enhance_picture(self._system, dark, **self._told)
        wanted = bright.mean().item()
        mean = self._exposure(wanted, own, passed)
        return bright if mean == wanted else of_mean(bright, mean)

    def _wanted(self, dark: Tensor) -> float:
        """The mean that the system would give this frame by itself."""
        side = 2 ** self._system.levels(*dark.shape[-2:])  # type: ignore[operator]
        band = F.avg_pool2d(dark[None], side, ceil_mode=True)
        return self._system.wanted_mean(band, self._told.get("brightness", 0.0)).item()  # type: ignore[operator]

    def state(self) -> dict[str, Tensor]:
        """All that the next frame depends on."""
        numbers = [self._time, self._exposure.own, float("nan") if self._exposure.lift is None else self._exposure.lift]
        state = {"numbers": torch.tensor(numbers, dtype=torch.float64, device="cpu")}
        if self._average.mean is not None and self._average.count is not None:
            state |= {"mean": self._average.mean.cpu(), "count": self._average.count.cpu()}
        return state

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Goes on as the one whose `state` it was."""
        self._time, self._exposure.own, lift = state["numbers"].tolist()
        self._exposure.lift = None if lift != lift else lift
        if "mean" in state:
            device = self._system.device
            self._average.mean, self._average.count = state["mean"].to(device), state["count"].to(device)
