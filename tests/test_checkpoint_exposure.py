"""Published ExposureDiffusion checkpoints: the network told from the shapes, and what the file cannot say."""

import dataclasses
import warnings

import golden
import pytest
import torch

from lowlight.checkpoints import CheckpointError, load, save_weights
from lowlight.systems.exposurediffusion.checkpoint import detect_exposure, exposure_options, exposure_weights
from lowlight.systems.exposurediffusion.network import ExposureDiffusionConfig, published
from lowlight.systems.exposurediffusion.system import ExposureDiffusion

PUBLISHED = {
    "unet": published("unet"),
    "unet_concat": published("unet", concat_origin=True),
    "naf2": published("naf2"),
    "naf2_concat": published("naf2", concat_origin=True),
}
PLAIN = published("unet", width=4, with_photon=False, adaptive=False)
CONFIGS = [
    published(name, width=4, with_photon=inputs > 4, concat_origin=inputs > 8, adaptive=adaptive)
    for name, inputs, adaptive in (
        ("unet", 4, True),
        ("unet", 8, True),
        ("unet", 12, True),
        ("naf", 4, False),
        ("naf", 12, True),
        ("naf2", 8, True),
        ("naf3", 4, True),
        ("naf3", 8, False),
        ("naf4", 8, True),
    )
] + [published("unet", width=4, with_photon=False, concat_origin=True)]


def network(config=PLAIN) -> ExposureDiffusion:
    torch.manual_seed(0)
    return ExposureDiffusion(config).eval()


def write(path, system, **changes):
    """A checkpoint as the authors publish them."""
    optimizer = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-4}]}
    content = {"netG": system.netG.state_dict(), "opt_g": optimizer, "epoch": 300, "iterations": 48300}
    torch.save(content | changes, path)
    return path


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_names(name):
    """Every published tensor is one of ours, of its shape, and the shapes tell which network it is."""
    shapes = golden.keys("exposurediffusion")[name]
    state, fields, ignored = exposure_weights({n: torch.ones(()).expand(s) for n, s in shapes.items()})
    assert not fields
    assert not ignored
    told = exposure_options(detect_exposure(state), with_photon=True)
    assert ExposureDiffusionConfig(**told) == PUBLISHED[name]
    with torch.device("meta"):
        own = ExposureDiffusion(PUBLISHED[name]).state_dict()
    assert {n: w.shape for n, w in state.items()} == {n: w.shape for n, w in own.items()}


@pytest.mark.parametrize("config", CONFIGS)
def test_published_checkpoint(tmp_path, config):
    system = network(config)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load(write(tmp_path / "model_300.pt", system), device="cpu", with_photon=config.with_photon)
    assert loaded.config == config
    assert not loaded.training
    for name, weight in system.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight)
    low = torch.rand(1, 4, 17, 20)
    # another memory format: another order of sums
    expected = system.enhance_tensor(low, ratio=100, K=0.8, poisson=lambda m: m)
    torch.testing.assert_close(
        loaded.enhance_tensor(low, ratio=100, K=0.8, poisson=lambda m: m), expected, rtol=0, atol=1e-4
    )


def test_what_the_file_cannot_say(tmp_path):
    path = write(tmp_path / "plain.pt", network())
    with pytest.raises(
        CheckpointError, match=r"plain\.pt looks like an ExposureDiffusion, but its unet of 4 outputs may"
    ):
        load(path, device="cpu")
    assert load(path, device="cpu", resid=False).config == PLAIN
    loaded = load(path, device="cpu", resid=True, camera="SonyA7S2")
    assert loaded.config == dataclasses.replace(PLAIN, resid=True, camera="SonyA7S2")
    # the same weights, another picture
    low = torch.rand(1, 4, 16, 16)
    pictures = [load(path, device="cpu", resid=r).enhance_tensor(low, ratio=9, K=1) for r in (False, True)]
    assert (pictures[0] - pictures[1]).abs().max() > 1e-2
    with pytest.raises(TypeError, match="options of an ExposureDiffusion are resid, with_photon, camera; got colour"):
        load(path, device="cpu", resid=True, colour="red")
    with pytest.raises(TypeError, match="are none; got camera, resid"):
        load("default", device="cpu", resid=True, camera="SonyA7S2")
    with pytest.raises(CheckpointError, match=r"its 8 inputs may be the picture and its photons, or .*with_photon=Fal"):
        load(write(tmp_path / "eight.pt", network(published("naf3", width=4))), device="cpu")
    for name in ("unet", "naf3"):
        path = write(tmp_path / "told.pt", network(published(name, width=4, concat_origin=True)))
        assert load(path, device="cpu", resid=False, camera="NikonD850").config.camera == "NikonD850"
        with pytest.raises(CheckpointError, match="it has resid=False, not the resid=True given to load"):
            load(path, device="cpu", resid=True)
        with pytest.raises(CheckpointError, match="it has with_photon=True, not the with_photon=False"):
            load(path, device="cpu", with_photon=False)


@pytest.mark.parametrize("gain", [False, True])
def test_own_files(tmp_path, gain):
    plain = dataclasses.replace(PLAIN, with_gain=gain)
    config = dataclasses.replace(plain, resid=True, camera="SonyA7S2", iter_num=4)
    system = network(config)
    metadata = {"system": "exposurediffusion", "config": config}
    save_weights(tmp_path / "own.safetensors", system.state_dict(), metadata, dtype=torch.float32)
    loaded = load(tmp_path / "own.safetensors", device="cpu")
    assert loaded.config == config
    assert load(tmp_path / "own.safetensors", device="cpu", camera="mine.json").config.camera == "mine.json"
    with pytest.raises(CheckpointError, match="it has resid=True, not the resid=False"):
        load(tmp_path / "own.safetensors", device="cpu", resid=False)
    # a training's checkpoint, whose configuration may be short
    told = {"width": 4, "adaptive": False, "with_photon": False, "with_gain": gain}
    settings = {"system": "exposurediffusion", "network": told}
    torch.save({"model": system.state_dict(), "ema": {}, "config": settings}, tmp_path / "last.pt")
    again = load(tmp_path / "last.pt", device="cpu")
    assert again.config == plain
    for name, weight in system.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight)
        assert torch.equal(loaded.state_dict()[name], weight)


def test_bare_state_dict(tmp_path):
    system = network(published("naf3", width=4))
    torch.save({f"module.{n}": w for n, w in system.netG.state_dict().items()}, tmp_path / "bare.pt")
    assert load(tmp_path / "bare.pt", device="cpu", with_photon=True).config == system.config


def _another(inputs, outputs):
    ends = {"conv1_1.weight": torch.ones(4, inputs, 3, 3), "conv10_1.weight": torch.ones(outputs, 4, 1, 1)}
    return lambda s: s.update(ends)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("conv3_2.bias"), r"lacks netG\.conv3_2\.bias$"),
        (lambda s: s.pop("conv1_1.weight"), r"looks like an ExposureDiffusion, but has no netG\.conv1_1\.weight"),
        (lambda s: s.update(extra=torch.zeros(1)), r"too many weights, netG\.extra"),
        (lambda s: s["conv3_2.bias"].fill_(torch.nan), r"not finite, netG\.conv3_2\.bias"),
        (
            lambda s: s.update({"conv1_1.weight": torch.ones(4, 3, 3, 3)}),
            r"network takes 3 channels and gives 9, where",
        ),
        (_another(18, 19), r"is for the packed raw of X-Trans sensors: it takes 18 channels and gives 19, where"),
        (
            _another(6, 7),
            r"is for RGB pictures \(sRGB, or by a camera's curve\): it takes 6 channels and gives 7, where",
        ),
        (lambda s: s.update({"conv10_1.weight": torch.ones(5, 4, 1, 1)}), r"takes 8 channels and gives 5, where"),
        (lambda s: s.update({"conv1_1.weight": torch.ones(4)}), r"takes None channels"),
        (
            lambda s: s.update({"upv6.weight": torch.ones(2, 2, 2, 2)}),
            r"of another shape, netG\.upv6\.weight \(2, 2, 2, 2\) instead of \(64, 32, 2, 2\)",
        ),
    ],
    ids=["bias", "first", "unknown", "NaN", "inputs", "X-Trans", "RGB", "outputs", "no convolution", "shape"],
)
def test_weights_that_do_not_fit(tmp_path, change, message):
    system = network(published("unet", width=4))
    state = {name: tensor.clone() for name, tensor in system.netG.state_dict().items()}
    change(state)
    with pytest.raises(CheckpointError, match=message) as info:
        load(write(tmp_path / "bad.pt", system, netG=state), device="cpu", with_photon=True)
    assert "bad.pt" in str(info.value)


def test_a_nafnet_without_its_middle(tmp_path):
    system = network(published("naf", width=4))
    state = {n: w for n, w in system.netG.state_dict().items() if not n.startswith("middle")}
    with pytest.raises(CheckpointError, match="each level and the middle a block"):
        load(write(tmp_path / "bad.pt", system, netG=state), device="cpu", with_photon=True)
