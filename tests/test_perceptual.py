"""LPIPS against the lpips package's own forward, and what is said where its weights are missing."""

from __future__ import annotations

import warnings
from importlib.util import find_spec

import pytest
import torch

from lowlight import metrics, perceptual
from lowlight.checkpoint_files import CheckpointError
from lowlight.perceptual import Lpips, LpipsUnavailable

if find_spec("lpips") is None:
    pytest.skip("lpips is in the extra [lpips]", allow_module_level=True)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """Random weights under torchvision's names, of its spread: features are neither dead nor huge."""
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for number, inputs, outputs, kernel, *_ in perceptual._CONVOLUTIONS:
        scale = (2 / (inputs * kernel * kernel)) ** 0.5
        shape = (outputs, inputs, kernel, kernel)
        tensors[f"features.{number}.weight"] = torch.randn(shape, generator=generator) * scale
        tensors[f"features.{number}.bias"] = torch.randn(outputs, generator=generator) * 0.1
    return tensors | {"classifier.6.bias": torch.zeros(1000)}


@pytest.fixture(scope="module")
def weights(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def package(state):
    """The lpips package's network with the same weights."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        # torchvision built for another torch (CPU beside CUDA) misses its operators: define the two it asks for
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls torchvision by old names
        network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    places = {0: "slice1.0", 3: "slice2.3", 6: "slice3.6", 8: "slice4.8", 10: "slice5.10"}
    own = {
        f"{place}.{kind}": state[f"features.{number}.{kind}"]
        for number, place in places.items()
        for kind in ("weight", "bias")
    }
    network.net.load_state_dict(own)
    return network


def pictures(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(height)
    truth = torch.rand(2, 3, height, width, generator=generator)
    return (truth * 0.8 + 0.2 * torch.rand(truth.shape, generator=generator)), truth


@pytest.mark.parametrize("size", [(31, 31), (64, 97), (100, 60)])
def test_is_the_packages(package, weights, size):
    result, truth = pictures(*size)
    with torch.no_grad():
        expected = package(result * 2 - 1, truth * 2 - 1).flatten().double()
    value = Lpips(weights)(result, truth)
    assert value.dtype == torch.float64
    assert value.min() > 1e-3
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-8)


def test_every_variant_is_scored_with_8_bits(package, weights):
    result, truth = pictures(40, 48)
    scores = metrics.score(result, truth, Lpips(weights))
    assert list(scores) == list(metrics.SCORES)
    corrected = {
        "lpips": result,
        "lpips_gt_mean": metrics.gt_mean(result, truth),
        "lpips_ls_gain": metrics.least_squares_gain(result, truth),
    }
    for name, picture in corrected.items():
        first, second = (metrics.eight_bit(x).float() * 2 - 1 for x in (picture, truth))
        with torch.no_grad():
            expected = package(first, second).flatten().double()
        torch.testing.assert_close(scores[name], expected, rtol=1e-5, atol=1e-8)
    assert len({value[0].item() for value in map(scores.get, corrected)}) == 3
    assert set(metrics.score(result, truth)) == {name for name in metrics.SCORES if "lpips" not in name}


def test_equal_pictures_and_other_weights(state, weights, tmp_path):
    result, truth = pictures(35, 40)
    network = Lpips(weights)
    assert network(truth, truth).tolist() == [0, 0]
    assert torch.equal(network(result, truth), network(truth, result))
    torch.save({name: tensor * 1.01 if name == "features.10.weight" else tensor for name, tensor in state.items()},
               tmp_path / "other.pth")  # fmt: skip
    assert not torch.allclose(Lpips(tmp_path / "other.pth")(result, truth), network(result, truth), rtol=1e-5)


def test_small_pictures(weights):
    small = torch.zeros(1, 3, 30, 64)
    with pytest.raises(ValueError, match=r"LPIPS: .* at least 31 x 31, got \(1, 3, 30, 64\)"):
        Lpips(weights)(small, small)


def test_weights_are_looked_for_where_torchvision_keeps_them(state, tmp_path, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("a download was tried"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    with pytest.raises(LpipsUnavailable) as missing:
        Lpips()
    sentence = str(missing.value)
    for part in ("alexnet-owt-7be5be79.pth", str(folder), "--lpips-weights"):
        assert part in sentence
    assert "\n" not in sentence

    folder.mkdir(parents=True)
    torch.save(state, folder / perceptual.TRUNK)
    with pytest.raises(CheckpointError, match="promises a SHA-256 from 7be5be79"):
        Lpips()
    found = perceptual._checked_hash((folder / perceptual.TRUNK).rename(folder / "x.pth"))
    monkeypatch.setattr(perceptual, "TRUNK", f"alexnet-owt-{found[:8]}.pth")
    (folder / "x.pth").rename(folder / perceptual.TRUNK)
    network = Lpips()
    assert (network.path, network.sha256) == (folder / perceptual.TRUNK, found)


def test_without_the_package(weights, monkeypatch):
    monkeypatch.setattr(perceptual, "find_spec", lambda name: None)
    with pytest.raises(LpipsUnavailable, match=r"pip install 'lowlight-ext\[lpips\]'"):
        Lpips(weights)


class Harmful:
    def __reduce__(self):
        return print, ("code in a file was run",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features.3.weight": None}, r"no features\.3\.weight"),
        ({"features.0.weight": torch.zeros(64, 3, 3, 3)}, r"features\.0\.weight has shape \(64, 3, 3, 3\)"),
        ({"features.8.bias": torch.full((256,), torch.nan)}, r"features\.8\.bias is not finite"),
        ({"features.8.bias": Harmful()}, "refused"),
    ],
)
def test_files_that_are_no_alexnet(state, tmp_path, change, message, capsys):
    changed = {name: value for name, value in (state | change).items() if value is not None}
    torch.save(changed, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match=message):
        Lpips(tmp_path / "bad.pth")
    assert capsys.readouterr().out == ""
    with pytest.raises(FileNotFoundError, match="no file"):
        Lpips(tmp_path / "nothing.pth")
