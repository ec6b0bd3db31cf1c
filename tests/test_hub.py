"""Systems as folders of the hub's form: there and back, and the hub itself with its library replaced."""

import dataclasses
import json
import shutil
import sys

import pytest
import torch

import lowlight
from lowlight import hub
from lowlight.checkpoints import load, load_system
from lowlight.shipped import card_head, shipped_models


@pytest.fixture(scope="module")
def system():
    return lowlight.load("wavelet-anchored-small", device="cpu")


def test_there_and_back_is_the_same_picture(system, tmp_path):
    hub.save_pretrained(system, tmp_path / "mine")
    back = hub.from_pretrained(tmp_path / "mine", device="cpu")
    low = torch.rand(1, 3, 40, 56, generator=torch.Generator().manual_seed(0)) * 0.1
    assert torch.equal(back.enhance_tensor(low), system.enhance_tensor(low))
    assert back.trained_on == system.trained_on == "train"
    assert json.loads((tmp_path / "mine" / "config.json").read_text())["system"] == "wavelet_anchored"
    assert card_head((tmp_path / "mine" / "README.md").read_text())["pipeline_tag"] == "image-to-image"


def test_a_folder_is_loaded_by_its_name(system, tmp_path):
    """As lowlight.load and --model take it; written anew it is another model, though the last two are kept."""
    hub.save_pretrained(system, tmp_path / "mine")
    assert torch.equal(load(tmp_path / "mine", device="cpu").restorer.tail.bias, system.restorer.tail.bias)
    assert type(load_system(tmp_path / "mine")) is type(system)
    other = lowlight.load("diffll-small", device="cpu")
    hub.save_pretrained(other, tmp_path / "mine")
    assert type(load_system(tmp_path / "mine")) is type(other)
    # a training's folder, which has a config.json too
    (tmp_path / "config.json").write_text("{}")
    config = {"system": "diffll", "network": dataclasses.asdict(other.config)}
    torch.save({"model": other.state_dict(), "config": config}, tmp_path / "last.pt")
    assert type(load(tmp_path, device="cpu")) is type(other)


def test_a_folder_without_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no model\.safetensors"):
        hub.from_pretrained(tmp_path)


def test_a_repository_goes_and_comes(system, tmp_path, monkeypatch):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    store, made = tmp_path / "store", []

    def upload(*, repo_id, folder_path, commit_message):
        shutil.copytree(folder_path, store / repo_id)
        return f"commit of {repo_id}"

    monkeypatch.setattr(huggingface_hub, "create_repo", lambda *told, **options: made.append((told, options)))
    monkeypatch.setattr(huggingface_hub, "upload_folder", upload)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **options: str(store / name))
    assert hub.push_to_hub(system, "me/dark", card="---\nlicense: mit\n---\nmine") == "commit of me/dark"
    assert made == [(("me/dark",), {"private": True, "exist_ok": True})]
    assert type(hub.from_pretrained("me/dark", device="cpu")) is type(system)
    assert (store / "me/dark/README.md").read_text().endswith("mine")


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"lowlight-ext\[hub\]"):
        hub.from_pretrained("nobody/nothing")


@pytest.mark.parametrize("model", shipped_models(), ids=lambda model: model.name)
def test_the_shipped_cards_have_a_head_that_fits_the_weights(model):
    from lowlight.systems.base import RawSystem

    system = load(model.name, device="cpu")
    head = card_head(model.path.with_suffix(".md").read_text())
    assert system.name in head["tags"]
    assert (model.takes == "raw") == isinstance(system, RawSystem)
    assert model.parameters() == sum(p.numel() for p in system.state_dict().values())
    assert model.terms
    # what was trained on the held-out pairs has no score on them
    assert len(model.scores) == (1 if system.trained_on == "train + our485" else 2)
    assert model.summary
    assert not model.summary.startswith("-")
