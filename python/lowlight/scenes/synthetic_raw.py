"""The raw file that a camera would write of a scene, exposed too short."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from lowlight_ext import raw_noise

from ..cameras.cameras import SATURATION, load_camera
from ..cameras.noise_models import typical_parameters
from ..raw.files import RawPicture, denormalise
from ..raw.unprocess import TO_CAMERA, Development, unprocess

CAMERA = "SonyA7S2"
_BLACK = 800.0
# daylight, as the first of TO_CAMERA sees it
_GAINS = (2.1, 1.0, 1.7)


def short_exposure(
    scene: np.ndarray, *, ratio: float = 100.0, iso: float = 3200.0, seed: int = 0
) -> tuple[RawPicture, np.ndarray]:
    """A scene, [H, W, 3] sRGB in [0, 1] of even sides, as SonyA7S2's raw with its noise P+G+r, and without noise.

    ratio: how many times longer the exposure that shows the scene in full light; iso: of the short one, from which the
    gain follows. Returns the file's content and the packed raw [4, H / 2, W / 2] in [0, 1] of the long exposure.
    Raises ValueError for odd sides, a ratio below 1 and an ISO that the camera's calibration does not cover.
    """
    if not ratio >= 1:
        raise ValueError(f"short_exposure: ratio must be 1 or more, got {ratio:g}")
    camera = load_camera(CAMERA)
    development = Development(np.linalg.inv(TO_CAMERA[0]), np.array(_GAINS), exposure=1.0)
    clean = unprocess(np.ascontiguousarray(scene.transpose(2, 0, 1)), development)
    # rounding to numbers, "u", is done by the file
    noise = typical_parameters(camera, "P+G+r", K=camera.K(iso), ratio=ratio)
    short = raw_noise(torch.from_numpy(clean)[None], noise, seed)[0].numpy()
    raw = replace(
        development.raw_picture(*clean.shape[1:]),
        black=np.full(4, _BLACK, np.float32),
        white=_BLACK + SATURATION,
        iso=iso,
        exposure=1 / ratio,
        make="Simulated",
        model=f"Simulated {camera.models[0]}",
    )
    return replace(raw, mosaic=denormalise(short / np.float32(ratio), raw)), clean
