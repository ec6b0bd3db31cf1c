"""A picture's numbers: floating point here, whole numbers in files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from .colour import LUMA
from .formats import PictureError


@dataclass
class Picture:
    """One upright picture and what its file carried besides colours.

    rgb: [H, W, 3] float32 in [0, 1], values as stored (sRGB or what `icc` says); three equal channels if `grey`.
    alpha: [H, W] float32 in [0, 1], or None. bits: 8 or 16, the depth it was stored with. lossless: whether it came
    from a WebP file that was. exif, icc: raw blocks to write back. notes: what could not be kept or was decided on the
    way, for the user.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    grey: bool = False
    bits: int = 8
    exif: bytes | None = None
    icc: bytes | None = None
    notes: tuple[str, ...] = ()
    lossless: bool = False


def turn_upright(samples: np.ndarray, orientation: int) -> np.ndarray:
    """Rows and columns [H, W, C] as EXIF orientation 1..8 wants them seen."""
    if orientation >= 5:
        samples = samples.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return samples


def quantise(rgb: np.ndarray, alpha: np.ndarray | None, grey: bool, bits: int) -> np.ndarray:
    """Samples [H, W, 1..4] uint8 or uint16 of RGB [H, W, 3] and alpha [H, W] in [0, 1]; grey is Rec. 601 luma.

    Raises PictureError if rgb holds NaN or infinity.
    """
    if not np.isfinite(rgb).all():
        raise PictureError("the picture holds NaN or infinite values")
    colours = (rgb @ LUMA)[..., None] if grey else rgb
    stacked = colours if alpha is None else np.concatenate([colours, alpha[..., None]], axis=2)
    return np.rint(np.clip(stacked, 0, 1) * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)


def to_pil(picture: Picture) -> Image.Image:
    """A PIL image (L, LA, RGB, RGBA, I;16 for 16-bit grey; 16-bit RGB becomes 8-bit), EXIF and ICC in its info."""
    bits = picture.bits if picture.grey and picture.alpha is None else 8
    samples = quantise(picture.rgb, picture.alpha, picture.grey, bits)
    image = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    blocks = {"exif": picture.exif, "icc_profile": picture.icc}
    image.info.update({name: block for name, block in blocks.items() if block})
    return image
