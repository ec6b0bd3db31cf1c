"""Draws the README's pictures with the default model: `python docs/strip.py docs`; photographs need the extra [eval].

before_after.jpg: a still life as a camera takes it in too little light, brightened, and in full light. photographs.jpg:
it and two photographs that scikit-image brings, made as dark and noisy, above what the model makes of them.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import lowlight
from lowlight.files.pictures import Picture, to_pil
from lowlight.scenes.synthetic import darken, still_life

# CC0: Rachel Michetti's coffee, Stefan van der Walt's cat (the docstrings of skimage.data)
PHOTOGRAPHS = ("coffee", "chelsea")
PANEL = (360, 240)


def photograph(name: str) -> np.ndarray:
    """[400, 600, 3] float32 in [0, 1], its middle in 3:2."""
    import skimage.data

    pixels = getattr(skimage.data, name)()
    height = min(pixels.shape[0], pixels.shape[1] * 2 // 3)
    width = height * 3 // 2
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    image = Image.fromarray(pixels[top : top + height, left : left + width]).resize(
        (600, 400), Image.Resampling.LANCZOS
    )
    return np.asarray(image, np.float32) / 255


def panel(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(to_pil(Picture(pixels)).resize(PANEL, Image.Resampling.LANCZOS))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    scene = still_life(600, 400, seed=0)
    dark = darken(scene, seed=0)
    bright = lowlight.enhance(dark)
    strip = to_pil(Picture(np.concatenate([dark, bright, scene], axis=1)))
    strip.resize((1440, 320)).save(folder / "before_after.jpg", quality=88)
    columns = [np.concatenate([panel(dark), panel(bright)])]
    for photo in map(photograph, PHOTOGRAPHS):
        dark = darken(photo, seed=0)
        columns.append(np.concatenate([panel(dark), panel(lowlight.enhance(dark))]))
    Image.fromarray(np.concatenate(columns, axis=1)).save(folder / "photographs.jpg", quality=88)
