"""Read noise and row noise of bias frames, and the Tukey lambda that fits the read noise.

Frames are mosaics [N, H, W] of one gain in digital numbers; H and W even. All figures are of the numbers as the file
has them, rounding included, as in the published calibrations.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .photon_transfer import CalibrationError

# pixels of a frame that the shape is fitted to
MOST_VALUES = 1 << 16
# Tukey lambdas looked through: from -1/2 on the deviation is finite, 1 is uniform
SHAPE_RANGE = (-0.49, 1.0)


def read_noise(bias: np.ndarray) -> tuple[float, float, bool]:
    """g_scale, R_scale of bias frames, and whether the rows' noise can be told from none.

    With 2 or more frames the fixed pattern (their mean) is taken out and does not count; with one, only the mean of
    each place in the cell. Var(mean of a row) = R^2 + g^2 / W; a row noise below its own error counts as that error.
    """
    count, height, width = bias.shape
    rest = bias.astype(np.float64)
    if count > 1:
        rest = (rest - rest.mean(axis=0)) * math.sqrt(count / (count - 1))
        rest -= rest.mean(axis=(1, 2), keepdims=True)
    else:
        cells = rest.reshape(count, height // 2, 2, width // 2, 2)
        rest = (cells - cells.mean(axis=(1, 3), keepdims=True)).reshape(bias.shape)
    rows = rest.mean(axis=2, keepdims=True)
    within = float(((rest - rows) ** 2).sum() / (count * height * (width - 1)))
    between = float((rows**2).sum() / (count * (height - 1))) - within / width
    error = within / width * math.sqrt(2 / (count * height))
    return math.sqrt(within), math.sqrt(max(between, error)), between > 2 * error


def shape_values(bias: np.ndarray) -> np.ndarray:
    """[N, M] read noise of every frame for the fit of its shape, rows taken out, deviation as `read_noise` says.

    The mean frame holds the fixed pattern and 1/N of the noise: taking it out whole makes heavy tails look normal. So
    it is taken out by the part of it that is pattern, p / (p + g^2 / N), nothing where there is none.
    """
    count, height, width = bias.shape
    cells = bias.astype(np.float64).reshape(count, height // 2, 2, width // 2, 2)
    rest = (cells - cells.mean(axis=(1, 3), keepdims=True)).reshape(bias.shape)
    rest -= rest.mean(axis=2, keepdims=True)
    scale = read_noise(bias)[0]
    if count > 1:
        mean = rest.mean(axis=0)
        power = float(mean.var())
        rest -= max(0.0, 1 - scale**2 / count / power) * mean if power else 0.0
    # an odd step, or only one colour would be looked at
    step = max(1, height * width // MOST_VALUES) | 1
    values = rest.reshape(count, -1)[:, ::step]
    deviation = values.std(axis=1, keepdims=True)
    return values * np.divide(scale, deviation, out=np.zeros_like(deviation), where=deviation > 0)


def tukey_quantile(u: np.ndarray, shape: float) -> np.ndarray:
    """(u^lambda - (1 - u)^lambda) / lambda, ln(u / (1 - u)) at 0, as `lowlight_ext.tukey_lambda` draws."""
    if abs(shape) < 1e-6:
        return np.log(u / (1 - u))
    return (u**shape - (1 - u) ** shape) / shape


def fit_tukey_lambda(values: np.ndarray) -> tuple[float, float]:
    """Shape and scale of values [M]: the lambda of the straightest probability plot (PPCC, Filliben 1975), its slope.

    Lambda is looked for in SHAPE_RANGE, to 1e-4. Raises CalibrationError where all values are one.
    """
    ordered = np.sort(values.astype(np.float64))
    ordered -= ordered.mean()
    if not ordered.any():
        raise CalibrationError("calibrate: the bias frames hold one value only: there is no read noise in them")
    count = len(ordered)
    # medians of the order statistics
    u = (np.arange(1, count + 1) - 0.3175) / (count + 0.365)
    u[0], u[-1] = 1 - 0.5 ** (1 / count), 0.5 ** (1 / count)

    def correlation(shape: float) -> float:
        quantile = tukey_quantile(u, shape)
        return float(ordered @ quantile / math.sqrt((ordered @ ordered) * (quantile @ quantile)))

    grid = np.linspace(*SHAPE_RANGE, 16)
    best = int(np.argmax([correlation(shape) for shape in grid]))
    shape = _highest(correlation, grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)])
    quantile = tukey_quantile(u, shape)
    return shape, float(ordered @ quantile / (quantile @ quantile))


def _highest(call: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one peak is highest, by golden sections."""
    golden = (math.sqrt(5) - 1) / 2
    a, b = high - golden * (high - low), low + golden * (high - low)
    at_a, at_b = call(a), call(b)
    while high - low > 1e-4:
        if at_a > at_b:
            high, b, at_b = b, a, at_a
            a = high - golden * (high - low)
            at_a = call(a)
        else:
            low, a, at_a = a, b, at_b
            b = low + golden * (high - low)
            at_b = call(b)
    return float((low + high) / 2)
