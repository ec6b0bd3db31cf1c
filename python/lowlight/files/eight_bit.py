"""The short way to 8-bit RGB, for training: most pictures are stored as that."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from . import codecs
from .colour import space_of
from .formats import open_image
from .metadata import orientation_of
from .pictures import read_srgb
from .profiles import declared_profile


def decode_rgb(path: Path) -> np.ndarray:
    """[H, W, 3] uint8 of sRGB, upright; deeper pictures rounded to 8 bits. Raises PictureError as read_picture does."""
    samples = _decode_plain(path)
    return np.rint(read_srgb(path) * 255).astype(np.uint8) if samples is None else samples


def _decode_plain(path: Path) -> np.ndarray | None:
    """The short way of the usual upright 8-bit picture in sRGB; None for others, and what does not decode."""
    try:
        with open_image(path) as image:
            rawmode = codecs.rawmode(image)
            if image.mode not in ("RGB", "RGBA", "L") or codecs.is_16_bit(image, rawmode):
                return None
            if orientation_of(image) != 1:
                return None
            icc, hdr = declared_profile(image, path)
            if hdr is not None or space_of(icc) is not None:
                return None
            return np.asarray(image.convert("RGB"))
    # decoders raise nearly anything on a damaged file; read_srgb meets it again and finds the words
    except Exception:
        return None
