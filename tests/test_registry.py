"""One row a system: what a row must say, the two kinds of systems, and a system that is added by its row alone."""

import inspect
import sys
from dataclasses import dataclass
from types import ModuleType

import pytest
import torch
from torch import nn
from train_process import make_pairs
from typer.testing import CliRunner

from lowlight.checkpoints import CheckpointError, load, save_weights
from lowlight.cli import app
from lowlight.enhance import enhance
from lowlight.systems.base import PictureSystem, RawSystem, picture_system, raw_system
from lowlight.systems.brighten import options_of
from lowlight.systems.diffll.network import DiffLLConfig
from lowlight.systems.diffll.system import DiffLL
from lowlight.systems.registry import SYSTEMS, Row, recognised
from lowlight.training.config_files import from_dict
from lowlight.training.loop import Trainer
from lowlight.training.objectives.base import Objective
from lowlight.training.objectives.lookup import objective_of

SMALL = {
    "diffll": {"ch": 8, "ch_mult": (1, 1, 1, 1), "norm_groups": 4, "hfrm_width": 8, "steps": 2},
    "anlightendiff": {"widths": (4, 4), "steps": 2},
    "exposurediffusion": {"width": 4},
    "wavelet_anchored": {"ch": 8, "ch_mult": (1, 1), "norm_groups": 4, "attention_level": 1, "width": 4},
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_row_and_its_system_agree(name):
    row = SYSTEMS[name]
    system = row.system(row.config(**SMALL[name]))
    assert system.name == name
    assert isinstance(system, PictureSystem) != isinstance(system, RawSystem)
    assert isinstance(system.config, row.config)
    assert system.config.steps >= 1
    assert issubclass(objective_of(name), Objective)
    state, told, ignored = row.prepare(system.state_dict())
    assert recognised(state) == name
    assert state.keys() == system.state_dict().keys()
    assert (told, list(ignored)) == ({}, [])
    fields = row.detect(state)
    assert fields
    assert all(getattr(system.config, field) == value for field, value in fields.items() if value is not None)


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("method", ["enhance_tensor", "enhance_steps"])
def test_a_system_takes_what_its_kind_promises(name, method):
    """The contract's arguments, by the same names and with the same defaults; further ones may be left out."""
    system = SYSTEMS[name].system
    kind = RawSystem if issubclass(system, RawSystem) else PictureSystem
    promised, taken = (inspect.signature(getattr(cls, method)).parameters for cls in (kind, system))
    assert list(taken)[:2] == list(promised)[:2]
    for argument in promised.values():
        assert taken[argument.name].kind == argument.kind
        assert taken[argument.name].default == argument.default
    assert all(taken[more].default is not inspect.Parameter.empty for more in taken.keys() - promised.keys())


def test_the_two_kinds_have_two_doors():
    picture, raw = (
        SYSTEMS[name].system(SYSTEMS[name].config(**SMALL[name])) for name in ("diffll", "exposurediffusion")
    )
    assert picture_system(picture) is picture
    assert raw_system(raw) is raw
    with pytest.raises(ValueError, match=r"ExposureDiffusion works on the raw of a camera.*enhance_raw takes"):
        picture_system(raw)
    with pytest.raises(ValueError, match=r"DiffLL works on sRGB pictures, not on the raw.*lowlight\.enhance develops"):
        raw_system(picture)
    # a picture has no way into a system of raw
    assert not hasattr(raw, "enhance")


@pytest.mark.parametrize("command", ["evaluate", "steps"])
def test_commands_for_pictures_refuse_a_system_of_raw(tmp_path, command):
    make_pairs(tmp_path, count=1)
    config = SYSTEMS["exposurediffusion"].config(**SMALL["exposurediffusion"])
    weights = SYSTEMS["exposurediffusion"].system(config).state_dict()
    save_weights(tmp_path / "raw.safetensors", weights, {"system": "exposurediffusion", "config": config})
    model, data = str(tmp_path / "raw.safetensors"), str(tmp_path)
    result = CliRunner().invoke(app, [command, *((model, data) if command == "steps" else (data, "-m", model))])
    assert result.exit_code == 2
    words = " ".join(result.output.replace("│", " ").split())
    assert "ExposureDiffusion works on the raw of a camera, not on sRGB pictures" in words


def test_options_of_a_system_pass_through_enhance():
    class Scaled(PictureSystem):
        device, dtype = torch.device("cpu"), torch.float32

        def enhance_tensor(self, low, *, steps=None, noise=None, seed=0, sampler=None, scale=1.0):
            return low * scale

    dark = torch.full((3, 4, 5), 0.2)
    assert options_of(Scaled()) == ("sampler", "scale")
    torch.testing.assert_close(enhance(dark, Scaled(), scale=3.0), dark * 3)
    torch.testing.assert_close(Scaled().enhance(dark, scale=2.0), dark * 2)
    # None leaves an option to the system, also one that it has not
    torch.testing.assert_close(enhance(dark, Scaled(), scale=None, warmth=None), dark)
    with pytest.raises(
        TypeError,
        match="no option warmth; its options are brightness, saturation, strength, steps, seed, sampler, scale",
    ):
        enhance(dark, Scaled(), warmth=0.5)
    small = DiffLL(DiffLLConfig(**SMALL["diffll"])).eval()
    assert not torch.equal(
        enhance(dark, small, sampler="dpm++", steps=3), enhance(dark, small, sampler="ddim", steps=3)
    )
    with pytest.raises(TypeError, match=r"DiffLL has no option scale; its options are .*seed, sampler$"):
        small.enhance(dark, scale=0.5)


@dataclass(frozen=True)
class GainConfig:
    start: float = 1.0
    steps: int = 1


class Gain(PictureSystem):
    """One number that brightens."""

    name = "gain"

    def __init__(self, config=None):
        super().__init__()
        self.config = config or GainConfig()
        self.gain = nn.Parameter(torch.tensor(self.config.start))

    def enhance_tensor(self, low, *, steps=None, noise=None, seed=0, sampler=None):
        return low * self.gain


@dataclass
class GainOptions:
    pass


class GainObjective(Objective):
    options = GainOptions
    terms = ("l1",)

    def __init__(self, config, device):
        super().__init__(config)
        self.system = Gain(GainConfig(**config.network)).to(device)

    @staticmethod
    def steps(stage):
        return 1

    def forward(self, batch, stage, first, skip=0):
        return {"l1": (self.system.enhance_tensor(batch.low) - batch.high).abs().mean()}


def test_a_new_system_is_a_row(tmp_path, monkeypatch):
    """Its files are recognised, read and enhanced with, and it is trained: no other file names it."""
    values = {"system": "gain", "network": {"start": 2.0}, "stages": [{"iterations": 5, "batch": 2, "crop": 32}]}
    known = ", ".join(SYSTEMS)
    with pytest.raises(ValueError, match=f"system must be one of {known}, got 'gain'"):
        from_dict(values)
    module = ModuleType("lowlight.training.objectives.gain")
    module.GainObjective = GainObjective
    monkeypatch.setitem(sys.modules, module.__name__, module)
    row = Row("a Gain", Gain, GainConfig, "gain.GainObjective", lambda state: set(state) == {"gain"}, lambda state: {})
    monkeypatch.setitem(SYSTEMS, "gain", row)

    dark = torch.full((3, 2, 2), 0.1)
    torch.save({"state_dict": {"gain": torch.tensor(4.0)}}, tmp_path / "published.pth")
    torch.testing.assert_close(enhance(dark, tmp_path / "published.pth", device="cpu"), dark * 4)
    save_weights(tmp_path / "own.safetensors", {"gain": torch.tensor(3.0)}, {"system": "gain", "config": GainConfig()})
    assert load(tmp_path / "own.safetensors", device="cpu").gain == 3
    config = from_dict(values | {"data": str(tmp_path), "warmup": 0})
    objective = objective_of("gain")
    make_pairs(tmp_path)
    found = objective.find(config, tmp_path, None)
    trainer = Trainer(config, objective.batches(config, found), tmp_path / "run")
    losses = [trainer.train_step()["loss"] for _ in range(5)]
    assert trainer.system.gain > 2
    assert losses[0] > 0
    with pytest.raises(ValueError, match="network: unknown key width; known are start, steps"):
        from_dict(values | {"network": {"width": 3}})
    save_weights(tmp_path / "other.safetensors", {"x": torch.ones(1)}, {"system": "deep sea", "config": {}})
    with pytest.raises(
        CheckpointError, match="known systems: diffll, anlightendiff, exposurediffusion, wavelet_anchored, gain"
    ):
        load(tmp_path / "other.safetensors", device="cpu")
