"""Draws of a camera's noise for `lowlight_ext.raw_noise`: g, P+g, p+g, P+G+r+u (ELD) and every other combination."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from lowlight_ext import RawNoiseParameters

from .cameras import SCALES, Camera

# the combinations in use; raw_noise takes any of u, P or p, r, g or G
PUBLISHED_MODELS = ("g", "P+g", "p+g", "P+G+r+u")
# how many times longer the clean exposure is, as published, and with `continuous_noise`
RATIO_RANGE = (100.0, 300.0)
CONTINUOUS_RATIO_RANGE = (20.0, 300.0)


def typical_parameters(camera: Camera, model: str, *, K: float, ratio: float) -> RawNoiseParameters:
    """The noise at gain K in the middle of what the camera's calibration allows: scales on their lines.

    G_shape is the median of the camera's. Raises ValueError for a model that is no combination, K or ratio not above 0.
    """
    _check_range("K", (K, K))
    _check_range("ratio", (ratio, ratio))
    scales = {name: math.exp(getattr(camera, name).mean(K)) for name in SCALES}
    return _checked(RawNoiseParameters(K, ratio, model, G_shape=float(np.median(camera.G_shape)), **scales))


def draw_parameters(
    camera: Camera | Sequence[Camera],
    model: str,
    generators: Sequence[np.random.Generator],
    *,
    K: float | tuple[float, float] | None = None,
    ratio: float | tuple[float, float] = RATIO_RANGE,
) -> RawNoiseParameters:
    """One draw a sample, each from its own generator, so that a sample's noise is the same alone and in a batch.

    Of several cameras every sample is one's, each as likely. log K ~ U over K (the camera's K_range if None); log scale
    ~ N(slope log K + bias, sigma); G_shape one of the camera's; ratio ~ U over its range. K, ratio: a number, or
    (low, high). Returns float64 tensors [B] on the CPU.
    Every draw takes the same numbers of the generator, whatever is given and whatever the model.
    Raises ValueError for a model that is no combination of u, P or p, r, g or G, without generators, and for a range
    that is not above 0 or not in order.
    """
    cameras = [camera] if isinstance(camera, Camera) else list(camera)
    gains = [_check_range("K", one.K_range if K is None else K) for one in cameras]
    ratios = _check_range("ratio", ratio)
    if not generators:
        raise ValueError("draw_parameters: one generator a sample is needed, got none")
    # one camera takes no number of the generator
    chosen = [int(rng.integers(len(cameras))) if len(cameras) > 1 else 0 for rng in generators]
    draws = (_draw(cameras[i], rng, gains[i], ratios) for i, rng in zip(chosen, generators, strict=True))
    columns = zip(*draws, strict=True)
    names = ("K", "ratio", *SCALES, "G_shape")
    values: dict[str, Any] = {
        name: torch.tensor(column, dtype=torch.float64) for name, column in zip(names, columns, strict=True)
    }
    return _checked(RawNoiseParameters(model=model, **values))


def photon_gain(parameters: RawNoiseParameters) -> float:
    """K of one draw where its model counts photons (P or p), else 0."""
    return float(parameters.K) if {"P", "p"} & set(parameters.model.split("+")) else 0.0


def read_deviation(parameters: RawNoiseParameters) -> float:
    """Deviation, in digital numbers, of all of one draw's noise that is not of photons: rounding, rows, read noise.

    Raises ValueError for a Tukey lambda of -1/2 or less, whose deviation is infinite.
    """
    names = parameters.model.split("+")
    scales = {"u": math.sqrt(1 / 12), "r": float(parameters.R_scale), "g": float(parameters.g_scale)}
    if "G" in names:
        scales["G"] = float(parameters.G_scale) * tukey_deviation(float(parameters.G_shape))
    return math.hypot(*(scales[name] for name in names if name in scales))


def tukey_deviation(shape: float) -> float:
    """Deviation of Tukey's lambda of scale 1: sqrt(2 / L^2 (1 / (1 + 2 L) - Gamma(L + 1)^2 / Gamma(2 L + 2))).

    Raises ValueError for a shape of -1/2 or less.
    """
    if not shape > -0.5:
        raise ValueError(f"noise of a camera: a Tukey lambda above -1/2 has a deviation, got {shape:g}")
    if abs(shape) < 1e-4:
        return math.pi / math.sqrt(3)  # the logistic distribution; the formula is 0 / 0 there
    mixed = math.exp(2 * math.lgamma(shape + 1) - math.lgamma(2 * shape + 2))
    return math.sqrt(2 * (1 / (1 + 2 * shape) - mixed)) / abs(shape)


def _draw(
    camera: Camera, rng: np.random.Generator, gains: tuple[float, float], ratios: tuple[float, float]
) -> tuple[float, ...]:
    """K, ratio, the scales in the order of SCALES, G_shape."""
    where, how_long = rng.random(2)
    low, high = map(math.log, gains)
    K = math.exp(low + (high - low) * where)
    errors = rng.standard_normal(len(SCALES))
    lines = [getattr(camera, name) for name in SCALES]
    scales = [math.exp(line.mean(K) + line.sigma * z) for line, z in zip(lines, errors, strict=True)]
    shape = camera.G_shape[rng.integers(len(camera.G_shape))]
    return K, ratios[0] + (ratios[1] - ratios[0]) * how_long, *scales, shape


def _check_range(name: str, value: float | tuple[float, float]) -> tuple[float, float]:
    low, high = value if isinstance(value, tuple) else (value, value)
    if not 0 < low <= high < math.inf:
        raise ValueError(f"noise of a camera: {name} must be above 0, and (low, high) in order, got {value}")
    return low, high


def _checked(parameters: RawNoiseParameters) -> RawNoiseParameters:
    # asks for the parts, which raises for a model that is no combination
    parameters.parts()
    return parameters
