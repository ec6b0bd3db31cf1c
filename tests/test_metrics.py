"""Scores against scikit-image and against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lowlight.metrics import scores as metrics
from lowlight.metrics.measures import picture_views, score


@pytest.fixture
def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    """Two batches with texture, flat parts and saturated ones, off the 8-bit grid."""
    generator = torch.Generator().manual_seed(3)
    y, x = torch.meshgrid(torch.linspace(0, 6, 37), torch.linspace(0, 9, 50), indexing="ij")
    truth = torch.stack([y.sin() + x.cos(), (x * y / 9).sin(), x / 9])[None].repeat(2, 1, 1, 1) * 0.6 + 0.3
    truth[1] = truth[1].flip(-1) * 0.5
    result = truth * 0.7 + 0.08 * torch.randn(truth.shape, generator=generator)
    return result.clamp(0, 1), truth.clamp(0, 1)


def values(result: torch.Tensor, truth: torch.Tensor) -> dict[str, torch.Tensor]:
    """Every score of sRGB pictures by its name."""
    return {name: value for name, (_, value) in score(picture_views(result, truth)).items()}


def as_uint8(picture: torch.Tensor) -> np.ndarray:
    return np.rint(picture.double().numpy() * 255).astype(np.uint8).transpose(1, 2, 0)


def test_psnr_is_scikit_images(pictures):
    skimage = pytest.importorskip("skimage.metrics", reason="scikit-image is in the extra [test]")
    for result, truth, value in zip(*pictures, metrics.psnr(*pictures), strict=True):
        expected = skimage.peak_signal_noise_ratio(as_uint8(truth), as_uint8(result), data_range=255)
        assert value.item() == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("channels", ["all", "grey"])
def test_ssim_is_scikit_images(pictures, channels):
    """scikit-image pads, then cuts off the 5 pixels that the padding touched: our window without padding is left."""
    skimage = pytest.importorskip("skimage.metrics", reason="scikit-image is in the extra [test]")
    recipe = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "win_size": 11, "data_range": 255}
    for result, truth, value in zip(*pictures, metrics.ssim(*pictures, channels=channels), strict=True):
        a, b = as_uint8(result).astype(float), as_uint8(truth).astype(float)
        if channels == "grey":
            expected = skimage.structural_similarity(a @ metrics.GREY_WEIGHTS, b @ metrics.GREY_WEIGHTS, **recipe)
        else:
            expected = skimage.structural_similarity(a, b, channel_axis=2, **recipe)
        # float32 windows against float64
        assert value.item() == pytest.approx(expected, abs=1e-5)
        assert 0.1 < expected < 0.9


def corrected(result: np.ndarray, truth: np.ndarray, variant: str) -> np.ndarray:
    """The recipes in NumPy, on 8-bit pictures [H, W, 3]: what a file of the corrected result would hold."""
    a, b = result.astype(float), truth.astype(float)
    if variant == "_gt_mean":
        a = a * (b @ metrics.GREY_WEIGHTS).mean() / (a @ metrics.GREY_WEIGHTS).mean()
    if variant == "_ls_gain":
        a = a * (a * b)[b < 255].sum() / (a * a)[b < 255].sum()
    return np.rint(np.clip(a, 0, 255)).astype(np.uint8)


@pytest.mark.parametrize("variant", ["", "_gt_mean", "_ls_gain"])
def test_every_variant_is_scikit_images(pictures, variant):
    """PSNR and SSIM, RGB and grey, of the result as it comes, with GT-mean and with least-squares gain."""
    skimage = pytest.importorskip("skimage.metrics", reason="scikit-image is in the extra [test]")
    recipe = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "win_size": 11, "data_range": 255}
    scores = values(*pictures)
    assert (pictures[1][0] == 1).any()
    for i, (result, truth) in enumerate(zip(*pictures, strict=True)):
        b = as_uint8(truth)
        a = corrected(as_uint8(result), b, variant)
        expected = {
            "psnr": skimage.peak_signal_noise_ratio(b, a, data_range=255),
            "ssim_rgb": skimage.structural_similarity(a.astype(float), b.astype(float), channel_axis=2, **recipe),
            "ssim_grey": skimage.structural_similarity(a @ metrics.GREY_WEIGHTS, b @ metrics.GREY_WEIGHTS, **recipe),
        }
        for name, value in expected.items():
            assert scores[name + variant][i].item() == pytest.approx(value, abs=1e-10 if name == "psnr" else 1e-5), name


def test_scores_see_the_8_bit_picture():
    truth = torch.full((1, 3, 16, 16), 100 / 255)
    assert metrics.psnr(truth + 0.49 / 255, truth) == math.inf
    assert metrics.psnr(truth + 0.51 / 255, truth).item() == pytest.approx(20 * math.log10(255))
    assert metrics.psnr(truth - 5, truth).item() == pytest.approx(20 * math.log10(2.55))
    assert metrics.ssim(truth + 0.49 / 255, truth).item() == pytest.approx(1, abs=1e-6)


def test_gt_mean_gives_the_truths_mean_grey():
    truth = torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1).expand(1, 3, 16, 16)
    corrected = metrics.gt_mean(truth * 0.5, truth)
    # 0.2 is 51 / 255 and half of it 25.5, which the 8-bit file holds as 26
    assert metrics.grey(corrected).mean().item() == pytest.approx(0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.6)
    assert torch.allclose(corrected, truth.double(), atol=1.5 / 255)
    assert values(truth * 0.5, truth)["psnr_gt_mean"] > metrics.psnr(truth * 0.5, truth) + 20


def test_gt_mean_weighs_channels_as_grey_does():
    """A red picture against a blue truth of the same mean RGB is made darker: blue is dark to the eye."""
    red, blue = torch.zeros(2, 1, 3, 16, 16)
    red[:, 0], blue[:, 2] = 1, 1
    assert metrics.gt_mean(red, blue)[:, 0].mean().item() == pytest.approx(0.114 / 0.299)


def test_least_squares_gain_minimises_the_squared_error(pictures):
    result, truth = pictures[0][1:], pictures[1][1:]  # without saturation
    corrected = metrics.least_squares_gain(result, truth)
    errors = [
        ((metrics.eight_bit(result) * gain - metrics.eight_bit(truth)) ** 2).mean() for gain in (1.3, 1.35, 1.4, 1.45)
    ]
    assert ((corrected - metrics.eight_bit(truth)) ** 2).mean() <= min(errors) + 1e-12


def test_least_squares_gain_leaves_saturated_entries_out():
    result, truth = torch.full((2, 1, 3, 16, 16), 0.2)
    truth[..., 8:] = 1
    assert torch.equal(metrics.least_squares_gain(result, truth), metrics.eight_bit(result))


def test_black_results_stay_black():
    black, grey = torch.zeros(1, 3, 16, 16), torch.full((1, 3, 16, 16), 0.5)
    for correct in (metrics.gt_mean, metrics.least_squares_gain):
        assert torch.equal(correct(black, grey), black.double())


def test_corrections_are_one_gain_a_picture(pictures):
    result, truth = pictures
    alone = [values(result[i : i + 1], truth[i : i + 1]) for i in range(2)]
    for name, scores in values(result, truth).items():
        assert scores.dtype == torch.float64
        assert torch.allclose(scores, torch.cat([one[name] for one in alone])), name


def test_bad_input():
    picture = torch.zeros(1, 3, 16, 16)
    with pytest.raises(
        ValueError, match=r"psnr: result and truth must share a shape .* got \(1, 3, 16, 16\) and \(1, 3, 16, 17\)"
    ):
        metrics.psnr(picture, torch.zeros(1, 3, 16, 17))
    for grey_alone in (metrics.gt_mean, metrics.least_squares_gain, metrics.saturation):
        with pytest.raises(ValueError, match=r"share a shape \[B, 3, H, W\], got \(1, 1, 16, 16\)"):
            grey_alone(picture[:, :1], picture[:, :1])
    with pytest.raises(TypeError, match=r"floating point, got torch\.uint8"):
        metrics.gt_mean(picture.byte(), picture)
    with pytest.raises(ValueError, match="result holds NaN"):
        values(picture * torch.nan, picture)
    with pytest.raises(ValueError, match="channels must be 'all' or 'grey', got 'y'"):
        metrics.ssim(picture, picture, channels="y")
    with pytest.raises(ValueError, match="at least 11 x 11"):
        metrics.ssim(picture[..., :10], picture[..., :10])
