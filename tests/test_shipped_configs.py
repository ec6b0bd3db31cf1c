"""Every shipped configuration trains: each of its stages on small pictures, with a validation and a file that loads."""

import csv
import dataclasses

import pytest
from raw_pictures import BAYER, raw_picture, scene
from train_process import make_pairs

from lowlight import load
from lowlight.raw.dng import write_dng
from lowlight.systems.registry import SYSTEMS
from lowlight.training.config_files import load_config, shipped_configs
from lowlight.training.loop import Trainer
from lowlight.training.objectives import anlightendiff
from lowlight.training.objectives.lookup import objective_of
from lowlight_ext import testing

# but with --slow
NARROW = {"diffll": {"ch": 32, "hfrm_width": 16}, "anlightendiff": {"widths": [4, 8, 8, 8, 8, 8]},
          "ddpm": {"widths": [32, 32, 32, 32, 32, 32], "start": 2}}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Pairs, and a See-in-the-Dark of two pairs."""
    pairs, sid = (tmp_path_factory.mktemp(name) for name in ("pairs", "sid"))
    make_pairs(pairs, 2)
    lines = []
    for number in range(2):
        names = f"{number}_00_0.1s.ARW", f"{number}_00_10s.ARW"
        for name, side in zip(names, ("short", "long"), strict=True):
            (sid / "Sony" / side).mkdir(parents=True, exist_ok=True)
            write_dng(sid / "Sony" / side / name, raw_picture(BAYER[number], scene(96, 96, noise=0)))
        lines.append(" ".join(names))
    (sid / "Sony_train.txt").write_text("\n".join(lines))
    return pairs, sid


def shortened(name, folder):
    """The configuration with small crops, batches of one, two network calls, and three iterations or more."""
    config = load_config(name)
    overrides = ["threads=null", "validate_every=1", "validate_pairs=1"]
    fields = {field.name for field in dataclasses.fields(SYSTEMS[config.system].config)}
    overrides += ["network.steps=2"] if "steps" in fields else []
    if not testing.thorough:
        overrides += [f"network.{key}={value}" for key, value in NARROW.get(config.system, {}).items()]
    for i, stage in enumerate(config.stages):
        # ms_ssim halves a picture four times
        small = 192 if any("ms_ssim" in losses for losses in stage.losses.values()) else 64
        changes = {"epochs": "null", "iterations": -(-3 // len(config.stages)), "batch": 1}
        changes |= {"crop": min(small, stage.crop)} if stage.crop else {}
        changes |= {"sampling_steps": 2} if stage.sampling_steps > 2 else {}
        overrides += [f"stages.{i}.{key}={value}" for key, value in changes.items()]
    if "held_out" in {field.name for field in dataclasses.fields(objective_of(config.system).options)}:
        overrides.append("objective.held_out=1")
    if config.system == "exposurediffusion":
        overrides.append(f"objective.cache={folder / 'cache'}")
    return load_config(name, overrides)


@pytest.mark.parametrize("name", shipped_configs())
def test_it_trains_and_validates(folders, tmp_path, monkeypatch, name):
    # the extra [lpips] has its own tests
    monkeypatch.setattr(anlightendiff, "_perceptual", lambda *_: lambda x, y: (x - y).abs().mean(dim=(1, 2, 3)))
    config = shortened(name, tmp_path)
    objective = objective_of(config.system)
    root = folders[config.system == "exposurediffusion"]
    found = objective.find(config, root, objective.split(root))
    validator = objective.validator(config, found)
    trainer = Trainer(config, objective.batches(config, found), tmp_path / "run", validator=validator)
    assert trainer.run()
    with (tmp_path / "run" / "validation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == trainer.iterations >= 3
    assert type(load(tmp_path / "run" / "last.pt", device="cpu")) is type(trainer.system)
