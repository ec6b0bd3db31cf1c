"""Raw files: the mosaic as the sensor counted it, and all that the file says of how to read it ([raw] extra: rawpy)."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..files.pictures import PictureError, reading
from .colour import camera_to_xyz_of
from .dng_tags import DngTags, read_dng_tags
from .exif import ISO_FULL, Shot, read_exif
from .packing import colour_map, layout, pack, unpack
from .sensors import sensor_of

# EXIF orientation of what LibRaw says of turning and mirroring
_ORIENTATIONS = {0: 1, 1: 2, 2: 4, 3: 3, 4: 5, 5: 8, 6: 6, 7: 7}


@dataclass
class RawPicture:
    """A mosaic and how to read it; what the file does not say is None.

    mosaic: [H, W] uint16, as stored, the visible part, not turned. pattern: [2, 2] (Bayer) or [6, 6] (X-Trans) uint8,
    the colours from the mosaic's first pixel on: 0 red, 1 green, 2 blue, 3 the green in blue's row of a Bayer array.
    black: [4] float32, level of each of these colours (not of each place). white: the level of saturation.
    iso; exposure: seconds. white_balance: [3] float64, gains of red, green and blue as shot, green's 1.
    camera_to_xyz: [3, 3] float64, camera RGB without white balance to CIE XYZ under D65, up to a factor.
    orientation: EXIF's, 1 to 8, to turn the picture upright. make, model: as in EXIF.
    offsets: [H, W] float32, what black is more than `black` at each pixel, where a DNG says it by rows, columns or a
    larger array. noise: [planes, 2], S and O of the noise's variance S x + O for x in [0, 1], where a DNG says it.
    kind: "mosaic"; "grey", of a monochrome sensor, packed as if it were RGGB; "linear", demosaiced before, of which
    each place keeps RGGB's colour.
    """

    mosaic: np.ndarray
    pattern: np.ndarray
    black: np.ndarray
    white: float
    iso: float | None = None
    exposure: float | None = None
    white_balance: np.ndarray | None = None
    camera_to_xyz: np.ndarray | None = None
    make: str | None = None
    model: str | None = None
    orientation: int = 1
    offsets: np.ndarray | None = None
    noise: np.ndarray | None = None
    kind: str = "mosaic"


def read_raw(path: str | os.PathLike, kinds: Collection[str] = ("mosaic",)) -> RawPicture:
    """Reads a raw file of any camera with a Bayer or X-Trans filter array.

    kinds: what else is taken, of sensors.KINDS: "grey", one plane, "linear", a DNG of three colours a place.
    Make and model come from EXIF; files of another structure (Canon's CRW and CR3) leave them None.
    Raises PictureError if rawpy is missing, or the file is missing, damaged, truncated or no raw file, OtherSensorError
    where it is of another kind (Foveon and small raw: always).
    """
    with open_raw(path) as raw:
        tags = read_dng_tags(path)
        kind, mosaic, pattern = sensor_of(raw, tags is not None, kinds)
        black, offsets = np.array(raw.black_level_per_channel, np.float32), None
        if tags is not None and tags.black is not None:
            black, offsets = _black(tags, pattern, mosaic.shape, raw.sizes)
        white = float(raw.white_level)
        if mosaic.dtype != np.uint16 or not (black.shape == (4,) and black.max() < white):
            raise PictureError(f"its levels make no sense (black {black.tolist()}, white {white:g})")
        iso, exposure, make, model = _shot(path, raw)
        balance, matrix = (None, None) if kind == "grey" else (_white_balance(raw), _camera_to_xyz(raw))
        return RawPicture(
            mosaic, pattern, black, white, iso, exposure, balance, matrix, make, model,
            _ORIENTATIONS.get(raw.sizes.flip, 1), offsets, None if tags is None else tags.noise, kind,
        )  # fmt: skip


@contextmanager
def open_raw(path: str | os.PathLike) -> Iterator[Any]:
    """A rawpy.RawPy of the file; whatever it raises while open becomes a PictureError of one sentence."""
    try:
        import exifread  # noqa: F401, both or neither
        import rawpy
    except ImportError:
        raise PictureError(f"{path}: raw files need rawpy and exifread: pip install 'lowlight-ext[raw]'") from None
    if Path(path).is_dir():
        raise PictureError(f"{path}: is a folder, not a raw file")
    if not Path(path).exists():
        raise PictureError(f"{path}: no such file")
    with reading(path):
        try:
            with rawpy.imread(os.fspath(path)) as raw:
                yield raw
        except rawpy.LibRawFileUnsupportedError:
            raise PictureError("no raw file, or of a camera that LibRaw does not know") from None
        except (rawpy.LibRawError, rawpy.NotSupportedError) as error:
            reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else error.args[0]
            raise PictureError(f"damaged or truncated raw file ({reason})") from None


def normalise(picture: RawPicture) -> np.ndarray:
    """Packed [4 or 9, h, w] float32: (mosaic - black) / (white - black), clipped to [0, 1]."""
    return normalise_packed(pack(levelled(picture), picture.pattern), picture)


def levelled(picture: RawPicture, whole: bool = False) -> np.ndarray:
    """The mosaic [H, W] with one black a colour: itself, or float32 less the offsets; whole: rounded to uint16."""
    if picture.offsets is None:
        return picture.mosaic
    level = picture.mosaic - picture.offsets
    return np.rint(np.clip(level, 0, 65535)).astype(np.uint16) if whole else level


def normalise_packed(numbers: np.ndarray, picture: RawPicture) -> np.ndarray:
    """`normalise` of what is packed already, whole or a part, [4 or 9, h, w]; of the picture only its levels count."""
    black, span = _levels(picture)
    return np.clip((numbers.astype(np.float32) - black) / span, 0, 1)


def denormalise(packed: np.ndarray, picture: RawPicture) -> np.ndarray:
    """The mosaic [H, W] uint16, of the picture's size, that `normalise` makes these channels of; values are clipped
    to [0, 1] and rounded. Pixels that packing leaves out repeat the nearest cell. Raises PictureError on NaN."""
    if not np.isfinite(packed).all():
        raise PictureError("the packed raw holds NaN or infinite values")
    black, span = _levels(picture)
    numbers = np.clip(packed, 0, 1) * span + black
    if picture.offsets is None:
        return unpack(np.rint(numbers).astype(np.uint16), picture.pattern, picture.mosaic.shape)
    mosaic = unpack(numbers, picture.pattern, picture.mosaic.shape) + picture.offsets
    return np.rint(np.clip(mosaic, 0, 65535)).astype(np.uint16)


def _levels(picture: RawPicture) -> tuple[np.ndarray, np.ndarray]:
    """Black and white - black of each packed channel, [C, 1, 1] float32."""
    black = picture.black[list(layout(picture.pattern).colours)].astype(np.float32)[:, None, None]
    return black, np.float32(picture.white) - black


def _black(
    tags: DngTags, pattern: np.ndarray, shape: tuple[int, int], sizes: Any
) -> tuple[np.ndarray, np.ndarray | None]:
    """Black of each colour as the tags say it, and the offsets of pixels where one number a colour is not enough."""
    # 24: what repeats, of 1 to 4, 6 or 8 places, has repeated, so a part tells all where nothing goes by rows
    by_lines = len(tags.delta_h) or len(tags.delta_v)
    rows, columns = shape if by_lines else (min(shape[0], 24), min(shape[1], 24))
    levels = tags.black_of(rows, columns, sizes.top_margin, sizes.left_margin)
    colours = colour_map(pattern, rows, columns)
    black = np.array([levels[colours == colour].mean() if (colours == colour).any() else 0 for colour in range(4)])
    if len(pattern) == 6:
        black[3] = black[1]
    if np.abs(levels - black[colours]).max() < 1e-3:
        return black.astype(np.float32), None
    levels = tags.black_of(*shape, sizes.top_margin, sizes.left_margin)
    return black.astype(np.float32), (levels - black[colour_map(pattern, *shape)]).astype(np.float32)


def _shot(path: str | os.PathLike, raw: Any) -> Shot:
    """LibRaw's ISO first, which knows makers' notes; EXIF's exposure time first, which is an exact ratio."""
    shot, other = read_exif(path), getattr(raw, "other", None)
    iso, exposure = (max(getattr(other, name, 0), 0) or None for name in ("iso_speed", "shutter_speed"))
    # ISO_FULL stands for all above, which a newer tag may name
    return shot._replace(iso=shot.iso if iso in (None, ISO_FULL) else iso, exposure=shot.exposure or exposure)


def _white_balance(raw: Any) -> np.ndarray | None:
    gains = np.array(raw.camera_whitebalance[:3], np.float64)
    return gains / gains[1] if np.isfinite(gains).all() and gains.min() > 0 else None


def _camera_to_xyz(raw: Any) -> np.ndarray | None:
    """From LibRaw's XYZ to camera; of many DNG files it keeps only what it made of that, matrix and daylight gains."""
    to_camera, to_srgb = (np.array(m, np.float64)[:3, :3] for m in (raw.rgb_xyz_matrix, raw.color_matrix))
    if _invertible(to_camera):
        return np.linalg.inv(to_camera)
    gains = np.array(raw.daylight_whitebalance[:3], np.float64)
    return camera_to_xyz_of(to_srgb, gains) if _invertible(to_srgb) and gains.min() > 0 else None


def _invertible(matrix: np.ndarray) -> bool:
    """Zeros stand where LibRaw knows no matrix."""
    return bool(np.isfinite(matrix).all() and abs(np.linalg.det(matrix)) > 1e-9)
