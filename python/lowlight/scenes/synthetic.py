"""A procedural still life, and the dark, noisy photograph that a camera would take of it in too little light."""

from __future__ import annotations

import numpy as np

from .srgb import to_linear, to_srgb
from .still_life import arrange, render


def still_life(width: int = 600, height: int = 400, *, seed: int = 0) -> np.ndarray:
    """Fruit, a bottle and a colour chart by a window: [height, width, 3] float32 sRGB in [0, 1].

    seed: another arrangement and other textures. The same on every machine up to rounding. Raises ValueError for a size
    below 1 x 1.
    """
    if width < 1 or height < 1:
        raise ValueError(f"still_life: width and height must be at least 1, got {width} x {height}")
    return to_srgb(render(arrange(seed), width, height))


def darken(
    scene: np.ndarray,
    *,
    exposure: float = 1 / 38,
    full_well: float = 12000.0,
    read_noise: float = 4.0,
    seed: int = 0,
) -> np.ndarray:
    """The photograph of a scene in too little light: [H, W, 3] sRGB in [0, 1] -> the same, dark, in steps of 1/255.

    Linear light times `exposure` becomes electrons (`full_well` of them at white in green; red and blue see less and
    are amplified more), which arrive at random (Poisson) and are read with a normal error of `read_noise` electrons.
    The defaults match LOL-v1's dark pictures: mean about 0.06, noise of about 2, 1.3 and 1.5 of 255 in R, G and B.
    """
    rng = np.random.default_rng([seed, 1])
    white_balance = np.array([1.9, 1.0, 1.5], np.float32)
    electrons = to_linear(scene) * exposure * full_well / white_balance
    read = rng.poisson(electrons) + rng.normal(0, read_noise, electrons.shape)
    return np.rint(to_srgb(read * white_balance / full_well) * 255).astype(np.float32) / np.float32(255)
