"""Bias and flat-field frames of a folder, sorted by gain and exposure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..files.pictures import PictureError, open_image
from .photon_transfer import CalibrationError

# the centre of a frame is looked at: millions of pixels are enough; a multiple of 12 keeps every pattern in step
SIDE = 1020
ARRAYS = (".npy",)
PICTURES = (".png", ".tif", ".tiff")
# what cameras and people leave beside raw files
_PASSED_OVER = (".txt", ".md", ".json", ".csv", ".xmp", ".jpg", ".jpeg", ".thm", ".html", ".pp3")

_ISO = re.compile(r"(?i)iso[ _-]?(\d+(?:\.\d+)?)")
_EXPOSURE = re.compile(r"(?i)(?:^|[ _/-])(\d+(?:\.\d+)?)s(?=[ ._/-]|$)")


@dataclass(frozen=True)
class Frame:
    """The centre of one frame: mosaic [h, w] in digital numbers; None where neither the file nor its name says."""

    mosaic: np.ndarray
    iso: float | None = None
    exposure: float | None = None
    white: float | None = None
    model: str | None = None


@dataclass
class GainFrames:
    """The frames of one ISO: bias [N, h, w], flats of every exposure [N, h, w], white including black, the model."""

    iso: float
    bias: np.ndarray
    flats: list[np.ndarray] = field(default_factory=list)
    white: float = 0.0
    model: str | None = None


def find_frames(folder: Path) -> list[tuple[str, Path]]:
    """("bias" or "flat", file) of all frames below a folder, in order of their names.

    A folder's or the file's own name that begins so says which: iso800/bias/0001.ARW, flat_iso800_0.1s_1.npy.
    Raises FileNotFoundError if the folder is not there, CalibrationError if one of the two kinds is not in it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"calibrate: no folder {folder}")
    found = list(_walk(folder))
    for kind, what in (("bias", "bias frames (lens capped, shortest time)"), ("flat", "flat fields (an even light)")):
        if not any(kind == of for of, _ in found):
            raise CalibrationError(f"calibrate: no {what} in {folder}: put them into a folder named {kind}")
    return found


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if not path.is_file() or path.suffix.lower() in _PASSED_OVER or any(part.startswith(".") for part in parts):
            continue
        # the innermost name that says it
        kinds = [kind for part in reversed(parts) for kind in ("bias", "flat") if part.lower().startswith(kind)]
        if kinds:
            yield kinds[0], path


def read_frame(path: Path, name: str) -> Frame:
    """One frame: a raw file, a .npy array [H, W] or a grey 16-bit PNG or TIFF, less all but the centre.

    name: what the user called it, below the folder of frames: an ISO (iso800) and an exposure (0.1s) in it come before
    those of the file. Raises CalibrationError for a file that cannot be read or is not a mosaic.
    """
    suffix = path.suffix.lower()
    if suffix in ARRAYS + PICTURES:
        frame = Frame(_centre(_read_array(path) if suffix in ARRAYS else _read_picture(path), path))
    else:
        frame = _read_raw(path)
    iso, exposure = _ISO.search(name), _EXPOSURE.search(name.removesuffix(path.suffix))
    return Frame(
        frame.mosaic,
        float(iso[1]) if iso else frame.iso,
        float(exposure[1]) if exposure else frame.exposure,
        frame.white,
        frame.model,
    )


def _read_raw(path: Path) -> Frame:
    from ..raw.files import read_raw

    raw = read_raw(path, ("mosaic", "grey"))
    return Frame(_centre(raw.mosaic, path), raw.iso, raw.exposure, float(raw.white), raw.model)


def _read_array(path: Path) -> np.ndarray:
    try:
        # mapped: a header may claim any size, and the centre is all that is looked at
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    # damaged headers make the reader raise nearly anything
    except Exception as error:
        raise CalibrationError(f"{path}: cannot be read as an array ({error})") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "uif":
        raise CalibrationError(f"{path}: a mosaic must hold real numbers, got {getattr(array, 'dtype', 'an archive')}")
    return array


def _read_picture(path: Path) -> np.ndarray:
    try:
        with open_image(path) as image:
            if image.mode.startswith("I"):
                return np.asarray(image)
            mode = image.mode
    except PictureError as error:
        raise CalibrationError(str(error)) from None
    raise CalibrationError(f"{path}: a mosaic must be grey and 16 bits deep, this picture is {mode}")


def _centre(mosaic: np.ndarray, path: Path) -> np.ndarray:
    if mosaic.ndim != 2 or min(mosaic.shape) < 2:
        raise CalibrationError(f"{path}: a mosaic must be [H, W], got {list(mosaic.shape)}")
    corner = [max(0, side - SIDE) // 2 // 12 * 12 for side in mosaic.shape]
    height, width = (min(side, SIDE) // 2 * 2 for side in mosaic.shape)
    part = mosaic[corner[0] : corner[0] + height, corner[1] : corner[1] + width]
    if not np.isfinite(part).all():
        raise CalibrationError(f"{path}: holds NaN or infinite values")
    # a copy, so that the whole frame is let go
    return part.astype(np.float32)


def sort_frames(frames: list[tuple[str, Path, Frame]], white: float | None = None) -> list[GainFrames]:
    """The frames (kind, file, contents) by ISO, lowest first, the flats of one exposure together.

    white: the level at which the sensor clips, for files that do not say. Raises CalibrationError where ISO, exposure
    or white are not known, an ISO lacks bias frames or flats, sizes or cameras differ, or no exposure has two flats.
    """
    bias: dict[float, list[np.ndarray]] = defaultdict(list)
    flats: dict[float, dict[float | None, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
    whites: dict[float, set[float]] = defaultdict(set)
    models: set[str] = set()
    for kind, path, frame in frames:
        if frame.iso is None or not frame.iso > 0:
            raise CalibrationError(f"{path}: its ISO is not known; name its folder or the file such as iso800")
        level = white if white is not None else frame.white
        if level is None:
            raise CalibrationError(f"{path}: the level of white is not known; give --white, 16383 for 14 bits")
        if kind == "flat" and frame.exposure is None:
            raise CalibrationError(f"{path}: its exposure is not known; name the file such as flat_0.1s_1{path.suffix}")
        whites[frame.iso].add(level)
        models |= {frame.model} if frame.model else set()
        (bias[frame.iso] if kind == "bias" else flats[frame.iso][frame.exposure]).append(frame.mosaic)
    if len(models) > 1:
        raise CalibrationError(f"calibrate: frames of several cameras: {', '.join(sorted(models))}")
    return [
        _one_gain(iso, bias[iso], list(flats[iso].values()), min(whites[iso]), next(iter(models), None))
        for iso in sorted(bias.keys() | flats.keys())
    ]


def _one_gain(
    iso: float, bias: list[np.ndarray], flats: list[list[np.ndarray]], white: float, model: str | None
) -> GainFrames:
    pairs = [frames for frames in flats if len(frames) > 1]
    for found, what in ((bias, "bias frame"), (flats, "flat field"), (pairs, "two flat fields of one exposure")):
        if not found:
            raise CalibrationError(f"calibrate: ISO {iso:g} has no {what}")
    shapes = {mosaic.shape for group in (bias, *pairs) for mosaic in group}
    if len(shapes) > 1:
        sizes = " and ".join(f"{w} x {h}" for h, w in sorted(shapes))
        raise CalibrationError(f"calibrate: the frames of ISO {iso:g} differ in size: {sizes}")
    return GainFrames(iso, np.stack(bias), [np.stack(frames) for frames in pairs], white, model)
