"""Raw to sRGB: the short pipeline of the published evaluation, with or without demosaicing, and LibRaw's own."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ..files.pictures import PictureError, turn_upright
from .colour import camera_to_srgb, daylight_gains
from .files import RawPicture, open_raw
from .packing import colour_map, layout, unpack

GAMMA = 2.2
# weights of neighbours along each axis: bilinear for Bayer, wide enough for X-Trans to find every colour
_TENTS = {2: (1, 2, 1), 6: (1, 2, 3, 2, 1)}


def render(packed: np.ndarray, picture: RawPicture, *, demosaic: bool = True, upright: bool = True) -> np.ndarray:
    """sRGB [3, H, W] float32 in [0, 1] of packed raw [4 or 9, h, w] in [0, 1].

    White balance as shot (by daylight where the file does not say, none where it has no matrix either), clip, one
    colour a place, camera-to-sRGB matrix, clip, power 1 / 2.2; of a monochrome sensor the power alone. The smallest
    gain is 1, so that what is saturated stays white. demosaic: each colour interpolated over its neighbours (bilinear),
    size of the mosaic; otherwise the mean of each colour in a packed pixel, size h x w (Bayer: the published
    rendering). upright: turned as the file asks. Only the picture's pattern, colours, size and orientation are used,
    not its numbers.
    Raises PictureError on NaN, ValueError for channels that do not fit the picture's pattern and size.
    """
    if not np.isfinite(packed).all():
        raise PictureError("the packed raw holds NaN or infinite values")
    if picture.kind == "grey":
        plane = unpack(packed, picture.pattern, picture.mosaic.shape) if demosaic else packed.mean(axis=0)
        linear = np.repeat(plane.astype(np.float32)[None], 3, axis=0)
    else:
        linear = _colours(packed.astype(np.float32), picture, demosaic)
    srgb = np.clip(linear, 0, 1, out=linear) ** np.float32(1 / GAMMA)
    turned = turn_upright(srgb.transpose(1, 2, 0), picture.orientation if upright else 1)
    return np.ascontiguousarray(turned.transpose(2, 0, 1))


def _colours(packed: np.ndarray, picture: RawPicture, demosaic: bool) -> np.ndarray:
    """[3, H, W] float32, linear sRGB, of packed raw [4 or 9, h, w] float32."""
    gains = _gains(picture)
    if demosaic:
        balanced = interpolate(unpack(packed, picture.pattern, picture.mosaic.shape), picture.pattern, gains)
    else:
        balanced = _means(packed, picture.pattern, gains)
    matrix = camera_to_srgb(picture.camera_to_xyz).astype(np.float32)
    return np.einsum("ij,jhw->ihw", matrix, balanced, optimize=True)


def postprocess(path: str | os.PathLike, mosaic: np.ndarray | None = None, **options: Any) -> np.ndarray:
    """LibRaw's rendering of a raw file, [3, H, W] float32 in [0, 1], upright.

    mosaic: [H, W] uint16 to put in the place of the file's. options: rawpy's, over these: white balance as shot, no
    automatic brightness, 16 bits, and white fixed at the file's level (LibRaw would take a dark picture's own
    brightest number). Raises PictureError as read_raw does, and for a mosaic of another size or type than the file's.
    """
    settings = {"use_camera_wb": True, "no_auto_bright": True, "output_bps": 16, "adjust_maximum_thr": 0.0} | options
    with open_raw(path) as raw:
        stored = raw.raw_image_visible
        if mosaic is not None:
            if mosaic.shape != stored.shape or mosaic.dtype != stored.dtype:
                raise PictureError(
                    f"its mosaic is {stored.dtype} {stored.shape}, the one to put there {mosaic.dtype} {mosaic.shape}"
                )
            stored[:] = mosaic
        samples = raw.postprocess(**settings)
    return np.ascontiguousarray((samples / np.float32(np.iinfo(samples.dtype).max)).transpose(2, 0, 1))


def interpolate(mosaic: np.ndarray, pattern: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """[3, H, W] float32: red, green and blue of a mosaic [H, W], times gains [3] and clipped to [0, 1] before.

    A colour that a pixel lacks is the mean of its neighbours of that colour, weighted by a tent; what it has it keeps.
    """
    tent = _TENTS[layout(pattern).cell]
    colours = colour_map(pattern, *mosaic.shape)
    planes = np.empty((3, *mosaic.shape), np.float32)
    for colour, gain in enumerate(gains):
        # the second green of a Bayer array is green
        here = (colours == colour) | (colours == 3) if colour == 1 else colours == colour
        known = np.where(here, np.clip(mosaic * gain, 0, 1), np.float32(0))
        planes[colour] = np.where(here, known, _blur(known, tent) / _blur(here.astype(np.float32), tent))
    return planes


def _blur(plane: np.ndarray, tent: tuple[int, ...]) -> np.ndarray:
    """Sum of neighbours along both axes weighted by the tent, nothing beyond the borders."""
    reach = len(tent) // 2
    for _ in range(2):
        # along the rows' axis, then the other way round
        padded, height = np.pad(plane, ((reach, reach), (0, 0))), len(plane)
        plane = np.zeros_like(plane)
        for first, weight in enumerate(tent):
            plane += np.float32(weight) * padded[first : first + height]
        plane = np.ascontiguousarray(plane.T)
    return plane


def _means(packed: np.ndarray, pattern: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """[3, h, w]: gains, clip, then the mean of the channels of each colour."""
    colours = np.array(layout(pattern).colours)
    colours[colours == 3] = 1
    if len(packed) != len(colours):
        raise ValueError(f"render: packed must be [{len(colours)}, h, w], got {packed.shape}")
    balanced = np.clip(packed * gains[colours, None, None], 0, 1)
    return np.stack([balanced[colours == colour].mean(axis=0) for colour in range(3)])


def _gains(picture: RawPicture) -> np.ndarray:
    """[3] float32, the smallest 1."""
    if picture.white_balance is not None:
        gains = picture.white_balance
    elif picture.camera_to_xyz is not None:
        gains = daylight_gains(picture.camera_to_xyz)
    else:
        gains = np.ones(3)
    return (gains / gains.min()).astype(np.float32)
