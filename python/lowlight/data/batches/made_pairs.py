"""Dark pictures made of bright ones: raw again, exposed too short for a camera's noise, and developed (numpy)."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image

from lowlight_ext import raw_noise

from ...cameras.cameras import Camera, shipped_cameras
from ...cameras.noise_models import draw_parameters
from ...raw.render import render
from ...raw.unprocess import draw_development, recoloured, tone, unprocess

_STREAM = (1 << 15) + 1  # generator's stream of this noise


@dataclass(frozen=True)
class Darkening:
    """How dark pictures are made.

    ratio: times that the exposure is too short, log-uniform. K: gain, log-uniform. balance: deviation of the natural
    logarithm of red's and blue's gains from the right ones. jpeg: share saved as JPEG, of quality 60 to 95. recolour:
    share coloured anew. tone: share developed with the tone curve that the bright picture is taken to have; without it
    the dark one is flatter.
    """

    ratio: tuple[float, float] = (2.0, 100.0)
    K: tuple[float, float] = (0.2, 12.0)
    balance: float = 0.08
    jpeg: float = 0.3
    recolour: float = 0.25
    tone: float = 0.5


def darkened(
    srgb: np.ndarray, rng: np.random.Generator, darkening: Darkening, cameras: list[Camera] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Dark and bright [3, H, W] uint8 of a bright picture [3, H, W] uint8 of even sides; all draws from rng.

    The bright one is the picture itself, or coloured anew. Each pixel keeps its three colours: as much smaller pictures
    than the sensor do.
    """
    cameras = cameras or list(shipped_cameras().values())
    bright = srgb.astype(np.float32) / 255
    if rng.random() < darkening.recolour:
        bright = recoloured(bright, rng)
    development = draw_development(rng)
    # a 2 x 2 cell of the sensor a pixel
    packed = unprocess(bright.repeat(2, axis=1).repeat(2, axis=2), development)
    camera = cameras[rng.integers(len(cameras))]
    ratio = math.exp(rng.uniform(*np.log(darkening.ratio)))
    model = ("P+g", "P+G+r+u")[rng.integers(2)]
    noise = draw_parameters(camera, model, [rng], K=darkening.K, ratio=ratio)
    seed = torch.tensor([int(rng.integers(1 << 62))])
    short = raw_noise(torch.from_numpy(packed)[None], noise, seed, stream=_STREAM)[0].numpy() / np.float32(ratio)
    picture = development.raw_picture(*packed.shape[1:])
    gains = picture.white_balance * np.exp(darkening.balance * rng.standard_normal(3) * (1, 0, 1))
    off = replace(picture, white_balance=gains)
    dark = render(short / np.float32(development.exposure), off, demosaic=False)
    # at 0 no number is drawn: weights that shipped were trained before there was a tone
    if darkening.tone and rng.random() < darkening.tone:
        dark = tone(dark)
    dark = np.rint(dark * 255).astype(np.uint8)
    if rng.random() < darkening.jpeg:
        dark = _compressed(dark, int(rng.integers(60, 96)))
    return dark, np.rint(bright * 255).astype(np.uint8)


def _compressed(picture: np.ndarray, quality: int) -> np.ndarray:
    """[3, H, W] uint8 as a JPEG of this quality gives it back."""
    file = io.BytesIO()
    Image.fromarray(picture.transpose(1, 2, 0)).save(file, "JPEG", quality=quality)
    with Image.open(file) as image:
        return np.asarray(image).transpose(2, 0, 1)
