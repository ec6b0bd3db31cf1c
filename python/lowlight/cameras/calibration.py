"""A camera's calibration from the frames of its gains: photon transfer, read noise, lines through both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .cameras import HIGHEST_ISO, LOWEST_ISO, SCALES, Camera, Line
from .photon_transfer import CalibrationError, black_level, fit_gain, photon_transfer
from .read_noise import fit_tukey_lambda, read_noise, shape_values


@dataclass(frozen=True)
class Measurement:
    """What the frames of one gain say. shapes: one Tukey lambda a bias frame. notes: what the user should know."""

    iso: float | None
    K: float
    g_scale: float
    G_scale: float
    R_scale: float
    shapes: tuple[float, ...]
    notes: tuple[str, ...] = ()


def measure(bias: np.ndarray, flats: Sequence[np.ndarray], white: float, iso: float | None = None) -> Measurement:
    """K, read noise, row noise and shapes of one gain. white: the level at which the sensor clips, black included.

    Raises CalibrationError for frames that hold no such thing, naming what is wrong.
    """
    black = black_level(bias)
    transfers = [photon_transfer(frames, black) for frames in flats]
    if len(bias) > 1:
        transfers.append(photon_transfer(bias, black))
    K = fit_gain(transfers, white - float(black.mean()))
    g_scale, R_scale, distinct = read_noise(bias)
    fits = [fit_tukey_lambda(values) for values in shape_values(bias)]
    notes = [] if distinct else ["no row noise above the error of its measurement, which was taken instead"]
    if len(bias) == 1:
        notes.append("one bias frame only: the fixed pattern counts as noise")
    G_scale = float(np.mean([scale for _, scale in fits]))
    return Measurement(iso, K, g_scale, G_scale, R_scale, tuple(round(shape, 6) for shape, _ in fits), tuple(notes))


def fit_camera(name: str, measurements: Sequence[Measurement], models: Sequence[str] = ()) -> Camera:
    """The calibration of several gains: lines of log scale against log K, K proportional to the ISO.

    With one gain the lines are flat, and K_range holds that gain alone. Raises CalibrationError without measurements,
    and where an ISO is not known.
    """
    if not measurements:
        raise CalibrationError("calibrate: there are no measurements")
    isos = [m.iso for m in measurements if m.iso and m.iso > 0]
    if len(isos) < len(measurements):
        raise CalibrationError("calibrate: the ISO of some frames is not known; name folders or files such as iso800")
    Kmin = math.exp(
        float(np.mean([math.log(m.K * LOWEST_ISO / iso) for m, iso in zip(measurements, isos, strict=True)]))
    )
    gains = [m.K for m in measurements]
    shapes = tuple(shape for m in measurements for shape in m.shapes)
    lines = {scale: _fit_line(gains, [getattr(m, scale) for m in measurements]) for scale in SCALES}
    Kmax = Kmin * HIGHEST_ISO / LOWEST_ISO
    return Camera(name, Kmin, Kmax, shapes, **lines, K_range=(min(gains), max(gains)), models=tuple(models))


def _fit_line(gains: Sequence[float], scales: Sequence[float]) -> Line:
    x, y = np.log(gains), np.log(scales)
    if len(x) < 2 or np.ptp(x) < 1e-3:
        return Line(0.0, float(y.mean()), 0.0)
    slope, bias = np.polyfit(x, y, 1)
    rest = y - slope * x - bias
    return Line(float(slope), float(bias), math.sqrt(float(rest @ rest) / (len(x) - 2)) if len(x) > 2 else 0.0)
