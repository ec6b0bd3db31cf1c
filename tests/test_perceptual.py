"""LPIPS against the lpips package's own forward, and what is said where its weights are missing."""

from __future__ import annotations

import dataclasses
import sys
import types
import warnings
from importlib.util import find_spec

import pytest
import torch
from perceptual_state import random_state
from typer.testing import CliRunner

from lowlight.cli import app
from lowlight.files.tensors import CheckpointError
from lowlight.metrics import lpips_files as perceptual_files
from lowlight.metrics import scores as metrics
from lowlight.metrics.lpips import Lpips, LpipsUnavailable
from lowlight.metrics.lpips_trunks import TRUNKS
from lowlight.metrics.measures import MEASURES, lpips_measure, picture_views, score

if find_spec("lpips") is None:
    pytest.skip("lpips is in the extra [lpips]", allow_module_level=True)


SMALLEST = {"alex": 31, "vgg": 16, "squeeze": 17}


def package_network(net: str, state: dict[str, torch.Tensor]) -> torch.nn.Module:
    """The lpips package's network with the same weights."""
    try:
        import torchvision
    except RuntimeError:
        # torchvision built for another torch (CPU beside CUDA) misses its operators: define the two it asks for
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision
    import lpips

    def vgg16(make=torchvision.models.vgg16, **_):
        with torch.device("meta"):  # 138 million weights that nobody looks at
            return make()

    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")  # it calls torchvision by old names
        patch.setattr(torchvision.models, "vgg16", vgg16)
        network = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    # its "slice2.3.weight" is torchvision's "features.3.weight"
    own = {name: state["features." + name.split(".", 1)[1]] for name in network.net.state_dict()}
    network.net.load_state_dict(own, assign=True)
    return network.requires_grad_(False)


@pytest.fixture(scope="module", params=list(TRUNKS))
def nets(request, tmp_path_factory):
    """(name, file of random weights, the package's network with the same ones) of every net."""
    state = random_state(request.param)
    path = tmp_path_factory.mktemp("weights") / f"{request.param}.pth"
    torch.save(state, path)
    return request.param, path, package_network(request.param, state)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return random_state("alex")


@pytest.fixture(scope="module")
def weights(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def package(state):
    return package_network("alex", state)


def pictures(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(height)
    truth = torch.rand(2, 3, height, width, generator=generator)
    return (truth * 0.8 + 0.2 * torch.rand(truth.shape, generator=generator)), truth


@pytest.mark.parametrize("size", [None, (64, 97), (100, 60)])
def test_is_the_packages(nets, size):
    net, path, package = nets
    result, truth = pictures(*(size or (SMALLEST[net],) * 2))
    with torch.no_grad():
        expected = package(result * 2 - 1, truth * 2 - 1).flatten()
    value = Lpips(net, path)(result, truth)
    assert (value.dtype, value.shape) == (torch.float32, (2,))
    assert value.min() > 1e-3
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-8)


def gradients(loss, *pictures: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """To both pictures, of a sum with unequal weights: each sample has its own."""
    leaves = [picture.clone().requires_grad_() for picture in pictures]
    value = loss(*leaves).flatten().float()
    return torch.autograd.grad((value * torch.tensor([1.0, 3.0])).sum(), leaves)


def test_gradients_are_the_packages(nets):
    net, path, package = nets
    result, truth = pictures(48, 41)
    expected = gradients(lambda x, y: package(x * 2 - 1, y * 2 - 1), result, truth)
    for ours, theirs in zip(gradients(Lpips(net, path), result, truth), expected, strict=True):
        assert theirs.abs().max() > 1e-6
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * theirs.abs().max().item())


def test_autocast_and_narrow_pictures(nets):
    """A loss inside of a bfloat16 training: computed in float32 all the same, gradients in the pictures' dtype."""
    net, path, _ = nets
    network = Lpips(net, path)
    narrow = [picture.bfloat16() for picture in pictures(40, 40)]
    expected = network(*(picture.float() for picture in narrow))
    with torch.autocast("cpu", torch.bfloat16):
        value = network(*narrow)
        slopes = gradients(network, *narrow)
    assert torch.equal(value, expected)
    for slope, exact in zip(slopes, gradients(network, *(p.float() for p in narrow)), strict=True):
        assert torch.equal(slope, exact.bfloat16())


def test_gradients_where_no_feature_is_alive(tmp_path, state):
    dead = state | {name: torch.full_like(state[name], -100) for name in ("features.0.bias", "features.6.bias")}
    torch.save(dead, tmp_path / "dead.pth")
    network = Lpips(weights=tmp_path / "dead.pth")
    result, truth = pictures(48, 48)
    assert any(not features.any() for features in network.features(result))
    with torch.autograd.set_detect_anomaly(True):  # raises on a NaN on the way
        slopes = gradients(network, result, truth)
    assert all(slope.isfinite().all() for slope in slopes)


def test_pictures_alike(nets):
    net, path, _ = nets
    result, truth = pictures(35, 40)
    network = Lpips(net, path)
    assert network(truth, truth).tolist() == [0, 0]
    assert torch.equal(network(result, truth), network(truth, result))
    assert not any(slope.any() for slope in gradients(network, truth, truth))


def test_small_pictures(nets):
    net, path, package = nets
    network, least = Lpips(net, path), SMALLEST[net]
    small = torch.zeros(1, 3, least - 1, 64)
    with pytest.raises(RuntimeError, match="too small"):
        package(small, small)
    with pytest.raises(ValueError, match=rf"LPIPS: .* at least {least} x {least}, got \(1, 3, {least - 1}, 64\)"):
        network(small, small)
    with pytest.raises(ValueError, match=r"share a shape, got \(1, 3, 40, 64\) and \(2, 3, 40, 64\)"):
        network(torch.zeros(1, 3, 40, 64), torch.zeros(2, 3, 40, 64))


def test_other_nets_and_files_of_other_nets(nets, weights):
    net, path, _ = nets
    with pytest.raises(ValueError, match="net must be one of alex, vgg, squeeze, got 'resnet'"):
        Lpips("resnet", path)
    if net != "alex":
        with pytest.raises(CheckpointError, match=r"is no (VGG16|SqueezeNet 1.1) of torchvision: "):
            Lpips(net, weights)


def test_every_variant_is_scored_with_8_bits(package, weights):
    result, truth = pictures(40, 48)
    views = picture_views(result, truth)
    scores = {
        name: value for name, (_, value) in score(views, [*MEASURES, lpips_measure(Lpips(weights=weights))]).items()
    }
    corrected = {
        "lpips": result,
        "lpips_gt_mean": metrics.gt_mean(result, truth),
        "lpips_ls_gain": metrics.least_squares_gain(result, truth),
    }
    for name, picture in corrected.items():
        first, second = (metrics.eight_bit(x).float() * 2 - 1 for x in (picture, truth))
        with torch.no_grad():
            expected = package(first, second).flatten().double()
        torch.testing.assert_close(scores[name], expected, rtol=1e-5, atol=1e-8)  # float64 on the CPU
    assert len({value[0].item() for value in map(scores.get, corrected)}) == 3
    assert set(scores) - set(score(views)) == set(corrected)


def test_other_weights_other_scores(state, weights, tmp_path):
    result, truth = pictures(35, 40)
    torch.save({name: tensor * 1.01 if name == "features.10.weight" else tensor for name, tensor in state.items()},
               tmp_path / "other.pth")  # fmt: skip
    other, ours = (Lpips(weights=path)(result, truth) for path in (tmp_path / "other.pth", weights))
    assert not torch.allclose(other, ours, rtol=1e-5)


@pytest.mark.parametrize(
    ("net", "name"),
    [("alex", "alexnet-owt-7be5be79.pth"), ("vgg", "vgg16-397923af.pth"), ("squeeze", "squeezenet1_1-b8a52dc0.pth")],
)
def test_weights_are_looked_for_where_torchvision_keeps_them(state, tmp_path, monkeypatch, net, name):
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("a download was tried"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    with pytest.raises(LpipsUnavailable) as missing:
        Lpips(net)
    sentence = str(missing.value)
    for part in (name, str(folder), TRUNKS[net].title, "--lpips-weights"):
        assert part in sentence
    assert "\n" not in sentence

    folder.mkdir(parents=True)
    torch.save(state, folder / name)
    with pytest.raises(CheckpointError, match=f"promises a SHA-256 from {name[-12:-4]}"):
        Lpips(net)
    if net != "alex":
        return
    found = perceptual_files.checked_hash((folder / name).rename(folder / "x.pth"))
    monkeypatch.setitem(TRUNKS, net, dataclasses.replace(TRUNKS[net], file=f"alexnet-owt-{found[:8]}.pth"))
    (folder / "x.pth").rename(folder / TRUNKS[net].file)
    network = Lpips()
    assert (network.path, network.sha256) == (folder / TRUNKS[net].file, found)


@pytest.mark.parametrize("problem", [None, "another file", "no network", "no torchvision"])
def test_weights_are_fetched_when_asked_for(state, tmp_path, monkeypatch, problem):
    """`lowlight lpips` from the address that torchvision names, here a file; whole and as promised, or not at all."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    torch.save(state, tmp_path / "there.pth")
    found = perceptual_files.checked_hash(tmp_path / "there.pth")
    promised = "0" * 8 if problem == "another file" else found[:8]
    trunk = dataclasses.replace(TRUNKS["alex"], file=f"alexnet-owt-{promised}.pth")
    monkeypatch.setitem(TRUNKS, "alex", trunk)
    address = (tmp_path / ("nowhere.pth" if problem == "no network" else "there.pth")).as_uri()
    models = types.SimpleNamespace(
        AlexNet_Weights=types.SimpleNamespace(IMAGENET1K_V1=types.SimpleNamespace(url=address))
    )
    vision = None if problem == "no torchvision" else types.SimpleNamespace(models=models)
    monkeypatch.setitem(sys.modules, "torchvision", vision)
    result = CliRunner().invoke(app, ["lpips"])
    path = tmp_path / "home" / "hub" / "checkpoints" / trunk.file
    if problem is None:
        assert result.exit_code == 0, result.output
        assert result.stdout == f"{path}: SHA-256 {found}\n"
        (tmp_path / "there.pth").unlink()
        assert CliRunner().invoke(app, ["lpips"]).exit_code == 0  # it is there
        return
    assert result.exit_code == 1
    assert result.stderr.startswith("LPIPS is not ready: ")
    assert len(result.stderr.splitlines()) == 1
    assert ("torchvision does not import" if problem == "no torchvision" else "was not fetched") in result.stderr
    assert not path.exists()
    assert CliRunner().invoke(app, ["lpips", "inception"]).exit_code == 1


def test_without_the_package(weights, monkeypatch):
    monkeypatch.setattr(perceptual_files, "find_spec", lambda name: None)
    with pytest.raises(LpipsUnavailable, match=r"pip install 'lowlight-ext\[lpips\]'"):
        Lpips(weights=weights)


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
        Lpips(weights=tmp_path / "bad.pth")
    assert capsys.readouterr().out == ""
    with pytest.raises(FileNotFoundError, match="no file"):
        Lpips(weights=tmp_path / "nothing.pth")
