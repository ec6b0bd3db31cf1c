"""Weights on disk: what is read, what comes back, and what is refused."""

from __future__ import annotations

import argparse
import json
import os
import pickle
from copy import deepcopy
from pathlib import Path

import golden
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lowlight import checkpoints, shipped
from lowlight.cameras.cameras import load_camera
from lowlight.checkpoints import CheckpointError, load, read_checkpoint, save_weights, shipped_models
from lowlight.commands.export import export
from lowlight.metrics.scores import psnr
from lowlight.raw.files import normalise
from lowlight.scenes.synthetic import still_life
from lowlight.scenes.synthetic_raw import CAMERA, short_exposure
from lowlight.systems.base import PictureSystem, RawSystem
from lowlight.systems.diffll.checkpoint import detect_diffll
from lowlight.systems.diffll.network import DiffLLConfig
from lowlight.systems.diffll.system import DiffLL

SMALL = DiffLLConfig(ch=16, ch_mult=(1, 2), num_res_blocks=1, attention_level=1, norm_groups=8, hfrm_width=8, levels=1)
METADATA = {"system": "diffll", "config": SMALL}


@pytest.fixture
def small() -> DiffLL:
    torch.manual_seed(0)
    return DiffLL(SMALL).eval()


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    return golden.weights(golden.keys("diffll"))


def write_published(path: Path, state: dict[str, torch.Tensor], **changes) -> Path:
    """A checkpoint as DiffLL's authors publish them."""
    content = {
        "step": 100,
        "epoch": 3,
        "state_dict": {f"module.{name}": torch.zeros_like(tensor) for name, tensor in state.items()},
        "optimizer": {"state": {}, "param_groups": [{"lr": 1e-4, "params": [0]}]},
        "scheduler": {"last_epoch": 3},
        "ema_helper": dict(state),
        "params": argparse.Namespace(seed=230, resume=""),
        "config": argparse.Namespace(model=argparse.Namespace(ch=64), device=torch.device("cpu")),
    }
    torch.save({key: value for key, value in (content | changes).items() if value is not None}, path)
    return path


def test_round_trip(tmp_path, small):
    path = tmp_path / "small.safetensors"
    save_weights(path, small.state_dict(), METADATA, dtype=torch.float32)
    again = load(path, device="cpu")
    assert again.config == SMALL
    assert not again.training
    assert not any(p.requires_grad for p in again.parameters())
    assert again.state_dict().keys() == small.state_dict().keys()
    for name, tensor in small.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    low = torch.rand(1, 3, 16, 24)
    same_layout = deepcopy(small).to(memory_format=torch.channels_last)
    assert torch.equal(again.enhance_tensor(low, steps=2), same_layout.enhance_tensor(low, steps=2))


def test_half_precision_is_stored_and_float32_comes_back(tmp_path, small):
    path = tmp_path / "small.safetensors"
    save_weights(path, small.state_dict(), METADATA)
    stored, metadata = read_checkpoint(path)
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert metadata["system"] == "diffll"
    assert metadata["config"]["ch_mult"] == [1, 2]
    system = load(path, device="cpu")
    assert system.dtype == torch.float32
    for name, tensor in small.state_dict().items():
        assert torch.equal(system.state_dict()[name], tensor.half().float()), name
    assert load(path, device="cpu", dtype=torch.bfloat16).dtype == torch.bfloat16


def test_int8_keeps_every_weight_to_half_a_step(tmp_path, small):
    float16, int8 = tmp_path / "float16.safetensors", tmp_path / "int8.safetensors"
    save_weights(float16, small.state_dict(), METADATA)
    save_weights(int8, small.state_dict(), METADATA, dtype=torch.int8)
    assert int8.stat().st_size < 0.7 * float16.stat().st_size
    again = load(int8, device="cpu").state_dict()
    large = 0
    for name, tensor in small.state_dict().items():
        if tensor.dim() < 2 or tensor.numel() < 2048:
            assert torch.equal(again[name], tensor.half().float()), name
            continue
        large += 1
        rows = tensor.flatten(1)
        step = rows.abs().amax(dim=1, keepdim=True) / 127
        assert ((again[name].flatten(1) - rows).abs() <= 0.5001 * step).all(), name
        assert not torch.equal(again[name], tensor), name
    assert large > 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("conv.weight"), r"conv\.weight\.int8_scale \(4,\) needs .* found no tensor"),
        (lambda state: state.update({"conv.weight": torch.zeros(4, 3)}), r"found torch\.float32 \(4, 3\)"),
        (
            lambda state: state.update({"conv.weight": torch.zeros(5, 3, dtype=torch.int8)}),
            r"found torch\.int8 \(5, 3\)",
        ),
    ],
    ids=["none", "floating", "other rows"],
)
def test_int8_scales_without_their_weights(tmp_path, change, message):
    state = {"conv.weight": torch.zeros(4, 3, dtype=torch.int8), "conv.weight.int8_scale": torch.ones(4)}
    change(state)
    save_file(state, tmp_path / "wrong.safetensors")
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path / "wrong.safetensors", device="cpu")


def test_training_checkpoint(tmp_path, small):
    """The averaged weights of a checkpoint that this project's training writes."""
    averaged = {name: p.detach() + 1 for name, p in small.named_parameters()}
    config = {"system": "diffll", "network": {"ch": 16, "ch_mult": [1, 2], "num_res_blocks": 1, "attention_level": 1}}
    config["network"] |= {"norm_groups": 8, "hfrm_width": 8, "levels": 1}
    path = tmp_path / "last.pt"
    torch.save({"step": 1, "model": small.state_dict(), "ema": averaged, "optimizer": {}, "config": config}, path)
    system = load(path, device="cpu")
    assert torch.equal(system.Unet.conv_in.weight, small.Unet.conv_in.weight + 1)


def test_the_split_of_the_training(tmp_path, small):
    """From the metadata, a training's configuration, or a line of the model card; else unknown."""
    path = tmp_path / "small.safetensors"
    save_weights(path, small.state_dict(), METADATA)
    assert load(path, device="cpu").trained_on is None
    (tmp_path / "small.md").write_text("# small\n\nText on the training split: none.\n\nTraining split: our485\n")
    assert load(path, device="cpu").trained_on == "our485"
    save_weights(path, small.state_dict(), METADATA | {"split": "train"})
    assert load(path, device="cpu").trained_on == "train"
    config = {"system": "diffll", "network": vars(SMALL), "split": "all"}
    torch.save({"model": small.state_dict(), "config": config}, tmp_path / "last.pt")
    assert load(tmp_path / "last.pt", device="cpu").trained_on == "all"
    export(tmp_path / "last.pt", tmp_path / "exported.safetensors", "float16")
    assert load(tmp_path / "exported.safetensors", device="cpu").trained_on == "all"
    export(tmp_path / "last.pt", tmp_path / "int8.safetensors", "int8")
    assert load(tmp_path / "int8.safetensors", device="cpu").trained_on == "all"
    del config["split"]
    torch.save({"model": small.state_dict(), "config": config}, tmp_path / "last.pt")
    assert load(tmp_path / "last.pt", device="cpu").trained_on is None


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_published_checkpoint(tmp_path, published, legacy):
    """Averaged weights without a prefix, over raw ones that are all zero; the picture is the published network's."""
    path = tmp_path / "model_latest.pth.tar"
    write_published(path, published)
    if legacy:
        torch.save(torch.load(path, weights_only=False), path, _use_new_zipfile_serialization=False)
    system = load(path, device="cpu")
    assert system.config == DiffLLConfig()
    low = golden.uniform01("diffll/image", (1, 3, 64, 96))
    x_T = golden.normal("diffll/x_T", (1, 3, 16, 24))
    expected = torch.from_numpy(golden.outputs("diffll")["enhanced"])
    assert (system.enhance_tensor(low, noise=lambda stream, shape: x_T) - expected).abs().max() < 1e-4


def test_raw_weights_where_there_are_no_averaged_ones(tmp_path, published):
    state = {f"module.{name}": tensor for name, tensor in published.items()}
    system = load(write_published(tmp_path / "raw.pth", published, state_dict=state, ema_helper=None), device="cpu")
    assert torch.equal(system.Unet.conv_in.weight, published["Unet.conv_in.weight"])


def test_bare_state_dict(tmp_path, published):
    torch.save(published, tmp_path / "bare.pth")
    system = load(tmp_path / "bare.pth", device="cpu")
    assert torch.equal(system.high_enhance1.conv_HH.bias, published["high_enhance1.conv_HH.bias"])


@pytest.mark.parametrize(
    "config",
    [
        DiffLLConfig(),
        DiffLLConfig(levels=1),
        DiffLLConfig(levels=3, hfrm_width=32),
        DiffLLConfig(ch=32, ch_mult=(1, 1, 2), num_res_blocks=1, attention_level=1),
        DiffLLConfig(ch=32, guide="gamma", statistics=True),
    ],
    ids=str,
)
def test_configuration_is_told_from_the_tensors(config):
    found = detect_diffll(DiffLL(config).state_dict())
    assert DiffLLConfig(**found) == config


class Evil:
    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("how", ["zip", "legacy", 2, 4, 5])
def test_a_pickle_that_runs_code_is_refused(tmp_path, how):
    evil, mark = Evil(), tmp_path / "ran"
    evil.path = str(mark)
    path = tmp_path / "evil.pth"
    if isinstance(how, int):
        path.write_bytes(pickle.dumps({"state_dict": evil}, protocol=how))
    else:
        torch.save({"state_dict": {}, "params": evil}, path, _use_new_zipfile_serialization=how == "zip")
    with pytest.raises(CheckpointError, match=r"refused: reading it would call \w+\.mkdir"):
        load(path)
    assert not mark.exists()
    # negative control: the file does what it threatens where nobody looks
    unguarded = pickle.loads if isinstance(how, int) else lambda content: torch.load(path, weights_only=False)
    unguarded(path.read_bytes())
    assert mark.exists()


def test_the_reason_gives_no_advice_to_run_the_file(tmp_path):
    (tmp_path / "file.pth").write_bytes(b"\x80\x02" + b"\x95" * 20)
    with pytest.raises(CheckpointError) as info:
        load(tmp_path / "file.pth")
    assert "weights_only" not in str(info.value)


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.99])
def test_truncated_file(tmp_path, small, kind, part):
    path = tmp_path / "file"
    if kind == "safetensors":
        save_weights(path, small.state_dict(), METADATA)
    else:
        torch.save({"state_dict": small.state_dict()}, path, _use_new_zipfile_serialization=kind == "zip")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(CheckpointError, match="truncated"):
        load(path)


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"hello, world", b"\x89PNG\r\n\x1a\n" + bytes(100), b"\x80\x02."]
)
def test_no_checkpoint_at_all(tmp_path, content):
    (tmp_path / "file.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match="no checkpoint, or a damaged or truncated one"):
        load(tmp_path / "file.pth")


def test_a_list_and_a_folder_are_no_weights(tmp_path):
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="holds a list"):
        load(tmp_path / "list.pth")
    torch.save({"epoch": 3, "loss": 0.1}, tmp_path / "empty.pth")
    with pytest.raises(CheckpointError, match="it holds epoch, loss"):
        load(tmp_path / "empty.pth")
    with pytest.raises(CheckpointError, match="is a folder"):
        load(tmp_path)


def test_unknown_network(tmp_path, small):
    torch.save({"conv1.weight": torch.zeros(1), "fc.bias": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"an unknown network \(conv1.weight, fc.bias\); known systems: diffll"):
        load(tmp_path / "other.pth")
    save_weights(tmp_path / "other.safetensors", small.state_dict(), METADATA | {"system": "deep sea"})
    with pytest.raises(CheckpointError, match="a system 'deep sea'; known systems: diffll"):
        load(tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("Unet.conv_out.bias"), r"lacks Unet\.conv_out\.bias$"),
        (
            lambda s: [s.pop(n) for n in list(s) if n.startswith("Unet.mid")],
            r"lacks (Unet\.mid\S+ ){3}\S+ and \d+ more$",
        ),
        (lambda s: s.update(extra=torch.zeros(1)), "has too many weights, extra$"),
        (
            lambda s: s.update({"Unet.conv_out.bias": torch.zeros(4)}),
            r"of another shape, Unet\.conv_out\.bias \(4,\) instead of \(3,\)$",
        ),
        (lambda s: s["Unet.conv_in.bias"].fill_(torch.nan), r"not finite, Unet\.conv_in\.bias$"),
    ],
    ids=["missing", "many missing", "unexpected", "shape", "NaN"],
)
def test_weights_that_do_not_fit(tmp_path, small, change, message):
    state = {name: tensor.clone() for name, tensor in small.state_dict().items()}
    change(state)
    config = {"system": "diffll", "network": {**vars(SMALL)}}
    torch.save({"model": state, "config": config}, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path / "bad.pt")


def test_missing_name_and_bad_configuration(tmp_path, published, small):
    state = {name: tensor for name, tensor in published.items() if not name.startswith("Unet.down.1.block")}
    torch.save(state, tmp_path / "gap.pth")
    with pytest.raises(
        CheckpointError, match=r"looks like a DiffLL, but has no Unet\.down\.1\.block\.0\.conv1\.weight"
    ):
        load(tmp_path / "gap.pth")
    # without a configuration the published 32 groups are assumed, which do not divide 16 channels
    torch.save(small.state_dict(), tmp_path / "groups.pth")
    with pytest.raises(CheckpointError, match="ch must be a multiple of norm_groups 32, got 16"):
        load(tmp_path / "groups.pth")
    save_weights(tmp_path / "a.safetensors", small.state_dict(), METADATA | {"config": {"chh": 16}})
    with pytest.raises(CheckpointError, match="chh"):
        load(tmp_path / "a.safetensors")


def test_save_weights_refuses(tmp_path, small):
    path = tmp_path / "x.safetensors"
    path.write_text("old")
    with pytest.raises(ValueError, match="needs 'system' and 'config'"):
        save_weights(path, small.state_dict(), {"system": "diffll"})
    state = dict(small.state_dict()) | {"Unet.conv_in.bias": torch.full((16,), 1e6)}
    with pytest.raises(ValueError, match=r"not finite as torch.float16: Unet\.conv_in\.bias"):
        save_weights(path, state, METADATA)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.safetensors"]


def test_save_weights_keeps_the_old_file_when_writing_fails(tmp_path, small, monkeypatch):
    path = tmp_path / "x.safetensors"
    path.write_text("old")

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        save_weights(path, small.state_dict(), METADATA)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.safetensors"]


def test_shipped_models(tmp_path, small, monkeypatch):
    monkeypatch.setattr(shipped, "WEIGHTS", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"'default' is neither .* no models are shipped"):
        load("default")
    for name in ("aaa", checkpoints.DEFAULT_MODEL):
        save_weights(tmp_path / f"{name}.safetensors", small.state_dict(), METADATA)
    (tmp_path / "aaa.md").write_text("# aaa\n\n## What\nit is\n\nA small model,\nfor tests.\n\nMore.\n")
    default, other = shipped_models()
    assert (default.name, default.summary) == (checkpoints.DEFAULT_MODEL, "")
    assert (other.name, other.summary) == ("aaa", "A small model, for tests.")
    assert other.size == (tmp_path / "aaa.safetensors").stat().st_size
    assert load("aaa", device="cpu").config == load("default", device="cpu").config == SMALL
    with pytest.raises(FileNotFoundError, match=f"'bbb' is neither .* the shipped models are {default.name}, aaa"):
        load("bbb")


def test_every_shipped_model_loads_and_has_a_card():
    models = shipped_models()
    if not models:
        pytest.skip("no weights are in this checkout")
    assert models[0].name == checkpoints.DEFAULT_MODEL
    assert sum(model.size for model in models) <= 40e6
    for model in models:
        assert model.summary, f"{model.name} has no model card"
        assert load(model.name, device="cpu").trained_on, f"{model.name} does not say what it was trained on"
        metadata = read_checkpoint(model.path)[1]
        assert json.loads(json.dumps(metadata["config"])) == metadata["config"]
        system = load(model.name, device="cpu")
        if isinstance(system, PictureSystem):
            low = torch.rand(1, 3, 40, 56) * 0.2
            bright = system.enhance_tensor(low)
            assert bright.shape == low.shape
            assert bright.mean() > low.mean()
        else:
            raw, clean = short_exposure(still_life(120, 80), iso=6400)
            short = torch.from_numpy(normalise(raw) * np.float32(100)).clamp(0, 1)[None]
            long = system.enhance_tensor(short, ratio=100.0, K=load_camera(CAMERA).K(6400))
            truth = torch.from_numpy(clean)[None]
            assert psnr(long, truth, rounded=False) > psnr(short, truth, rounded=False) + 6
    assert isinstance(load(checkpoints.DEFAULT_MODEL, device="cpu"), PictureSystem)
    assert isinstance(load(shipped.DEFAULT_RAW_MODEL, device="cpu"), RawSystem)
