"""What is measured of a variant: pictures noised and denoised, at its own time and at the control's noise, new ones."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..metrics.measures import MEASURES, Measure, View, score
from ..metrics.scores import mean_shift, mse
from ..seeds import first_seed
from ..systems.ddpm.system import DDPM

START, EQUAL, GENERATED = VIEWS = ("start", "equal noise", "generated")
SHOWN = 16  # pictures of a strip
_ROUND = 32  # pictures generated at once


def shift(result: Tensor, truth: Tensor) -> Tensor:
    """[B]: how far the means of R, G and B are from the truth's, the mean of the three distances."""
    return mean_shift(result, truth).abs().mean(dim=1)


def relative_shift(result: Tensor, truth: Tensor) -> Tensor:
    """[B]: the shift over the truth's mean, so that dark pictures and bright ones compare."""
    return shift(result, truth) / truth.double().mean(dim=(1, 2, 3)).clamp(min=1 / 255)


def _channel(result: Tensor, truth: Tensor, channel: int) -> Tensor:
    return mean_shift(result, truth)[:, channel]


_OF_ONE_PICTURE = (
    "Mean RGB shift: |mean(result) - mean(truth)|, the mean of R, G and B; relative: over the truth's mean."
)
STUDIED = (
    Measure("mse", "MSE x 1000", 3, "lower", lambda x, y: 1000 * mse(x, y), "MSE: of values in [0, 1]."),
    Measure("shift", "RGB shift", 4, "lower", shift, _OF_ONE_PICTURE),
    Measure("relative_shift", "relative shift", 4, "lower", relative_shift, _OF_ONE_PICTURE),
    *(
        Measure(f"shift_{name}", f"shift {name.upper()}", 4, "zero", lambda x, y, i=i: _channel(x, y, i), "")
        for i, name in enumerate("rgb")
    ),
    *(measure for measure in MEASURES if measure.name in ("psnr", "ssim_rgb")),
)
_OF_ALL = (
    "New pictures: the distance of their mean R, G and B from the training pictures'; the deviation of their "
    "brightness from picture to picture over that of the training pictures, 1 is right."
)
GENERATED_MEASURES = (
    Measure("shift", "RGB shift", 4, "lower", shift, _OF_ALL),
    Measure("relative_shift", "relative shift", 4, "lower", shift, _OF_ALL),
    Measure("spread", "spread of brightness", 2, "one", shift, _OF_ALL),
)


class Measured(NamedTuple):
    """rows: {view, picture, a value a measure}. facts: of the process. strips: [N, 3, S, S] to look at, by name."""

    rows: list[dict[str, Any]]
    facts: dict[str, Any]
    strips: dict[str, Tensor]


def measure(
    system: DDPM,
    truth: Tensor,
    trained_on: Tensor,
    seed: int,
    *,
    equal_noise: float,
    generated: int,
    steps: int,
    more: Sequence[Measure] = (),
) -> Measured:
    """All that is measured of a trained variant.

    truth: held-out pictures [N, 3, S, S] in [0, 1]; trained_on: those it has learned. seed: of all noise. equal_noise:
    alpha_bar at which pictures are noised a second time. generated, steps: new pictures, and network calls of each.
    more: measures beside STUDIED.
    """
    begun = time.perf_counter()
    seeds = torch.arange(len(truth)) + first_seed(seed, 20)
    start, equal = system.config.start, int((system.alpha_bar - equal_noise).abs().argmin())
    strips, rows = {"truth": truth}, []
    for view, at in ((START, start), (EQUAL, equal)):
        if view == START or at != start:
            seen = system.sampled_with(replace(system.config, start=at))
            result = seen.enhance_tensor(truth.to(system.device), seed=seeds).float().cpu()
        measured = score([View("srgb", "", result, truth)], (*STUDIED, *more))
        scores = {name: values for name, (_, values) in measured.items()}
        rows += [
            {"view": view, "picture": str(i), **{name: value[i].item() for name, value in scores.items()}}
            for i in range(len(truth))
        ]
        strips["denoised" if view == START else "equal noise"] = result
    new = _generate(system, truth, generated, steps, seed)
    strips["generated"] = new
    rows.append({"view": GENERATED, "picture": "all", **of_all(new, trained_on)})
    return Measured(rows, _facts(system, start, equal) | {"seconds": time.perf_counter() - begun},
                    {name: strip[:SHOWN] for name, strip in strips.items()})  # fmt: skip


def _generate(system: DDPM, truth: Tensor, count: int, steps: int, seed: int) -> Tensor:
    """New pictures; those of an anchored process are told the blur of the held-out ones, one after another."""
    parts, side = [], truth.shape[-1]
    for first in range(0, count, _ROUND):
        numbers = torch.arange(first, min(count, first + _ROUND))
        center = system.center(truth[numbers % len(truth)].to(system.device))
        calls = min(steps, system.config.timesteps)
        made = system.generate(
            (len(numbers), side, side), steps=calls, seed=numbers + first_seed(seed, 20) + (1 << 18), center=center
        )
        parts.append(made.float().cpu())
    return torch.cat(parts)


def of_all(new: Tensor, trained_on: Tensor) -> dict[str, float]:
    """GENERATED_MEASURES of new pictures, of all of them at once."""
    means, wanted = new.double().mean(dim=(2, 3)), trained_on.double().mean(dim=(2, 3))
    distance = (means.mean(dim=0) - wanted.mean(dim=0)).abs().mean()
    return {
        "shift": distance.item(),
        "relative_shift": (distance / wanted.mean()).item(),
        "spread": (means.mean(dim=1).std() / wanted.mean(dim=1).std()).item(),
    }


def _facts(system: DDPM, start: int, equal: int) -> dict[str, Any]:
    def noise(t: int) -> float:
        return math.sqrt(1 - system.alpha_bar[t].item())

    return {
        "parameters": sum(p.numel() for p in system.parameters()),
        "start": start,
        "noise": noise(start),
        "equal_start": equal,
        "equal_noise": noise(equal),
        "signal_left": math.sqrt(max(0.0, system.alpha_bar[-1].item())),
    }
