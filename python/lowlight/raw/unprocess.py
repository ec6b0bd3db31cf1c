"""sRGB pictures back to the packed raw of a sensor (Brooks et al., "Unprocessing Images for Learned Raw Denoising",
CVPR 2019), numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .colour import camera_to_srgb
from .files import RawPicture
from .packing import pack
from .render import GAMMA
from .sensors import RGGB

# from XYZ to the colours of real cameras, in ten thousandths, as raw converters know them
TO_CAMERA = np.array([
    [5838, -1430, -246, -3497, 11477, 2297, -748, 1885, 5778],  # Sony ILCE-7S and ILCE-7SM2
    [5973, -1695, -419, -3826, 11797, 2293, -639, 1398, 5789],  # Sony ILCE-6300
    [7034, -804, -1014, -4420, 12564, 2058, -851, 1994, 5758],  # Canon EOS 70D
    [6602, -841, -939, -4472, 12458, 2247, -975, 2039, 6148],  # Canon EOS 700D
]).reshape(-1, 3, 3) / 1e4  # fmt: skip
_RED_GAINS, _BLUE_GAINS = (1.9, 2.4), (1.5, 1.9)
_EXPOSURE = (0.8, 0.1)  # mean, deviation
_LEAST_EXPOSURE = 0.3
_SATURATION = (-0.5, 0.9)  # natural logarithm of its factor, of pictures that are coloured anew
_HIGHLIGHTS = 0.9  # grey from which on gains are undone less and less, so that white stays saturated


@dataclass(frozen=True)
class Development:
    """How a picture is taken to have been developed.

    camera_to_xyz: [3, 3], as RawPicture's. gains: [3] of the white balance, green's 1. exposure: the raw's brightness
    where the picture's is 1.
    """

    camera_to_xyz: np.ndarray
    gains: np.ndarray
    exposure: float

    def raw_picture(self, height: int, width: int) -> RawPicture:
        """What `render` must know of packed raw [4, height, width] made by it; without numbers."""
        nothing = np.broadcast_to(np.uint16(0), (2 * height, 2 * width))
        return RawPicture(
            nothing, RGGB, np.zeros(4, np.float32), 1.0, white_balance=self.gains, camera_to_xyz=self.camera_to_xyz
        )


def recoloured(srgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """sRGB [3, H, W] with its channels in a random order and a random saturation, clipped to [0, 1].

    Few pictures hold few colours; a network that has not seen strong ones takes them for noise.
    """
    grey = srgb.mean(axis=0)
    saturation = np.float32(np.exp(rng.uniform(*_SATURATION)))
    return np.clip(grey + saturation * (srgb[rng.permutation(3)] - grey), 0, 1)


def draw_development(rng: np.random.Generator) -> Development:
    """A random mean of cameras' matrices, gains of red and blue, and exposure."""
    shares = rng.random(len(TO_CAMERA))
    to_camera = np.tensordot(shares / shares.sum(), TO_CAMERA, axes=1)
    gains = np.array([rng.uniform(*_RED_GAINS), 1.0, rng.uniform(*_BLUE_GAINS)])
    exposure = max(_LEAST_EXPOSURE, rng.normal(*_EXPOSURE))
    return Development(np.linalg.inv(to_camera), gains, exposure)


def unprocess(srgb: np.ndarray, development: Development) -> np.ndarray:
    """Packed raw [4, H / 2, W / 2] float32 in [0, 1] (R, G1, B, G2 of an RGGB sensor) of sRGB [3, H, W] in [0, 1].

    Undoes, in this order, a smoothstep tone curve, gamma, the camera's colours, white balance with exposure; then each
    pixel keeps one colour. Raises ValueError for another shape or odd sides.
    """
    if srgb.ndim != 3 or len(srgb) != 3 or any(side % 2 or side < 2 for side in srgb.shape[1:]):
        raise ValueError(f"unprocess: srgb must be [3, H, W] of even sides, got {srgb.shape}")
    linear = untone(srgb.astype(np.float32)) ** np.float32(GAMMA)
    from_srgb = np.linalg.inv(camera_to_srgb(development.camera_to_xyz)).astype(np.float32)
    colours = np.einsum("ij,jhw->ihw", from_srgb, linear, optimize=True)
    raw = np.clip(_without_gains(colours, development), 0, 1)
    mosaic = raw[1].copy()
    mosaic[::2, ::2], mosaic[1::2, 1::2] = raw[0, ::2, ::2], raw[2, 1::2, 1::2]
    return pack(mosaic, RGGB)


def tone(picture: np.ndarray) -> np.ndarray:
    """The tone curve 3 x^2 - 2 x^3 on [0, 1], which `unprocess` undoes and `render` does not know."""
    picture = np.clip(picture, 0, 1)
    return picture * picture * (3 - 2 * picture)


def untone(picture: np.ndarray) -> np.ndarray:
    """The inverse of `tone`."""
    return 0.5 - np.sin(np.arcsin(1 - 2 * np.clip(picture, 0, 1)) / 3)


def _without_gains(colours: np.ndarray, development: Development) -> np.ndarray:
    """Divided by the gains, but for highlights: a factor below 1 would make grey of what was saturated."""
    factors = (development.exposure / development.gains).astype(np.float32)[:, None, None]
    grey = colours.mean(axis=0)
    bright = (np.clip(grey - _HIGHLIGHTS, 0, None) / np.float32(1 - _HIGHLIGHTS)) ** 2
    return colours * np.maximum(bright + (1 - bright) * factors, factors)
