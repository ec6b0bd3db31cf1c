"""The gain of cameras that nobody calibrated: noise of a known gain is found again, or nothing is claimed."""

import math

import numpy as np
import pytest
from PIL import TiffTags
from raw_pictures import BAYER, raw_picture

from lowlight.cameras.any_camera import generic_gain, picture_gain
from lowlight.cameras.cameras import SATURATION, CameraError, shipped_cameras
from lowlight.expose import gain_of
from lowlight.raw import dng
from lowlight.raw.files import read_raw


def noisy(K, light=1.0, texture=0.0, read=2.0, black=512.0, white=16383.0):
    """A mosaic of a soft scene, with photons of gain K and read noise; texture: deviation of what is no noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:800, :1200] / 800
    scene = (
        light
        * 4000
        * (0.55 + 0.3 * x * np.sin(3 * y) + 0.15 * np.cos(4 * x))
        * np.exp(texture * rng.normal(size=x.shape))
    )
    mosaic = K * rng.poisson(scene / K) + rng.normal(black, read, x.shape)
    return raw_picture(BAYER[1], np.rint(mosaic.clip(0, white)).astype(np.uint16), black=np.full(4, black), white=white,
                       model="Nobody's", iso=800.0)  # fmt: skip


@pytest.mark.parametrize("light", [1.0, 0.1])
@pytest.mark.parametrize("K", [0.3, 2.0, 12.0])
def test_the_gain_of_a_picture(K, light):
    found = picture_gain(noisy(K, light))
    assert found == pytest.approx(K * SATURATION / (16383 - 512), rel=0.1)


@pytest.mark.parametrize("kind", ["texture", "too dark", "tiny", "black"])
def test_nothing_is_claimed_of_what_does_not_tell(kind):
    pictures = {"texture": lambda: noisy(2.0, texture=0.5), "too dark": lambda: noisy(2.0, light=0.002, read=8.0),
                "black": lambda: noisy(2.0, light=0.0), "tiny": lambda: None}  # fmt: skip
    raw = pictures[kind]() or raw_picture(BAYER[0], np.full((40, 40), 900, np.uint16))
    assert picture_gain(raw) is None


def test_the_order_of_what_is_known(tmp_path, monkeypatch):
    """A calibration, the file's NoiseProfile, the picture, a family by ISO; then the sentence says what to do."""
    filters = dng._filters
    profile = (51041, TiffTags.DOUBLE, (2e-4, 1e-6) * 3)
    monkeypatch.setattr(dng, "_filters", lambda p: [*filters(p), profile])
    dng.write_dng(tmp_path / "p.dng", noisy(2.0))
    raw = read_raw(tmp_path / "p.dng")
    assert raw.noise.tolist() == [[2e-4, 1e-6]] * 3
    assert gain_of(raw, "SonyA7S2").source == "SonyA7S2"
    assert gain_of(raw) == (pytest.approx(2e-4 * SATURATION), "the file's noise profile")
    assert gain_of(noisy(2.0)).source == "estimated from the picture's noise"
    dark = noisy(2.0, light=0.0)
    family = math.exp(np.mean([math.log(camera.K(800)) for camera in shipped_cameras().values()]))
    assert generic_gain(dark) == (pytest.approx(family), "mean of 5 cameras at ISO 800")
    dark.iso = None
    assert generic_gain(dark, iso=100).source == "mean of 5 cameras at ISO 100"
    with pytest.raises(CameraError, match=r"--camera.*SonyA7S2.*--iso"):
        generic_gain(dark)
