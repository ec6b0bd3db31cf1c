"""sRGB and linear light (IEC 61966-2-1), numpy."""

import numpy as np

from ..files.colour import curved, linear


def to_linear(srgb: np.ndarray) -> np.ndarray:
    """sRGB in [0, 1] to linear light, float32."""
    return linear(srgb).astype(np.float32)


def to_srgb(light: np.ndarray) -> np.ndarray:
    """Linear light to sRGB in [0, 1], clipped, float32."""
    return curved(light).astype(np.float32)


def hex_colour(digits: str) -> np.ndarray:
    """Linear light [3] of an sRGB colour written as six hexadecimal digits."""
    return to_linear(np.frombuffer(bytes.fromhex(digits), np.uint8) / np.float32(255))
