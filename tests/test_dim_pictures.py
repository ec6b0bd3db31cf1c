"""Pictures made dim, and trainings of a DDPM on them."""

import re

import numpy as np
import pytest
import torch
from studies import TRAINING, pictures
from train_process import write_config
from typer.testing import CliRunner

from lowlight.cli import app
from lowlight.data.batches.picture_batches import Dimming, PictureBatches, hold_out, read_square
from lowlight.scenes.views import scene_views
from lowlight.training.config_files import from_dict, load_config
from lowlight.training.objectives.ddpm import DDPMObjective, DDPMOptions, HeldOut


def test_pictures_made_dim(tmp_path):
    folder = pictures(tmp_path, 5, (32, 32))
    paths = tuple(sorted(folder.iterdir()))
    bright = read_square(paths, 16)
    assert bright.shape == (5, 3, 16, 16)
    np.testing.assert_allclose(Dimming(0.25)(bright, 0), bright / np.float32(1020), rtol=1e-6)
    exposed = Dimming(0.5, exposed=True)(bright, 0)
    assert exposed.mean() / (bright.mean() / 255) == pytest.approx(0.5, abs=0.1)
    assert not np.array_equal(exposed, Dimming(0.5, exposed=True)(bright, 1))
    np.testing.assert_array_equal(exposed[:2], Dimming(0.5, exposed=True)(bright[:2], 0))
    train, held = hold_out(paths, 2)
    assert len(train) == 3
    assert sorted([*train, *held]) == list(paths)
    batches = PictureBatches(Dimming(1.0)(bright, 0), seed=1)
    batch = batches.batch(0, 20)
    kept = torch.from_numpy(batches.pictures)[batches.indices(0, 20)]
    same, flipped = ([torch.equal(a, b) for a, b in zip(batch, x, strict=True)] for x in (kept, kept.flip(-1)))
    assert all(a != b for a, b in zip(same, flipped, strict=True))
    assert 0 < sum(same) < 20
    torch.testing.assert_close(batches.batch(7, 3), batch[7:10], rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"brightness must lie in \(0, 1\]"):
        Dimming(0.0)


def test_scenes_differ_in_brightness():
    made = list(scene_views(9, 16))
    assert all(picture.shape == (16, 16, 3) and picture.dtype == np.uint8 for picture in made)
    np.testing.assert_array_equal(made[3], list(scene_views(4, 16))[3])
    means = [picture.mean() for picture in made]
    assert max(means) > 1.5 * min(means)


def test_training_settings(tmp_path):
    """Splits, offset noise by sample, a validation; what a configuration must not say."""
    data = pictures(tmp_path / "data", 6)
    config = from_dict(TRAINING | {"objective": {"size": 12, "held_out": 2, "offset_noise": 0.5}})
    found = {split: DDPMObjective.find(config, data, split) for split in ("train", "heldout", "all")}
    assert [len(paths) for paths in found.values()] == [4, 2, 6]
    assert not set(found["train"]) & set(found["heldout"])
    with pytest.raises(ValueError, match="split must be one of train, heldout, all, got 'eval15'"):
        DDPMObjective.find(config, data, "eval15")
    batch, stage, losses = torch.full((2, 3, 12, 12), 0.25), config.stages[0], {}
    for name, settings in {"plain": {}, "offset": {"offset_noise": 0.5}}.items():
        objective = DDPMObjective(from_dict(TRAINING | {"objective": {"size": 12, **settings}}), torch.device("cpu"))
        seen = []

        def silent(x_t, t, seen=seen):
            seen.append(x_t)
            return torch.zeros_like(x_t)

        objective.system.predict = silent
        losses[name] = np.mean([objective(batch, stage, 2 * k)["noise"].item() for k in range(20)])
        # half of a batch sees what the whole one sees there
        objective(batch[1:], stage, 0, skip=1)
        torch.testing.assert_close(seen[-1], seen[0][1:], rtol=0, atol=0)
    # the variance of the noise is 1, and 1 + 0.25 with offsets
    assert losses["plain"] == pytest.approx(1, abs=0.05)
    assert losses["offset"] == pytest.approx(1.25, abs=0.1)
    system = DDPMObjective(config, torch.device("cpu")).system
    scores = DDPMObjective.validator(config, found["heldout"])(system, tmp_path / "sheet.png")
    assert set(scores) == set(HeldOut.better)
    assert (tmp_path / "sheet.png").is_file()
    for changes, words in (
        (["stages.0.crop=8"], "crop must be null"),
        (["objective.size=30"], "objective.size must be a multiple of 4, got 30"),
        (["objective.held_out=0"], "held_out must be positive"),
        (["objective.offset_noise=-1.0"], "offset_noise must not be negative"),
    ):
        with pytest.raises(ValueError, match=words):
            load_config("ddpm_dim_small", changes)
    assert DDPMOptions().size == 128


def test_a_training_off_a_terminal_says_how_far_it_is(tmp_path, monkeypatch):
    training, data = write_config(tmp_path / "training.yaml", **TRAINING), pictures(tmp_path / "data")
    go = ["train", str(training), "--data", str(data), "-o", str(tmp_path / "run")]
    quiet = CliRunner().invoke(app, [*go, "stages.0.iterations=1"])
    assert (quiet.exit_code, "iteration" in quiet.output.replace("1 iterations", "")) == (0, False)
    monkeypatch.setattr("lowlight.commands.terminal._SILENCE", 0.0)
    said = CliRunner().invoke(app, [*go[:-1], str(tmp_path / "other")])
    assert said.exit_code == 0, said.output
    assert re.search(r"loss \d\.\d+, iteration 2 of 4, 0:00:\d\d left", said.output)
