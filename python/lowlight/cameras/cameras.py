"""Noise calibrations of cameras: the five published ones and those of `lowlight calibrate`, in one JSON form."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

# where the published draws take the gain from, whatever the camera: log K ~ U(log 0.1, log 30)
K_RANGE = (0.1, 30.0)
LOWEST_ISO, HIGHEST_ISO = 100, 6400
SATURATION = 15583.0  # white level less black level, for every camera
# scales a camera must give; the key under which the published files keep them
SCALES = ("g_scale", "G_scale", "R_scale")
PROFILE = "Profile-1"

_SHIPPED = Path(__file__).parent / "cameras.json"


class CameraError(ValueError):
    """A calibration that is not there or cannot be used; the message is one sentence meant for the user."""


@dataclass(frozen=True)
class Line:
    """log scale ~ N(slope log K + bias, sigma); natural logarithms, the scale in digital numbers."""

    slope: float
    bias: float
    sigma: float = 0.0

    def mean(self, K: float) -> float:
        """slope log K + bias. Raises nothing for K above 0."""
        return self.slope * math.log(K) + self.bias


@dataclass(frozen=True)
class Camera:
    """A sensor's noise against its system gain K, digital numbers an electron (ELD, Wei et al., CVPR 2020).

    Kmin, Kmax: K at ISO 100 and 6400. G_shape: Tukey lambdas measured, one of which a draw takes. g_scale, G_scale:
    normal deviation and Tukey-lambda scale of the read noise; R_scale: deviation of the row noise.
    K_range: gains that draws come from. models: as EXIF writes the camera's model, less the maker's name.
    """

    name: str
    Kmin: float
    Kmax: float
    G_shape: tuple[float, ...]
    g_scale: Line
    G_scale: Line
    R_scale: Line
    K_range: tuple[float, float] = K_RANGE
    models: tuple[str, ...] = ()

    def K(self, iso: float | None) -> float:
        """The gain of a picture from its ISO, a line through Kmin at ISO 100 and Kmax at 6400.

        Raises CameraError for an ISO that is missing, zero, negative or not finite, or gives no gain above 0.
        """
        if iso is None or not (math.isfinite(iso) and iso > 0):
            raise CameraError(f"{self.name}: the gain follows from the ISO, which must be above 0, got {iso}")
        K = (iso - LOWEST_ISO) / (HIGHEST_ISO - LOWEST_ISO) * (self.Kmax - self.Kmin) + self.Kmin
        if not K > 0:
            raise CameraError(f"{self.name}: ISO {iso:g} is below what the calibration covers (K would be {K:.3g})")
        return K

    def to_dict(self) -> dict[str, Any]:
        """What `parse_camera` reads back, in the published keys."""
        scales = {name: getattr(self, name) for name in SCALES}
        return {
            "models": list(self.models),
            "Kmin": self.Kmin,
            "Kmax": self.Kmax,
            "K_range": list(self.K_range),
            "G_shape": list(self.G_shape),
            PROFILE: {name: {"slope": s.slope, "bias": s.bias, "sigma": s.sigma} for name, s in scales.items()},
        }


def parse_camera(name: str, data: Any) -> Camera:
    """A camera of the published form: Kmin, Kmax, G_shape, Profile-1 {g_scale, G_scale, R_scale {slope, bias, sigma}}.

    K_range and models may be left out, other keys are passed over. Raises CameraError naming what is missing or wrong.
    """
    try:
        lines = {scale: Line(*(_number(data[PROFILE][scale][key]) for key in ("slope", "bias", "sigma")))
                 for scale in SCALES}  # fmt: skip
        shapes = tuple(_number(shape) for shape in data["G_shape"])
        low, high = (_number(K) for K in data.get("K_range", K_RANGE))
        models = tuple(str(model) for model in data.get("models", ()))
        camera = Camera(name, _number(data["Kmin"]), _number(data["Kmax"]), shapes, **lines,
                        K_range=(low, high), models=models)  # fmt: skip
    except KeyError as error:
        raise CameraError(f"{name}: a calibration needs {error.args[0]}, which is not there") from None
    # OverflowError: a whole number beyond floating point's
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CameraError(f"{name}: not a camera's calibration ({error})") from None
    if not (0 < camera.Kmin <= camera.Kmax and 0 < low <= high):
        raise CameraError(
            f"{name}: gains must be above 0 and in order, got Kmin {camera.Kmin:g}, Kmax {camera.Kmax:g}, "
            f"K_range {low:g} .. {high:g}"
        )
    if not shapes or any(line.sigma < 0 for line in lines.values()):
        raise CameraError(f"{name}: G_shape must hold a number at least, and every sigma be 0 or more")
    return camera


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"expected a finite number, got {value!r}")
    return float(value)


def read_cameras(path: str | os.PathLike) -> dict[str, Camera]:
    """Every camera of a JSON file {name: calibration}. Raises CameraError if it is missing, unreadable or not one."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise CameraError(f"{path}: {error.strerror or error}") from None
    # ValueError: no JSON, or no text; RecursionError: brackets without end
    except (ValueError, RecursionError) as error:
        raise CameraError(f"{path}: not a JSON file ({error})") from None
    if not isinstance(found, dict) or not found:
        raise CameraError(f"{path}: expected an object of cameras, {{name: calibration}}")
    try:
        return {name: parse_camera(name, data) for name, data in found.items()}
    except CameraError as error:
        raise CameraError(f"{path}: {error}") from None


@lru_cache(maxsize=1)
def shipped_cameras() -> dict[str, Camera]:
    """The published calibrations, by name."""
    return read_cameras(_SHIPPED)


def load_camera(camera: str | os.PathLike | Camera) -> Camera:
    """A camera by its published name (any case) or from the file that `lowlight calibrate` wrote.

    Raises CameraError for a name that is none, a file that does not fit, and a file of several cameras.
    """
    if isinstance(camera, Camera):
        return camera
    for name, known in shipped_cameras().items():
        if name.lower() == str(camera).lower():
            return known
    path = Path(camera)
    if not path.is_file():
        names = ", ".join(shipped_cameras())
        raise CameraError(f"{camera}: no such camera or file; known are {names}, or a file of `lowlight calibrate`")
    found = read_cameras(path)
    if len(found) > 1:
        raise CameraError(f"{path}: holds {len(found)} cameras ({', '.join(found)}), expected one")
    return next(iter(found.values()))


def camera_by_exif(model: str | None) -> Camera | None:
    """The published camera of an EXIF model such as "Canon EOS 70D" or "ILCE-7SM2"; None where none was calibrated."""
    words = " ".join((model or "").lower().split())
    for camera in shipped_cameras().values():
        if any(words == name.lower() or words.endswith(f" {name.lower()}") for name in camera.models):
            return camera
    return None
