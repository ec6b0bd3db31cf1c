"""Draws the README's strip with the default model: `python docs/strip.py docs/before_after.jpg`.

A still life as a camera takes it in too little light, brightened, and the same scene in full light.
"""

import sys

import numpy as np

import lowlight
from lowlight.files.pictures import Picture, to_pil
from lowlight.scenes.synthetic import darken, still_life

if __name__ == "__main__":
    scene = still_life(600, 400, seed=0)
    dark = darken(scene, seed=0)
    strip = to_pil(Picture(np.concatenate([dark, lowlight.enhance(dark), scene], axis=1)))
    strip.resize((1440, 320)).save(sys.argv[1], quality=88)
