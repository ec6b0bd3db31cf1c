"""Scores of systems in raw space on short exposures: every method sees the same pictures, one at a time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..metrics.raw import psnr, ssim
from ..raw.render import render
from ..systems.exposurediffusion.process import illuminance_gain
from ..systems.exposurediffusion.system import ExposureDiffusion
from .raw_samples import Exposures, RawSample

SCORES = ("raw_psnr", "raw_ssim", "srgb_psnr", "srgb_ssim")
# what is said of the two protocols wherever figures stand
PROTOCOL_NOTES = {
    "blind": "Protocol blind: no gain, what a photographer gets.",
    "paper": (
        "Protocol paper: every network output, and the result of every other method, is fitted to the ground truth by "
        "one gain a picture, as the published figures are; it is not to be compared with blind."
    ),
}
_PADDING = 16


@dataclass(frozen=True)
class RawMethod:
    """A way to brighten: run(exposures) -> packed [4, h, w]. protocol: "blind", or "paper" where it sees the truth.

    calls: of a network, None without one.
    """

    name: str
    protocol: str
    run: Callable[[Exposures], Tensor]
    calls: int | None = None


@dataclass
class RawReport:
    """rows: one a picture and method; problems: what could not be scored, a sentence each."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def summary(self) -> list[dict[str, Any]]:
        """Means by ratio, method and protocol, with the number of pictures and the median of seconds."""
        keys = ("ratio", "method", "protocol", "calls")
        entries = []
        for key in dict.fromkeys(tuple(row[name] for name in keys) for row in self.rows):
            mine = [row for row in self.rows if tuple(row[name] for name in keys) == key]
            means = {name: statistics.fmean(row[name] for row in mine) for name in SCORES}
            seconds = statistics.median(row["seconds"] for row in mine)
            entries.append(dict(zip(keys, key, strict=True)) | {"pictures": len(mine)} | means | {"seconds": seconds})
        return sorted(entries, key=lambda entry: entry["ratio"])


def input_methods(protocols: Sequence[str]) -> list[RawMethod]:
    """The short exposure times the ratio, with nothing done."""
    return protocol_methods("untouched", lambda exposures: exposures.short, protocols)


def protocol_methods(name: str, denoise: Callable[[Exposures], Tensor], protocols: Sequence[str]) -> list[RawMethod]:
    """What knows nothing of protocols under each: as it comes, or (paper) fitted to the truth by one gain."""

    def run(exposures: Exposures, protocol: str) -> Tensor:
        result = denoise(exposures)
        return result if protocol == "blind" else result * illuminance_gain(result[None], exposures.clean[None])[0]

    return [RawMethod(name, p, lambda exposures, p=p: run(exposures, p)) for p in protocols]


def system_methods(
    name: str,
    system: ExposureDiffusion,
    protocols: Sequence[str],
    steps: Sequence[int] | None = None,
    seed: int = 0,
) -> list[RawMethod]:
    """A loaded system under each protocol. steps: network calls, a method each (default: the system's own)."""

    def run(exposures: Exposures, protocol: str, calls: int) -> Tensor:
        size = exposures.clean.shape[1:]
        low, truth = (padded_as_published(x).to(system.device)[None] for x in exposures[:2])
        target = {"target": truth} if protocol == "paper" else {}
        result = system.enhance_tensor(
            low, ratio=exposures.ratio, K=exposures.K, steps=calls, protocol=protocol, seed=seed, **target
        )
        top, left = ((whole - side) // 2 for whole, side in zip(low.shape[2:], size, strict=True))
        return result[0, :, top : top + size[0], left : left + size[1]].float().cpu()

    return [
        RawMethod(_title(name, calls), protocol, lambda exposures, p=protocol, c=calls: run(exposures, p, c), calls)
        for calls in (steps or [system.config.steps])
        for protocol in protocols
    ]


def padded_as_published(x: Tensor) -> Tensor:
    """[4, h, w] reflected on all sides up to the next multiple of 16, by 16 where it is one; the odd row goes last."""
    for dim in (1, 2):
        size = x.shape[dim]
        before = (_PADDING - size % _PADDING) // 2
        period = max(1, 2 * size - 2)
        positions = torch.arange(-before, size - before + _PADDING - size % _PADDING) % period
        x = x.index_select(dim, torch.minimum(positions, period - positions).clamp(max=size - 1))
    return x


def evaluate_raw(
    samples: Iterable[RawSample],
    methods: Sequence[RawMethod],
    on_sample: Callable[[RawSample, dict[str, Tensor]], None] | None = None,
    on_progress: Callable[[], None] | None = None,
) -> RawReport:
    """Every method on every sample. One that cannot be read or scored counts for no method and becomes a problem.

    on_sample(sample, sRGB [3, h, w] by label: input, each method, truth); on_progress is called after every sample.
    """
    report = RawReport()
    for sample in samples:
        try:
            rows, shown = _score(sample, methods)
        except (ValueError, RuntimeError, OSError) as error:
            report.problems.append(f"{sample.name}: {error}")
        else:
            report.rows += rows
            if on_sample is not None:
                on_sample(sample, shown)
        if on_progress is not None:
            on_progress()
    return report


def _score(sample: RawSample, methods: Sequence[RawMethod]) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
    exposures = sample.load()
    truth = _rendered(exposures.clean, exposures)
    shown, rows = {"input": _rendered(exposures.short, exposures)}, []
    for method in methods:
        started = time.perf_counter()
        # the result is on the CPU, so that a GPU has finished when the clock is read
        result = method.run(exposures).clamp(0, 1)
        seconds = time.perf_counter() - started
        developed = _rendered(result, exposures)
        scores = [score(*both) for both in ((result, exposures.clean), (developed, truth)) for score in (psnr, ssim)]
        about = {"picture": sample.name, "exact_ratio": exposures.ratio, "K": exposures.K}
        rows.append(
            {"ratio": sample.ratio, "method": method.name, "protocol": method.protocol, "calls": method.calls, **about}
            | dict(zip(SCORES, scores, strict=True))
            | {"seconds": seconds}
        )
        label = f"{method.name}, {method.protocol}"
        # what is untouched is the input
        if label != "untouched, blind":
            shown[label] = developed
    return rows, shown | {"truth": truth}


def _rendered(packed: Tensor, exposures: Exposures) -> Tensor:
    return torch.from_numpy(render(packed.numpy(), exposures.picture, demosaic=False))


def _title(name: str, calls: int) -> str:
    return f"{name}, {calls} call{'s' * (calls > 1)}"
