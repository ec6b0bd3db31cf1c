"""sRGB and linear light (IEC 61966-2-1), numpy."""

import numpy as np


def to_linear(srgb: np.ndarray) -> np.ndarray:
    """sRGB in [0, 1] to linear light, float32."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)


def to_srgb(linear: np.ndarray) -> np.ndarray:
    """Linear light to sRGB in [0, 1], clipped, float32."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055).astype(np.float32)


def hex_colour(digits: str) -> np.ndarray:
    """Linear light [3] of an sRGB colour written as six hexadecimal digits."""
    return to_linear(np.frombuffer(bytes.fromhex(digits), np.uint8) / np.float32(255))
