"""Classical brightening: what each method promises, and OpenCV's CLAHE pinned."""

from __future__ import annotations

import golden
import numpy as np
import pytest
import torch

from lowlight.scoring import baselines
from lowlight.scoring.baselines import BASELINES, TARGET_MEAN


@pytest.fixture
def dark() -> torch.Tensor:
    y, x = torch.meshgrid(torch.linspace(0, 5, 45), torch.linspace(0, 7, 62), indexing="ij")
    return ((torch.stack([y.sin(), x.cos(), (x + y).sin()]) + 1.1) / 2.1) ** 3 * 0.2


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("size", [(1, 1), (3, 40), (45, 62)])
def test_shape_range_and_input(dark, name, size):
    low = dark[:, : size[0], : size[1]]
    before = low.clone()
    result = BASELINES[name](low)
    assert result.shape == low.shape
    assert result.dtype == torch.float32
    assert result.min() >= 0
    assert result.max() <= 1
    assert torch.equal(low, before)


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("level", [0.0, 0.2, 1.0])
def test_flat_pictures_stay_flat_and_finite(name, level):
    result = BASELINES[name](torch.full((3, 16, 16), level))
    assert result.isfinite().all()
    assert result.std() < 1e-6


@pytest.mark.parametrize("target", [0.3, TARGET_MEAN, 0.7])
def test_gamma_reaches_its_mean(dark, target):
    result = baselines.gamma(dark, target)
    assert result.double().mean().item() == pytest.approx(target, abs=1e-6)
    assert torch.equal(result.flatten().argsort(stable=True), dark.flatten().argsort(stable=True))


def test_gain_reaches_its_mean_unless_it_clips(dark):
    assert baselines.gain(dark, 0.1).mean().item() == pytest.approx(0.1, abs=1e-6)
    assert baselines.gain(dark, 0.45).mean().item() < 0.45


def test_equalisation_flattens_the_histogram(dark):
    levels = (baselines.histogram_equalisation(dark) * 255).round()
    for channel in levels:
        share = (channel < 128).double().mean().item()
        assert 0.45 < share < 0.55
        assert (channel.min(), channel.max()) == (0, 255)


@pytest.mark.parametrize("clip_limit", [2.0, 4.0])
def test_clahe_is_opencvs(clip_limit):
    """cv2.createCLAHE of OpenCV 5.0.0; it blends with fused operations in float32, so that ties may round apart."""
    with np.load(golden.DATA / "clahe_opencv.npz") as file:
        picture, expected = file["picture"], file[f"clip_{clip_limit:g}"]
    result = baselines.clahe_bytes(picture, clip_limit)
    difference = np.abs(result.astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01
    assert (baselines.clahe_bytes(picture, clip_limit + 1) != expected).mean() > 0.1


def test_lab_is_scikit_images(dark):
    color = pytest.importorskip("skimage.color", reason="scikit-image is in the extra [test]")
    rgb = dark.movedim(0, -1).double().numpy() * 4
    lab = baselines._rgb_to_lab(rgb)
    # scikit-image's white point has fewer digits
    assert np.abs(lab - color.rgb2lab(rgb)).max() < 5e-3
    # it ends in float32
    assert np.abs(baselines._lab_to_rgb(lab) - rgb).max() < 1e-7


def test_clahe_keeps_the_hue(dark):
    grey = dark.mean(0, keepdim=True).expand(3, -1, -1)
    result = baselines.clahe(grey)
    assert (result - result.mean(0, keepdim=True)).abs().max() < 1e-3
    assert result.std() > grey.std()
