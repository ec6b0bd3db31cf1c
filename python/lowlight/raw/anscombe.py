"""The generalised Anscombe transform: photon and read noise brought to deviation 1, and back without bias.

Makitalo and Foi, "Optimal inversion of the generalized Anscombe transformation for Poisson-Gaussian noise", IEEE
Transactions on Image Processing 22, 2013. Numbers d of mean m are gain * Poisson(m / gain) + N(0, deviation^2), less
the black level; gain 0 is noise without photons. Arrays are float64, of any shape.
"""

from __future__ import annotations

import math

import numpy as np

# the normal distribution as a sum over evenly spaced places: exact to 1e-14 for what is smooth
_NODES = np.linspace(-8, 8, 801)
_WEIGHTS = np.exp(-(_NODES**2) / 2) / np.exp(-(_NODES**2) / 2).sum()
# means in the table of the exact inverse
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

    Right to a few hundredths of a photon, and the better the more there are. Raises as `stabilise` does.
    """
    _check(gain, deviation)
    if gain == 0:
        return np.maximum(np.asarray(values, dtype=np.float64) * deviation, 0)
    root = math.sqrt(1.5)
    # below its least value the series in 1 / D runs away; there it is 0
    D = np.maximum(np.asarray(values, dtype=np.float64), root)
    photons = D**2 / 4 + root / (4 * D) - 11 / (8 * D**2) + 5 * root / (8 * D**3) - 1 / 8 - (deviation / gain) ** 2
    return gain * np.maximum(photons, 0)


def unbiased_inverse(values: np.ndarray, gain: float, deviation: float, *, clipped: bool = False) -> np.ndarray:
    """The mean m >= 0 whose E[stabilised d] is `values`, exactly; by the closed form where there is light enough.

    clipped: the numbers were clipped at 0 before they were stabilised, which lifts what is dark; the inverse undoes
    that too (as Foi, "Clipped noisy images", Signal Processing 89, 2009, does for homoscedastic noise).
    Raises as `stabilise` does.
    """
    values = np.asarray(values, dtype=np.float64)
    result = closed_form_inverse(values, gain, deviation)
    means, expected = _table(gain, deviation, clipped)
    return np.where(values < expected[-1], np.interp(values, expected, means), result)


def _table(gain: float, deviation: float, clipped: bool) -> tuple[np.ndarray, np.ndarray]:
    """Means from 0 to where clipping and the closed form's error have died away, and E[stabilised d] of each."""
    steps = np.linspace(0, 1, _MEANS) ** 2
    if gain == 0:
        means = 8 * steps
        return means * deviation, _over_read_noise(means, 1.0, lambda z: z, clipped)
    read = deviation / gain
    most = 60 + 8 * read
    photons = most * steps
    counts = np.arange(int(most + 10 * math.sqrt(most) + 10))
    log_factorial = np.cumsum(np.log(np.maximum(counts, 1)))
    # at no light at all 0 log 0 is 0
    logs = counts * np.log(np.maximum(photons, 1e-300))[:, None] - photons[:, None] - log_factorial
    return gain * photons, np.exp(logs) @ _over_read_noise(counts, read, lambda z: _root(z, read), clipped)


def _over_read_noise(places: np.ndarray, read: float, transform, clipped: bool) -> np.ndarray:
    """E[transform(place + N(0, read^2))] of every place."""
    z = places[:, None] + read * _NODES
    return transform(np.maximum(z, 0) if clipped else z) @ _WEIGHTS


def _root(photons: np.ndarray, read: float) -> np.ndarray:
    return 2 * np.sqrt(np.maximum(photons + 3 / 8 + read**2, 0))


def _check(gain: float, deviation: float) -> None:
    if not (0 <= gain < math.inf and 0 <= deviation < math.inf and gain + deviation > 0):
        raise ValueError(
            f"anscombe: gain and deviation must be finite, 0 or more and not both 0, got {gain:g} and {deviation:g}"
        )
