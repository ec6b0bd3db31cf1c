"""Cameras and draws of their noise: the published lines and ranges, and what raw_noise makes of them."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from scipy import stats

from lowlight.cameras.cameras import (
    CameraError,
    Line,
    camera_by_exif,
    load_camera,
    parse_camera,
    read_cameras,
    shipped_cameras,
)
from lowlight.cameras.noise_models import CONTINUOUS_RATIO_RANGE, PUBLISHED_MODELS, draw_parameters, typical_parameters
from lowlight_ext import raw_noise

SONY = load_camera("SonyA7S2")
COUNT = 4000


def generators(count, seed=0):
    return [np.random.default_rng([seed, n]) for n in range(count)]


def test_shipped_cameras():
    assert list(shipped_cameras()) == ["CanonEOS5D4", "CanonEOS700D", "CanonEOS70D", "NikonD850", "SonyA7S2"]
    # figures of the published calibration
    assert (SONY.Kmin, SONY.Kmax) == (0.09391607086816033, 6.010628535562261)
    assert load_camera("canoneos5d4").R_scale == Line(0.4712797750747537, -0.8078958947116487, 0.2436176299944695)
    assert len(load_camera("CanonEOS5D4").G_shape) == 18
    for camera in shipped_cameras().values():
        assert camera.Kmax == pytest.approx(64 * camera.Kmin)
        assert camera.K_range == (0.1, 30.0)
        assert all(abs(shape) < 0.3 for shape in camera.G_shape)


def test_gain_from_iso():
    assert SONY.K(100) == SONY.Kmin
    assert SONY.K(6400) == pytest.approx(SONY.Kmax)
    assert SONY.K(1600) == pytest.approx(16 * SONY.Kmin)
    for iso in (None, 0, -100, math.nan, math.inf):
        with pytest.raises(CameraError, match=r"SonyA7S2: .*ISO, which must be above 0"):
            SONY.K(iso)
    steep = parse_camera("steep", SONY.to_dict() | {"Kmax": 100.0})
    with pytest.raises(CameraError, match="ISO 50 is below"):
        steep.K(50)


@pytest.mark.parametrize(
    ("model", "name"),
    [("ILCE-7SM2", "SonyA7S2"), ("Canon EOS 5D Mark IV", "CanonEOS5D4"), ("NIKON D850", "NikonD850"),
     ("Canon EOS 70D", "CanonEOS70D"), ("CANON EOS Kiss  X7i", "CanonEOS700D"), ("Canon EOS 700D", "CanonEOS700D"),
     ("Canon EOS 6D", None), ("ILCE-7SM3", None), ("Canon EOS 70D Mark II", None), ("COOLPIXD850", None),
     (None, None), ("", None)],
)  # fmt: skip
def test_camera_by_exif(model, name):
    found = camera_by_exif(model)
    assert (found and found.name) == name


def test_files_of_cameras(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"mine": SONY.to_dict() | {"color_bias": [[0, 0, 0, 0]], "K_range": [0.2, 3.2]}}))
    mine = load_camera(path)
    assert (mine.name, mine.K_range, mine.g_scale) == ("mine", (0.2, 3.2), SONY.g_scale)
    path.write_text(json.dumps({name: camera.to_dict() for name, camera in shipped_cameras().items()}))
    assert read_cameras(path) == shipped_cameras()
    with pytest.raises(CameraError, match="holds 5 cameras"):
        load_camera(path)
    with pytest.raises(CameraError, match="no such camera or file; known are CanonEOS5D4"):
        load_camera("Leica")
    for text, message in (("{", "not a JSON file"), ("[]", "an object of cameras"), ('{"a": 1}', "a: not a camera")):
        path.write_text(text)
        with pytest.raises(CameraError, match=message):
            load_camera(path)
    with pytest.raises(CameraError, match="No such file"):
        read_cameras(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [({"Kmin": -1}, "above 0"), ({"Kmin": 100}, "in order"), ({"Kmin": True}, "finite number"),
     ({"Kmax": math.nan}, "finite number"), ({"G_shape": []}, "a number at least"), ({"K_range": [3, 1]}, "in order"),
     ({"Profile-1": {}}, "needs g_scale")],
)  # fmt: skip
def test_calibrations_that_do_not_fit(change, message):
    with pytest.raises(CameraError, match=message):
        parse_camera("wrong", SONY.to_dict() | change)


def test_draws_follow_the_published_distributions():
    drawn = draw_parameters(SONY, "P+G+r+u", generators(COUNT))
    log_K = drawn.K.log().numpy()
    low, high = math.log(0.1), math.log(30)
    assert stats.kstest(log_K, stats.uniform(low, high - low).cdf).pvalue > 1e-3
    assert stats.kstest(drawn.ratio.numpy(), stats.uniform(100, 200).cdf).pvalue > 1e-3
    rest = {}
    for name in ("g_scale", "G_scale", "R_scale"):
        line = getattr(SONY, name)
        rest[name] = (getattr(drawn, name).log().numpy() - line.slope * log_K - line.bias) / line.sigma
        assert stats.kstest(rest[name], "norm").pvalue > 1e-3
    # errors of the three scales are independent
    assert np.abs(np.corrcoef(list(rest.values())) - np.eye(3)).max() < 0.06
    shapes, counts = np.unique(drawn.G_shape.numpy(), return_counts=True)
    assert set(shapes) == set(SONY.G_shape)
    weights = np.array([SONY.G_shape.count(shape) for shape in shapes]) / len(SONY.G_shape)
    assert stats.chisquare(counts, weights * COUNT).pvalue > 1e-3
    wider = draw_parameters(SONY, "P+g", generators(COUNT), ratio=CONTINUOUS_RATIO_RANGE)
    assert wider.ratio.min() < 25
    assert wider.ratio.max() <= 300


def test_a_draw_is_the_samples_own():
    """Same alone and in a batch, and K, scales and ratio do not depend on the model."""
    batch = draw_parameters(SONY, "P+g", generators(5))
    for n in range(5):
        alone = draw_parameters(SONY, "P+G+r+u", [np.random.default_rng([0, n])])
        for name in ("K", "ratio", "g_scale", "G_scale", "G_shape", "R_scale"):
            assert getattr(alone, name)[0] == getattr(batch, name)[n]
    # of several cameras each sample is one's, whatever the batch
    cameras = [SONY, dataclasses.replace(SONY, G_shape=(0.5,))]
    mixed = draw_parameters(cameras, "P+G+r+u", generators(COUNT))
    assert 0.45 * COUNT < (mixed.G_shape == 0.5).sum() < 0.55 * COUNT
    again = draw_parameters(cameras, "P+G+r+u", [np.random.default_rng([0, 3])])
    assert again.G_scale[0] == mixed.G_scale[3]
    given = draw_parameters(SONY, "P+g", generators(5), K=2.0, ratio=250.0)
    assert (given.K == 2).all()
    assert (given.ratio == 250).all()
    line = SONY.g_scale
    errors = given.g_scale.log() - line.slope * math.log(2)
    torch.testing.assert_close(errors, batch.g_scale.log() - line.slope * batch.K.log())


@pytest.mark.parametrize("model", [*PUBLISHED_MODELS, "u", "p+r", "P+g+r+u"])
def test_noise_of_a_typical_draw(model):
    """Through raw_noise: the mean stays (u lifts nothing at this light), the variance is that of the parts."""
    K, ratio, saturation = 1.5, 200.0, 15583.0
    parameters = typical_parameters(SONY, model, K=K, ratio=ratio)
    clean = torch.full((1, 4, 200, 200), 0.6)
    numbers = raw_noise(clean, parameters, 1, clip=False).double() * saturation / ratio
    light = 0.6 * saturation / ratio
    tukey = stats.tukeylambda.var(float(np.median(SONY.G_shape)))
    scales = {name: math.exp(getattr(SONY, name).slope * math.log(K) + getattr(SONY, name).bias)
              for name in ("g_scale", "G_scale", "R_scale")}  # fmt: skip
    power = {"u": 1 / 12, "P": K * light, "p": K * light, "g": scales["g_scale"] ** 2,
             "G": scales["G_scale"] ** 2 * tukey, "r": scales["R_scale"] ** 2}  # fmt: skip
    variance = sum(power[part] for part in model.split("+"))
    rows = 400
    assert numbers.mean().item() == pytest.approx(light, abs=5 * (variance / 160000 + power["r"] / rows) ** 0.5)
    assert numbers.var().item() == pytest.approx(variance, rel=0.04)


def test_arguments_that_do_not_fit():
    one = generators(1)
    for model in ("P+p", "g+G", "x", "", "P+P"):
        with pytest.raises(ValueError, match="raw_noise: model must be"):
            draw_parameters(SONY, model, one)
        with pytest.raises(ValueError, match="raw_noise: model must be"):
            typical_parameters(SONY, model, K=1.0, ratio=100.0)
    with pytest.raises(ValueError, match="one generator a sample"):
        draw_parameters(SONY, "g", [])
    for wrong in (0.0, -1.0, math.nan, (3.0, 1.0), (0.0, 1.0)):
        with pytest.raises(ValueError, match="K must be above 0"):
            draw_parameters(SONY, "g", one, K=wrong)
        with pytest.raises(ValueError, match="ratio must be above 0"):
            draw_parameters(SONY, "g", one, ratio=wrong)
