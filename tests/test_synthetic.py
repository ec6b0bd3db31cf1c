"""The still life and its dark photograph: seeded, of any size, with the statistics that are promised."""

import numpy as np
import pytest

from lowlight.scenes.raycast import Box, Plane, Spheroid, Turned, polygon_distance
from lowlight.scenes.srgb import hex_colour, to_linear, to_srgb
from lowlight.scenes.synthetic import darken, still_life


@pytest.fixture(scope="module")
def scene():
    return still_life(90, 60)


def test_scene_is_a_picture(scene):
    assert scene.shape == (60, 90, 3)
    assert scene.dtype == np.float32
    assert scene.min() >= 0
    assert scene.max() <= 1
    # bright, colourful and full of contrast, whatever changes in it
    assert 0.35 < scene.mean() < 0.55
    assert scene.std() > 0.18
    assert (scene.max(axis=2) - scene.min(axis=2)).mean() > 0.1


def test_scene_is_a_function_of_its_seed(scene):
    assert np.array_equal(scene, still_life(90, 60, seed=0))
    assert np.abs(scene - still_life(90, 60, seed=1)).mean() > 0.01


def test_size_is_resolution_not_content(scene):
    large = still_life(180, 120).reshape(60, 2, 90, 2, 3).mean(axis=(1, 3))
    assert np.abs(large - scene).mean() < 0.02


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 9), (9, 1), (31, 47)])
def test_any_size(width, height):
    picture = still_life(width, height)
    assert picture.shape == (height, width, 3)
    assert np.isfinite(picture).all()


@pytest.mark.parametrize("size", [(0, 4), (4, 0)])
def test_size_must_be_positive(size):
    with pytest.raises(ValueError, match="at least 1"):
        still_life(*size)


def test_dark_photograph_looks_like_lol(scene):
    dark = darken(scene)
    assert dark.shape == scene.shape
    assert dark.dtype == np.float32
    assert 0.04 < dark.mean() < 0.08
    levels = dark * 255
    assert np.abs(levels - np.rint(levels)).max() < 1e-4
    assert np.array_equal(dark, darken(scene))
    assert not np.array_equal(dark, darken(scene, seed=1))


def test_noise_has_the_promised_mean_and_variance():
    """A flat grey card: the mean is the exposed light, the variance that of electrons plus reading, per channel."""
    card = np.full((300, 300, 3), 0.9, np.float32)
    exposure, full_well, read_noise, gain = 0.5, 8000.0, 6.0, np.array([1.9, 1.0, 1.5])
    light = to_linear(darken(card, exposure=exposure, full_well=full_well, read_noise=read_noise)).astype(np.float64)
    expected = float(to_linear(np.float32(0.9))) * exposure
    np.testing.assert_allclose(light.mean(axis=(0, 1)), expected, rtol=2e-3)
    variance = gain**2 * (expected * full_well / gain + read_noise**2) / full_well**2
    # steps of 1/255 in sRGB, as wide as the curve's slope makes them here
    step = (to_linear(np.float32(0.66)) - to_linear(np.float32(0.65))) * 100 / 255
    np.testing.assert_allclose(light.var(axis=(0, 1)), variance + step**2 / 12, rtol=0.03)


def test_srgb_round_trip_and_known_values():
    x = np.linspace(0, 1, 1001, dtype=np.float32)
    np.testing.assert_allclose(to_srgb(to_linear(x)), x, atol=2e-6)
    np.testing.assert_allclose(hex_colour("0080ff"), [0, 0.2158605, 1], atol=1e-6)


def test_rays_hit_where_they_should():
    toward = np.float32([[0, 0, -1]])
    start = np.float32([[0, 0.5, 5]])
    assert Spheroid((0, 0.5, 0), (1, 1, 2)).hit(start, toward) == pytest.approx(3)
    assert Box((0, 0.5, 0), (1, 1, 0.5)).hit(start, toward) == pytest.approx(4.5)
    assert Plane(2, -1.0).hit(start, toward) == pytest.approx(6)
    drum = Turned((0, 0, 0), [(0, 0), (0.5, 0), (0.5, 1), (0, 1)])
    assert drum.hit(start, toward) == pytest.approx(4.5, abs=0.01)
    assert drum.hit(start + np.float32([0.6, 0, 0]), toward) == np.inf
    np.testing.assert_allclose(drum.normal(np.float32([[0, 0.5, 0.5]])), [[0, 0, 1]], atol=0.05)
    # a ray that starts close to the solid, as those mirrored by the table do
    assert drum.hit(np.float32([[0, 0.5, 0.6]]), toward) == pytest.approx(0.1, abs=0.01)
    assert drum.hit(np.float32([[0, 0.5, 0.6]]), -toward) == np.inf


def test_polygon_distance_inside_outside_and_in_a_notch():
    corner = np.float32([(0, 0), (4, 0), (4, 4), (3, 4), (3, 1), (1, 1), (1, 4), (0, 4)])
    points = np.float32([(2, 0.25), (6, 0.5), (7, 8), (2, 3)])
    np.testing.assert_allclose(polygon_distance(points, corner), [-0.25, 2, 5, 1], atol=1e-6)
