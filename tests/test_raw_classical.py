"""Classical rivals in raw space: non-local means told the noise, the choice of methods, the plot over calls."""

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from lowlight.cameras.cameras import load_camera
from lowlight.cameras.noise_models import photon_gain, read_deviation, tukey_deviation
from lowlight.checkpoints import save_weights
from lowlight.cli import app
from lowlight.data.batches.raw_cache import RawCache
from lowlight.metrics.scores import psnr
from lowlight.scoring import raw_baselines, steps
from lowlight.scoring.raw_baselines import classical_methods, non_local_means
from lowlight.scoring.raw_samples import synthetic_samples
from lowlight.systems.exposurediffusion.network import ExposureDiffusionConfig
from lowlight.systems.exposurediffusion.process import illuminance_gain
from lowlight.systems.exposurediffusion.system import ExposureDiffusion
from lowlight_ext import RawNoiseParameters, raw_noise

SONY = load_camera("SonyA7S2")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A picture with edges and slopes, half of it dark."""
    folder = tmp_path_factory.mktemp("pictures")
    y, x = np.mgrid[0:140, 0:140] / 140
    wave = 0.5 + 0.4 * np.sin(12 * x + 3 * y) * (x > 0.5) + 0.1 * np.sign(np.sin(25 * y)) - 0.35 * (x < 0.5)
    Image.fromarray((255 * np.stack([wave, wave**2, 1 - wave], -1).clip(0, 1)).astype(np.uint8)).save(folder / "a.png")
    return folder


def exposures_of(folder, tmp_path, ratio=200, **settings):
    (sample,) = synthetic_samples([folder / "a.png"], RawCache(tmp_path), SONY, [ratio], crop=64, **settings)
    return sample.load()


def run(*arguments):
    return CliRunner().invoke(app, ["evaluate-raw", *(str(argument) for argument in arguments)])


@pytest.mark.parametrize("shape", [-0.3, -0.1, 0.0, 1e-5, 0.14, 1.0, 2.0])
def test_deviation_of_tukeys_lambda(shape):
    stats = pytest.importorskip("scipy.stats", reason="scipy is in the extra [test]")
    assert tukey_deviation(shape) == pytest.approx(stats.tukeylambda(shape).std(), rel=1e-3)
    with pytest.raises(ValueError, match="above -1/2"):
        tukey_deviation(-0.5)


@pytest.mark.parametrize("model", ["P+g", "p+g", "P+G+r+u", "g", "G+r", "u"])
def test_what_the_noise_is_said_to_be(model):
    """The variance of raw_noise on grey, by its draws: gain times the mean, and the rest, every part with weight."""
    scales = {"g_scale": 5.0, "G_scale": 3.0, "G_shape": -0.1, "R_scale": 5.0}
    noise = RawNoiseParameters(0.5, 100.0, model, **scales)
    mean = 0.4 * noise.saturation / noise.ratio
    drawn = raw_noise(torch.full((8, 4, 512, 32), 0.4), noise, 7).double() * noise.saturation / noise.ratio
    assert photon_gain(noise) == (0.5 if "P" in model or "p" in model else 0.0)
    expected = photon_gain(noise) * mean + read_deviation(noise) ** 2
    assert drawn.var().item() == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("settings", [{"K": 0.5}, {"K": 20.0}, {"model": "P+g", "ratio": 300}, {"model": "g"}])
def test_it_denoises(pictures, tmp_path, settings):
    """Closer to the truth by far."""
    exposures = exposures_of(pictures, tmp_path, **settings)
    result = non_local_means(exposures)
    assert result.shape == exposures.clean.shape
    assert result.dtype == torch.float32
    assert result.min() >= 0
    before, after = (psnr(x[None], exposures.clean[None], rounded=False) for x in (exposures.short, result))
    assert after > before + 3


def test_flat_grey_has_its_mean(pictures, tmp_path):
    """Few photons and much read noise, clipped at black and white: the inverse is unbiased all the same."""
    exposures = exposures_of(pictures, tmp_path)
    noise = RawNoiseParameters(20.0, 300.0, "P+g", g_scale=14.0)
    for level in (0.02, 0.2, 0.7, 0.9):
        clean = torch.full((4, 64, 64), level)
        short = raw_noise(clean[None], noise, 3)[0]
        result = non_local_means(exposures._replace(short=short, clean=clean, noise=noise, ratio=300.0))
        assert result.mean().item() == pytest.approx(level, abs=0.03)
        # what clipping did to it
        assert abs(short.mean().item() - level) > 0.05 or level == 0.2


def test_methods_and_protocols(pictures, tmp_path):
    methods, notes = classical_methods(None, ["blind", "paper"])
    assert [(m.name, m.protocol) for m in methods] == [
        (name, protocol) for name in ("untouched", "nlm") for protocol in ("blind", "paper")
    ]
    assert len(notes) == 1
    assert "non-local means" in notes[0]
    exposures = exposures_of(pictures, tmp_path)
    untouched, _, blind, paper = (method.run(exposures, 0) for method in methods)
    assert torch.equal(untouched, exposures.short)
    gain = illuminance_gain(blind[None], exposures.clean[None])[0]
    torch.testing.assert_close(paper, blind * gain)
    assert [m.name for m in classical_methods(["nlm", "nlm"], ["blind"])[0]] == ["nlm"]


def test_without_scikit_image(monkeypatch):
    """Asked for it is an error; of the default it is left out, and that is said."""
    monkeypatch.setattr(raw_baselines, "find_spec", lambda name: None)
    methods, notes = classical_methods(None, ["blind"])
    assert [m.name for m in methods] == ["untouched"]
    assert notes == ["nlm left out: non-local means needs scikit-image: pip install 'lowlight-ext[eval]'."]
    monkeypatch.setitem(sys.modules, "skimage.restoration", None)
    with pytest.raises(ValueError, match=r"needs scikit-image: pip install 'lowlight-ext\[eval\]'"):
        classical_methods(["nlm"], ["blind"])


def test_command_with_plot(pictures, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is in the extra [train]")
    torch.manual_seed(0)
    config = ExposureDiffusionConfig(width=4, camera="SonyA7S2")
    model, plot = tmp_path / "tiny.safetensors", tmp_path / "new" / "calls.svg"
    save_weights(model, ExposureDiffusion(config).state_dict(), {"system": "exposurediffusion", "config": config})
    calls = [word for count in (3, 1) for word in ("--steps", count)]
    result = run(pictures, "-m", model, "--ratio", 200, "--crop", 32, "--protocol", "blind", *calls, "--plot", plot,
                 "--json", tmp_path / "scores.json", "--cache", tmp_path)  # fmt: skip
    assert result.exit_code == 0, result.output
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert [(e["method"].split(", ")[-1], e["calls"]) for e in scores["summary"]] == [
        ("untouched", None), ("nlm", None), ("3 calls", 3), ("1 call", 1)
    ]  # fmt: skip
    assert any("generalised Anscombe" in line for line in scores["recipe"])
    assert "<svg" in plot.read_text()[:2000]
    spreads = [e | {name: {"mean": e[name], "std": None} for name in steps.RAW_MEASURES} for e in scores["summary"]]
    (curve,) = steps.raw_curves(spreads)
    assert (curve.label, curve.calls) == ("tiny.safetensors, x200, blind", [1, 3])
    by_calls = {e["calls"]: e["raw_psnr"] for e in scores["summary"]}
    assert curve.values["raw_psnr"] == [by_calls[1], by_calls[3]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "bm3d"], "--method must be one of untouched, nlm, got bm3d"),
        (["--plot", "calls.png"], "--plot draws models over --steps: name one with --model"),
        (["--plot", "calls.bmpx", "-m", "any"], "cannot draw a plot as 'calls.bmpx'"),
    ],
)
def test_errors(pictures, tmp_path, arguments, message):
    if "-m" in arguments:
        pytest.importorskip("matplotlib", reason="matplotlib is in the extra [train]")
    result = run(pictures, "--cache", tmp_path, *arguments)
    assert result.exit_code == 2
    assert message in " ".join("".join(c for c in result.output if c not in "│╭╮╰╯─").split())
