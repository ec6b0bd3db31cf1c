"""Engines: the same picture, kept graphs, refusals in a sentence, and what was measured decides."""

import json

import pytest
import torch
from test_export import SYSTEMS, small
from typer.testing import CliRunner

from lowlight.checkpoints import load, save_weights
from lowlight.cli import app
from lowlight.engines import openvino, use
from lowlight.engines.cache import key_of
from lowlight.engines.choices import Choice, choices, chosen, keep, machine
from lowlight.engines.measuring import Measured, enhanced, measure
from lowlight.systems.base import RawSystem
from lowlight.systems.exposurediffusion.network import ExposureDiffusionConfig
from lowlight.systems.exposurediffusion.system import ExposureDiffusion
from lowlight.systems.networks import networks

needs_openvino = pytest.mark.skipif(openvino.missing() is not None, reason=f"openvino {openvino.missing()}")
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LOWLIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "engines"


@pytest.fixture
def file(tmp_path):
    system = small("exposurediffusion")
    path = tmp_path / "net.safetensors"
    save_weights(path, system.state_dict(), {"system": system.name, "config": system.config}, torch.float32)
    return path


def dark(system, height, width, count=1):
    torch.manual_seed(height)
    return torch.rand(count, 4 if isinstance(system, RawSystem) else 3, height, width) * 0.3


def trained(system):
    """No weight zero, so that every network matters."""
    torch.manual_seed(1)
    for parameter in system.parameters():
        if not parameter.any():
            parameter.copy_(torch.randn_like(parameter) * 0.02)
    return system


@needs_openvino
@pytest.mark.parametrize("name", [name for name in SYSTEMS if name != "ddpm"])
def test_openvino_makes_the_same_picture_at_any_size(name, cache):
    system = trained(small(name))
    pictures = [dark(system, 40, 48), dark(system, 66, 34)]
    wanted = [enhanced(system, x) for x in pictures]
    key = key_of(system)
    asked = []
    use.use_engine(system, "openvino", "exact")
    for network in networks(system).values():
        own = getattr(network.owner, network.method)
        own._graph = lambda *inputs, graph=own._graph: asked.append(1) or graph(*inputs)
    for x, y in zip(pictures, wanted, strict=True):
        # a pixel may lie on the other side of a histogram's or a clamp's bound
        torch.testing.assert_close(enhanced(system, x), y, rtol=0, atol=1e-3)
    assert len(asked) >= 2
    assert {path.parent.parent.name for path in cache.rglob("*.xml")} == {key}
    assert not list(cache.rglob("*.part"))


@needs_openvino
def test_a_kept_graph_is_not_made_again(monkeypatch):
    x = dark(small("exposurediffusion"), 32, 32)
    first = use.use_engine(small("exposurediffusion"), "openvino", "exact")
    monkeypatch.setattr(openvino, "export_program", None)
    again = use.use_engine(small("exposurediffusion"), "openvino", "exact")
    torch.testing.assert_close(enhanced(again, x), enhanced(first, x), rtol=0, atol=0)
    other = small("exposurediffusion")
    next(other.parameters()).add_(0.1)
    # other weights, another graph
    with pytest.raises(TypeError):
        use.use_engine(other, "openvino", "exact")


@needs_openvino
def test_what_a_graph_does_not_take():
    system = use.use_engine(small("exposurediffusion"), "openvino", "exact")
    with torch.enable_grad(), pytest.raises(ValueError, match="computes no gradients"):
        system.netG._whole(torch.rand(1, 8, 16, 16, requires_grad=True))
    network = networks(small("exposurediffusion"))["network"]
    seen = use.InPlace(network._replace(most=15 * 16), lambda *_: "graph")
    assert seen(torch.rand(1, network.call.inputs["x"].shape[1], 16, 16)) != "graph"


@needs_openvino
def test_an_unwritable_cache_is_said(tmp_path, monkeypatch):
    (tmp_path / "cache").touch()
    with pytest.warns(UserWarning, match="its graph cannot be kept"):
        system = use.use_engine(small("exposurediffusion"), "openvino", "exact")
    x = dark(system, 32, 32)
    torch.testing.assert_close(enhanced(system, x), enhanced(small("exposurediffusion"), x), rtol=0, atol=1e-4)


def test_fast_is_bfloat16_where_the_processor_has_it(file, monkeypatch):
    monkeypatch.setattr(use, "no_bfloat16", lambda device: None)
    assert load(file, precision="fast", device="cpu").dtype == torch.bfloat16
    assert load(file, precision="exact", device="cpu").dtype == torch.float32
    monkeypatch.setattr(use, "no_bfloat16", lambda device: "this processor has not")
    with pytest.raises(ValueError, match="fast is bfloat16, which this processor has not; exact works"):
        load(file, precision="fast", device="cpu")


def test_group_norms_keep_float32_where_the_rest_is_narrowed():
    """Their numbers, bit for bit; and the networks take them beside maps in bfloat16."""
    exact, system = trained(small("diffll")), use.narrowed(trained(small("diffll")))
    norms = {name for name, module in system.named_modules() if isinstance(module, torch.nn.GroupNorm)}
    assert norms
    for (name, narrow), own in zip(system.named_parameters(), exact.parameters(), strict=True):
        of_a_norm = name.rpartition(".")[0] in norms
        assert narrow.dtype == (torch.float32 if of_a_norm else torch.bfloat16)
        assert not of_a_norm or narrow.equal(own)
    assert system.dtype == torch.bfloat16
    assert enhanced(use.laid_out(system), dark(system, 32, 32)).isfinite().all()


def test_refusals(file, monkeypatch):
    with pytest.raises(ValueError, match="engine: must be one of torch, openvino, cudagraph, auto, got 'tvm'"):
        load(file, engine="tvm")
    with pytest.raises(ValueError, match="precision: must be one of exact, fast, got 'half'"):
        load(file, precision="half")
    with pytest.raises(ValueError, match=r"must be float32, got torch\.float16"):
        load(file, dtype=torch.float16, precision="exact")
    # without either a dtype is what it was
    assert load(file, dtype=torch.float16, device="cpu").dtype == torch.float16
    with pytest.raises(ValueError, match="openvino runs on the CPU, got device cuda"):
        use.check_engine("openvino", None, torch.device("cuda"), None)
    with pytest.raises(ValueError, match="engine: must be torch for Linear"):
        networks(torch.nn.Linear(1, 1))
    monkeypatch.setattr(openvino.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'lowlight-ext\[openvino\]'"):
        load(file, engine="openvino", device="cpu")


def choice(engine="openvino", precision="exact", **fields):
    return Choice(
        "net", precision, engine, (60, 40), {"torch": 2.0, "openvino": 1.0}, **{"machine": machine()} | fields
    )


def test_auto_is_what_was_measured_here(cache, monkeypatch):
    system = small("exposurediffusion")
    taken = []
    monkeypatch.setattr(openvino, "missing", lambda: None)
    monkeypatch.setattr(openvino, "Graph", lambda file, call, precision, varied: taken.append(precision))
    with pytest.warns(UserWarning, match="was not measured here"):
        use.use_engine(system, "auto", None)
    keep(key_of(system), choice(machine="another"))
    assert chosen(key_of(system), "exact") is None
    assert not taken
    keep(key_of(system), choice())
    keep(key_of(system), choice("torch", "fast"))
    monkeypatch.setattr(use, "no_bfloat16", lambda device: None)
    use.use_engine(small("exposurediffusion"), "auto", "fast")
    assert not taken
    use.use_engine(system, "auto", None)
    assert taken == ["exact"]
    assert {each.precision: each.engine for each in choices()} == {"exact": "openvino", "fast": "torch"}
    # a damaged file is no measurement
    (cache / "choices.json").write_text("[1")
    assert choices() == []


def test_the_key_is_of_weights_and_configuration():
    system = small("exposurediffusion")
    key = key_of(system)
    assert key == key_of(small("exposurediffusion"))
    next(system.parameters())[:] = 0
    assert key_of(system) != key
    config = ExposureDiffusionConfig(width=2, iter_num=1)
    other = ExposureDiffusion(config)
    other.load_state_dict(small("exposurediffusion").state_dict())
    assert key_of(other) != key


def test_measuring_compares_with_the_first():
    system = small("exposurediffusion")
    ticks = iter(range(100))
    measured = measure({"a": system, "b": small("exposurediffusion").bfloat16()}, dark(system, 32, 32), 3,
                       clock=lambda: next(ticks))  # fmt: skip
    assert measured["a"] == Measured(1000.0, 0.0, float("inf"))
    assert 0 < measured["b"].difference < 0.1
    assert Measured(1, 1e-3, 80).keeps("exact")
    assert not Measured(1, 2e-3, 80).keeps("exact")
    assert Measured(1, 0.1, 45).keeps("fast")
    assert not Measured(1, 0.1, 44).keeps("fast")


def test_tune_writes_what_info_says(file, cache, monkeypatch):
    monkeypatch.setattr(openvino, "missing", lambda: "needs openvino: not here")
    monkeypatch.setattr(use, "no_bfloat16", lambda device: None)
    shown = CliRunner().invoke(app, ["tune", str(file), "--size", "32x32", "--runs", "1"])
    assert shown.exit_code == 0, shown.output
    assert "openvino exact: left out (engine: openvino needs openvino: not here)" in shown.output
    assert "--engine auto, --precision exact: torch" in shown.output
    kept = json.loads((cache / "choices.json").read_text())
    assert [each["engine"] for each in kept.values()] == ["torch"] * len(kept)
    info = CliRunner().invoke(app, ["info"]).output
    assert f"auto, exact, {file}" in info
    assert "torch (32x32: torch " in info
    assert CliRunner().invoke(app, ["tune", str(file), "--size", "x"]).exit_code == 2
    shown = CliRunner().invoke(app, ["tune", str(file), "--size", "32x32", "--runs", "1", "--json", "-q"]).output
    told = json.loads(shown)
    assert (told["size"], told["taken"]["exact"]) == ([32, 32], "torch")
    assert told["measured"]["torch exact"]["difference"] == 0
