"""Small square pictures of procedural still lifes, to train on where there is no folder of photographs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from .srgb import to_linear, to_srgb
from .synthetic import still_life

_VIEWS = 8  # of one still life
_RENDERED = (96, 64)  # its size against the views' side of 32
_STOPS = (-1.2, 0.6)  # exposures, so that brightness and contrast differ as photographs' do


def scene_views(count: int, side: int, seed: int = 0) -> Iterator[np.ndarray]:
    """[side, side, 3] uint8 sRGB, `count` of them: parts of still lifes, each exposed longer or shorter."""
    width, height = (max(1, length * side // 32) for length in _RENDERED)
    for number in range(count):
        if number % _VIEWS == 0:
            scene = to_linear(still_life(width, height, seed=(seed << 20) + number // _VIEWS))
        rng = np.random.default_rng([seed, number])
        gain = np.float32(2 ** rng.uniform(*_STOPS))
        picture = Image.fromarray(np.rint(to_srgb(scene * gain) * 255).astype(np.uint8))
        window = height * rng.uniform(0.4, 1.0)
        x, y = rng.uniform(0, width - window), rng.uniform(0, height - window)
        yield np.asarray(picture.resize((side, side), Image.Resampling.BOX, box=(x, y, x + window, y + window)))
