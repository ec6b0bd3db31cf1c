"""Systems in raw space as methods to score, and what knows no protocol under each of the two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from ..systems.exposurediffusion.process import illuminance_gain
from ..systems.exposurediffusion.system import ExposureDiffusion
from .raw_samples import Exposures
from .report import Method, Report

# what is said of the two protocols wherever figures stand
PROTOCOL_NOTES = {
    "blind": "Protocol blind: no gain, what a photographer gets.",
    "paper": (
        "Protocol paper: every network output, and the result of every other method, is fitted to the ground truth by "
        "one gain a picture, as the published figures are; it is not to be compared with blind."
    ),
}
_PADDING = 16


def raw_report() -> Report:
    """An empty one of scores in raw space: entries by set, ratio, method, protocol and number of network calls."""
    return Report(("set", "ratio", "method", "protocol", "calls"), ("picture", "exact_ratio", "K"))


def protocol_methods(name: str, denoise: Callable[[Exposures], Tensor], protocols: Sequence[str]) -> list[Method]:
    """What knows nothing of protocols under each: as it comes, or (paper) fitted to the truth by one gain."""

    def run(protocol: str, exposures: Exposures, seed: int) -> Tensor:
        result = denoise(exposures)
        return result if protocol == "blind" else result * illuminance_gain(result[None], exposures.clean[None])[0]

    return [Method(name, partial(run, p), protocol=p) for p in protocols]


def system_methods(
    name: str, system: ExposureDiffusion, protocols: Sequence[str], steps: Sequence[int] | None = None
) -> list[Method]:
    """A loaded system under each protocol. steps: network calls, a method each (default: the system's own)."""

    def method(calls: int, protocol: str) -> Method:
        def run(exposures: Exposures, seed: int) -> Tensor:
            size = exposures.clean.shape[1:]
            low, truth = (padded_as_published(x).to(system.device)[None] for x in exposures[:2])
            target = truth if protocol == "paper" else None
            result = system.enhance_tensor(
                low, ratio=exposures.ratio, K=exposures.K, steps=calls, protocol=protocol, target=target, seed=seed
            )
            top, left = ((whole - side) // 2 for whole, side in zip(low.shape[2:], size, strict=True))
            return result[0, :, top : top + size[0], left : left + size[1]].float().cpu()

        title = f"{name}, {calls} call{'s' * (calls > 1)}"
        return Method(title, run, seeded=True, about={"calls": calls}, protocol=protocol, device=str(system.device))

    return [method(calls, protocol) for calls in (steps or [system.config.steps]) for protocol in protocols]


def padded_as_published(x: Tensor) -> Tensor:
    """[4, h, w] reflected on all sides up to the next multiple of 16, by 16 where it is one; the odd row goes last."""
    for dim in (1, 2):
        size = x.shape[dim]
        before = (_PADDING - size % _PADDING) // 2
        period = max(1, 2 * size - 2)
        positions = torch.arange(-before, size - before + _PADDING - size % _PADDING) % period
        x = x.index_select(dim, torch.minimum(positions, period - positions).clamp(max=size - 1))
    return x
