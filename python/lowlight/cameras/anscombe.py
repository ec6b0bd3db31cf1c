"""The generalised Anscombe transform: photon and read noise brought to deviation 1, and back without bias.

Makitalo and Foi, "Optimal inversion of the generalized Anscombe transformation for Poisson-Gaussian noise", IEEE
Transactions on Image Processing 22, 2013. Numbers d of mean m are gain * Poisson(m / gain) + N(0, deviation^2), less
the black level; gain 0 is noise without photons. Arrays are float64, of any shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

# the normal distribution as a sum over evenly spaced places: exact to 1e-14 for what is smooth
_NODES = np.linspace(-8, 8, 801)
_WEIGHTS = np.exp(-(_NODES**2) / 2) / np.exp(-(_NODES**2) / 2).sum()
# means in either half of the table of the unbiased inverse
_MEANS = 1024


def stabilise(numbers: np.ndarray, gain: float, deviation: float) -> np.ndarray:
    """2 sqrt(d / gain + 3/8 + (deviation / gain)^2), 0 where the root is of less than 0; d / deviation at gain 0.

    numbers: d. Raises ValueError for a gain or deviation below 0 or not finite, and for both 0.
    """
    _check(gain, deviation)
    numbers = np.asarray(numbers, dtype=np.float64)
    return numbers / deviation if gain == 0 else _root(numbers / gain, deviation / gain)


def closed_form_inverse(values: np.ndarray, gain: float, deviation: float) -> np.ndarray:
    """The mean m of numbers whose stabilised values have the mean `values`, by the paper's closed form; 0 or more.

    Right to a few hundredths of a photon, and blind to clipping. Raises as `stabilise` does.
    """
    _check(gain, deviation)
    if gain == 0:
        return np.maximum(np.asarray(values, dtype=np.float64) * deviation, 0)
    root = math.sqrt(1.5)
    # below its least value the series in 1 / D runs away; there it is 0
    D = np.maximum(np.asarray(values, dtype=np.float64), root)
    photons = D**2 / 4 + root / (4 * D) - 11 / (8 * D**2) + 5 * root / (8 * D**3) - 1 / 8 - (deviation / gain) ** 2
    return gain * np.maximum(photons, 0)


def unbiased_inverse(values: np.ndarray, gain: float, deviation: float, *, white: float | None = None) -> np.ndarray:
    """The mean m >= 0 whose E[stabilised d] is `values`; without white the closed form where there is light enough.

    white: the numbers were clipped to [0, white] before they were stabilised, which lifts what is dark and dims what
    is bright; the inverse, at most white, undoes that too (as Foi, "Clipped noisy images", Signal Processing 89, 2009).
    Raises as `stabilise` does, and for a white that is not above 0.
    """
    _check(gain, deviation)
    if white is not None and not 0 < white < math.inf:
        raise ValueError(f"anscombe: white must be above 0 and finite, got {white:g}")
    values = np.asarray(values, dtype=np.float64)
    unit = gain or deviation
    means, expected = _table(deviation / unit, gain > 0, math.inf if white is None else white / unit)
    result = np.interp(values, expected, unit * means)
    return (
        result
        if white is not None
        else np.where(values < expected[-1], result, closed_form_inverse(values, gain, deviation))
    )


def _table(read: float, counted: bool, white: float) -> tuple[np.ndarray, np.ndarray]:
    """Means in photons (deviations where they are not counted) and E[stabilised d] of each, both ascending.

    Without a white they end where clipping at black and the closed form's error have died away. Poisson's law is taken
    as it is up to there, and as a normal one beyond, where 60 photons at least make them alike.
    """
    most = min(60 + 8 * read if counted else 8.0, white)
    clip = (-math.inf, math.inf) if white == math.inf else (0.0, white)
    dark = most * np.linspace(0, 1, _MEANS) ** 2
    bright = np.linspace(math.sqrt(most), math.sqrt(white), _MEANS)[1:] ** 2 if most < white < math.inf else dark[:0]
    means = np.concatenate([dark, bright])
    if not counted:
        return means, _over_normal(means, 1.0, clip, lambda z: z)
    counts = np.arange(int(most + 10 * math.sqrt(most) + 10))
    log_factorial = np.cumsum(np.log(np.maximum(counts, 1)))
    # at no light at all 0 log 0 is 0
    logs = counts * np.log(np.maximum(dark, 1e-300))[:, None] - dark[:, None] - log_factorial
    few = np.exp(logs) @ _over_normal(counts, read, clip, lambda z: _root(z, read))
    many = _over_normal(bright, np.sqrt(bright + read**2)[:, None], clip, lambda z: _root(z, read))
    return means, np.concatenate([few, many])


def _over_normal(
    places: np.ndarray, spread: float | np.ndarray, clip: tuple[float, float], transform: Callable
) -> np.ndarray:
    """E[transform(clip(place + N(0, spread^2)))] of every place."""
    return transform((places[:, None] + spread * _NODES).clip(*clip)) @ _WEIGHTS


def _root(photons: np.ndarray, read: float) -> np.ndarray:
    return 2 * np.sqrt(np.maximum(photons + 3 / 8 + read**2, 0))


def _check(gain: float, deviation: float) -> None:
    if not (0 <= gain < math.inf and 0 <= deviation < math.inf and gain + deviation > 0):
        raise ValueError(
            f"anscombe: gain and deviation must be finite, 0 or more and not both 0, got {gain:g} and {deviation:g}"
        )
