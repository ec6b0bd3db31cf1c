"""--brightness, --saturation and --strength: what every system does with them, and who does it itself."""

import colorsys

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from lowlight.cli import app
from lowlight.files.pictures import read_picture
from lowlight.scenes.srgb import to_linear as by_numpy
from lowlight.systems.brighten import enhance_picture
from lowlight.systems.light import from_linear, saturated, to_linear
from lowlight.systems.wavelet_anchored.network import WaveletAnchoredConfig
from lowlight.systems.wavelet_anchored.system import WaveletAnchored


class Root:
    """A system whose answer one can compute."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self):
        self.calls = 0

    def enhance_tensor(self, low, *, steps=None, noise=None, seed=0):
        self.calls += 1
        return low.sqrt()


class Exposing(Root):
    """One that takes the exposure itself."""

    def enhance_tensor(self, low, *, brightness=0.0, steps=None, noise=None, seed=0):
        self.calls += 1
        return torch.full_like(low, 0.5) + 0.1 * torch.as_tensor(brightness).reshape(-1, 1, 1, 1)


DARK = np.random.default_rng(0).random((6, 5, 3), np.float32) * 0.3


def test_light_is_srgb():
    ramp = torch.linspace(0, 1, 1001, dtype=torch.float64)
    assert np.allclose(to_linear(ramp).numpy(), by_numpy(ramp.numpy()), atol=1e-7)
    torch.testing.assert_close(from_linear(to_linear(ramp)), ramp, rtol=0, atol=1e-9)
    ramp.requires_grad_()
    (slope,) = torch.autograd.grad(from_linear(to_linear(ramp)).sum(), ramp)
    assert slope.isfinite().all()


@pytest.mark.parametrize("stops", [-2.0, -0.5, 0.0, 1.0])
def test_stops_are_a_gain_in_linear_light(stops):
    plain = enhance_picture(Root(), DARK)
    changed = enhance_picture(Root(), DARK, brightness=stops)
    np.testing.assert_allclose(by_numpy(changed), np.minimum(by_numpy(plain) * 2**stops, 1), rtol=1e-4, atol=1e-6)


def test_a_system_with_an_exposure_is_asked_itself():
    np.testing.assert_allclose(enhance_picture(Exposing(), DARK, brightness=2.0), 0.7, rtol=1e-6)
    batch = torch.from_numpy(np.stack([DARK.transpose(2, 0, 1)] * 2))
    one_each = enhance_picture(Exposing(), batch, brightness=torch.tensor([1.0, -1.0]))
    torch.testing.assert_close(one_each.mean(dim=(1, 2, 3)), torch.tensor([0.6, 0.4]))


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0])
def test_saturation_is_that_of_hsl(factor):
    plain, changed = enhance_picture(Root(), DARK), enhance_picture(Root(), DARK, saturation=factor)
    for before, after in zip(plain.reshape(-1, 3).tolist(), changed.reshape(-1, 3).tolist(), strict=True):
        hue, lightness, saturation = colorsys.rgb_to_hls(*before)
        np.testing.assert_allclose(after, colorsys.hls_to_rgb(hue, lightness, factor * saturation), atol=1e-6)


def test_saturation_and_strength_by_rows_too():
    """wavelet-anchored writes a strip of rows at a time."""
    system = WaveletAnchored(WaveletAnchoredConfig(ch=8, width=4, norm_groups=4)).eval()
    dark = torch.from_numpy(DARK.transpose(2, 0, 1)).repeat(1, 20, 20)
    plain, vivid = (enhance_picture(system, dark, saturation=factor) for factor in (1.0, 1.5))
    torch.testing.assert_close(vivid[None], saturated(plain[None], 1.5), rtol=0, atol=1e-6)
    assert not torch.allclose(vivid, plain, atol=0.02)
    half = enhance_picture(system, dark, saturation=1.5, strength=0.5)
    torch.testing.assert_close(half, (dark + vivid) / 2, rtol=0, atol=1e-6)


def test_strength_blends_with_the_dark_picture():
    system = Root()
    np.testing.assert_array_equal(enhance_picture(system, DARK, strength=0.0), DARK)
    # nothing of the network is needed for that
    assert system.calls == 0
    half = enhance_picture(system, DARK, strength=0.5)
    np.testing.assert_allclose(half, (DARK + np.sqrt(DARK)) / 2, atol=1e-6)


def test_strength_0_keeps_every_bit_of_a_picture():
    for dtype in (np.uint8, np.uint16):
        values = np.arange(np.iinfo(dtype).max + 1).astype(dtype)
        picture = values[values.size % 3 :].reshape(1, -1, 3)
        assert np.array_equal(enhance_picture(Root(), picture, strength=0.0), picture)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"brightness": 11.0}, r"brightness must be stops from -10 to 10, .* got 11.0"),
        ({"brightness": float("nan")}, "brightness must be stops"),
        ({"brightness": torch.zeros(2)}, "one number or 1, one a picture, got 2"),
        ({"saturation": -0.1}, r"saturation must lie in \[0, 4\], got -0.1"),
        ({"strength": 1.5}, r"strength must lie in \[0, 1\], got 1.5"),
        ({"strength": float("nan")}, "strength must lie"),
    ],
)
def test_wishes_that_cannot_be_had(wish, message):
    with pytest.raises(ValueError, match=message):
        enhance_picture(Root(), DARK, **wish)


def test_command_line(tmp_path):
    def run(*arguments):
        return CliRunner().invoke(app, [str(a) for a in arguments])

    dark = tmp_path / "dark.png"
    assert run("sample", dark, "--size", "64x48").exit_code == 0
    means = {}
    for name, wish in {
        "plain": (),
        "more": ("-b", "1"),
        "less": ("--brightness=-1",),
        "grey": ("--saturation", "0"),
        "none": ("--strength", "0"),
    }.items():
        done = run("enhance", dark, "-o", tmp_path / f"{name}.png", *wish)
        assert done.exit_code == 0, done.output
        means[name] = read_picture(tmp_path / f"{name}.png").rgb.mean()
    assert np.ptp(read_picture(tmp_path / "grey.png").rgb, axis=2).max() == 0
    assert means["none"] == read_picture(dark).rgb.mean()
    assert means["less"] < means["plain"] < means["more"]
    assert run("enhance", dark, "-o", tmp_path / "x.png", "--strength", "2").exit_code == 2
    refused = run("enhance", dark, "-o", tmp_path / "x.png", "-m", "exposurediffusion-small", "-b", "1")
    assert refused.exit_code == 2
    assert "raw files take --ratio" in refused.output
