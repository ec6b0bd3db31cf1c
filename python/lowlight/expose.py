"""The raw door: a photograph's raw file in, the same photograph exposed longer out."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .cameras.any_camera import Gain, generic_gain
from .cameras.cameras import SATURATION, Camera, CameraError, camera_by_exif, load_camera, shipped_cameras
from .data.sets.raw_pairs import exposure_ratio
from .files.pictures import FORMATS, HOLDS_16_BIT, Picture, PictureError, format_of, write_picture
from .raw.automatic import automatic_ratio
from .raw.develop import develop, is_raw
from .raw.dng import write_dng
from .raw.exif import Shot, read_exif
from .raw.files import RawPicture, denormalise, normalise, read_raw
from .raw.packing import BAYER_COLOURS, layout
from .raw.sensors import KINDS, SAID, OtherSensorError

if TYPE_CHECKING:
    import torch

    from .systems.base import RawSystem, System

# torch is imported inside the functions: `lowlight --help` must not wait for it

# network calls: more than ten were never tried, and three converge (published)
MOST_STEPS = 10
# what a DNG of float values is written with: black at 0, white at the largest number
_DNG_WHITE = 65535.0


@dataclass
class Exposed:
    """A photograph exposed longer, and how.

    packed: [4, h, w] float32 in [0, 1], linear camera colours (R, G1, B, G2; of a monochrome sensor its four places).
    raw: the photograph as it was taken. path: of its file, None where it was none.
    ratio: of the exposures. K: system gain in numbers of a sensor whose
    white is 15583 above black; camera: whose noise, or what else the gain is from.
    steps: network calls. protocol: "blind", no ground truth seen.
    """

    packed: np.ndarray
    raw: RawPicture
    path: Path | None
    ratio: float
    K: float
    camera: str
    steps: int
    protocol: str = "blind"

    def picture(self, renderer: str = "own") -> Picture:
        """Upright sRGB of 16 bits, by the own short pipeline or by "libraw"; see raw.develop.develop."""
        return develop(self.packed, self.raw, renderer, self.path)

    def dng(self) -> RawPicture:
        """A raw picture of 16 bits, black 0, white 65535, to be developed by any raw converter."""
        whole = replace(self.raw, black=np.zeros(4, np.float32), white=_DNG_WHITE, offsets=None)
        return replace(whole, mosaic=denormalise(self.packed, whole))

    def save(self, path: str | os.PathLike, renderer: str = "own", quality: int | None = None) -> tuple[str, ...]:
        """Writes a DNG file or, by any other extension, the rendered picture. Returns notes for the user.

        quality: of formats with a loss, 1 to 100.

        Raises PictureError for an extension that cannot be written, OSError if the disk refuses.
        """
        if Path(path).suffix.lower() != ".dng":
            bits = 16 if format_of(path) in HOLDS_16_BIT else 8
            return write_picture(path, replace(self.picture(renderer), bits=bits), quality)
        write_dng(path, self.dng())
        return ()

    def __str__(self) -> str:
        calls = "1 network call" if self.steps == 1 else f"{self.steps} network calls"
        line = f"ratio {self.ratio:.4g}, K {self.K:.4g} ({self.camera}), {calls}, {self.protocol} protocol"
        return f"{line}; {SAID[self.raw.kind]}" if SAID[self.raw.kind] else line


def enhance_raw(
    photograph: str | os.PathLike | RawPicture,
    model: str | os.PathLike | System = "default",
    *,
    ratio: float | None = None,
    reference: str | os.PathLike | Shot | None = None,
    camera: str | os.PathLike | Camera | None = None,
    iso: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
) -> Exposed:
    """A photograph as if exposed `ratio` times as long, by a model for raw (ExposureDiffusion), blind.

    photograph: a raw file's path or what read_raw returned; Bayer, one plane, or linear DNG (docs/raw.md). model: a
    shipped name ("default": the one for raw), a checkpoint's path or what lowlight.load returned. ratio: at least 1;
    None: the exposure (ISO x time, by EXIF) of `reference`, a raw file or JPEG, over the photograph's; without either
    the one of raw.automatic.automatic_ratio. camera: whose noise, a name of cameras.cameras.shipped_cameras(), a file
    of `lowlight calibrate` or a Camera; None: by EXIF, else the file's noise profile, the picture's own noise or its
    ISO. iso: for files that do not say theirs. steps: network calls, 1 to 10, None: the model's own number. seed: of
    the photons that are added. device, dtype: for a model given by name or path.
    Same seed, same device: same picture. Memory: see docs/raw.md.
    Raises PictureError for a file that cannot be used, CameraError where the gain is not known, ValueError for other
    arguments that do not fit (both are ValueErrors too), and what lowlight.load raises.
    """
    from .checkpoints import chosen_system
    from .shipped import DEFAULT_RAW_MODEL
    from .systems.base import raw_system

    system = raw_system(chosen_system(DEFAULT_RAW_MODEL if model == "default" else model, device, dtype))
    if ratio is not None and not hasattr(ratio, "__float__"):
        raise TypeError(f"enhance_raw: ratio must be a number, got {type(ratio).__name__}")
    if ratio is not None and reference is not None:
        raise ValueError("enhance_raw: give a ratio or a reference, not both")
    if steps is not None and not 1 <= steps <= MOST_STEPS:
        raise ValueError(f"enhance_raw: steps must be 1 to {MOST_STEPS}, got {steps}")
    if isinstance(photograph, RawPicture):
        raw, path = photograph, None
        _check_sensor(raw, "photograph")
    else:
        raw, path = read_photograph(photograph), Path(photograph)
    K, source = gain_of(raw, camera, iso)
    if ratio is None:
        ratio = automatic_ratio(raw) if reference is None else reference_ratio(reference, raw)
    if not 1 <= ratio < math.inf:
        raise ValueError(f"enhance_raw: ratio must be 1 or more, got {ratio:g}")
    packed = _expose(system, raw, ratio, K, steps, seed)
    made = system.config.steps if steps is None else steps
    return Exposed(packed, raw, path, float(ratio), K, source, made)


def read_photograph(path: str | os.PathLike) -> RawPicture:
    """A raw file as enhance_raw takes it; raises PictureError, OtherSensorError where only the sensor does not fit."""
    try:
        raw = read_raw(path, KINDS)
    except PictureError:
        if Path(path).suffix.lower() in FORMATS and Path(path).is_file():
            raise PictureError(f"{path}: an sRGB picture; the model works on the raw files of cameras") from None
        raise
    _check_sensor(raw, path)
    return raw


def _check_sensor(raw: RawPicture, name: str | os.PathLike) -> None:
    if layout(raw.pattern).colours != BAYER_COLOURS:
        raise OtherSensorError(f"{name}: the model takes four channels of a Bayer array, and this is X-Trans")


def gain_of(raw: RawPicture, camera: str | os.PathLike | Camera | None = None, iso: float | None = None) -> Gain:
    """The gain of a picture and where it is from: the camera asked for, else the published one of its EXIF, else what
    is known of any (cameras.any_camera.generic_gain). Raises CameraError where nothing tells it.
    """
    if camera is None and raw.kind == "linear" and raw.noise is not None:
        # what was done to these numbers before, the calibration of the sensor does not know
        return generic_gain(raw, iso)
    found = camera_by_exif(raw.model) if camera is None else load_camera(camera)
    return generic_gain(raw, iso) if found is None else Gain(gain(found, raw, iso), found.name)


def gain(camera: Camera, raw: RawPicture, iso: float | None = None) -> float:
    """System gain K of a picture in numbers of S = 15583, which the networks count in, from its ISO.

    The published calibrations are in such numbers, whatever the camera, and taken as they are; one's own is in
    numbers of its files, of which the picture's levels say how many there are. iso: in the place of the picture's.
    Raises CameraError where no ISO is known.
    """
    if iso is None and raw.iso is None:
        raise CameraError("the file does not say its ISO, from which the gain follows: give it (--iso)")
    K = camera.K(raw.iso if iso is None else iso)
    if camera in shipped_cameras().values():
        return K
    return K * SATURATION / (raw.white - float(raw.black.mean()))


def reference_ratio(reference: str | os.PathLike | Shot, raw: RawPicture) -> float:
    """ISO x time of a reference, a file or what it says, over that of the picture; apertures are not compared.

    Raises PictureError where one does not say them, or the reference is the shorter exposure.
    """
    shot = reference if isinstance(reference, Shot) else shot_of(reference)
    if not (raw.iso and raw.exposure):
        raise PictureError("the photograph does not say its ISO and exposure time; give the ratio as a number")
    ratio = exposure_ratio(shot, raw)
    if ratio < 1:
        raise PictureError(f"the reference is exposed less than the photograph (ISO x time is {ratio:.3g} times its)")
    return ratio


def shot_of(reference: str | os.PathLike) -> Shot:
    """ISO and exposure time of a raw file, JPEG or TIFF; raises PictureError where it does not say both."""
    if is_raw(reference):
        raw = read_raw(reference, KINDS)
        shot = Shot(raw.iso, raw.exposure, raw.make, raw.model)
    elif not Path(reference).is_file():
        raise PictureError(f"{reference}: no such file")
    else:
        try:
            shot = read_exif(reference)
        except ImportError:
            raise PictureError(f"{reference}: EXIF needs exifread: pip install 'lowlight-ext[raw]'") from None
    if not (shot.iso and shot.exposure):
        raise PictureError(f"{reference}: its EXIF does not say ISO and exposure time, so it gives no ratio")
    return shot


def _expose(system: RawSystem, raw: RawPicture, ratio: float, K: float, steps: int | None, seed: int) -> np.ndarray:
    """[4, h, w] float32 in [0, 1]."""
    import torch

    short = torch.from_numpy(normalise(raw)).to(system.device)
    short = (short * ratio).clamp_(0, 1)[None]
    out = system.enhance_tensor(short, ratio=ratio, K=K, steps=steps, seed=seed)[0].float()
    if not out.isfinite().all():
        raise RuntimeError(f"enhance_raw: the network produced NaN or infinity in {system.dtype}; try float32")
    return out.clamp(0, 1).cpu().numpy()
