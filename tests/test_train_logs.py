"""What a training shows and leaves: logs, plot, validation, time left, budgets."""

import csv
import sys

import pytest
import torch
from PIL import Image
from train_process import NETWORK, make_pairs

from lowlight.data.batches.batches import PairBatches
from lowlight.metrics.scores import psnr
from lowlight.training.budget import within_iterations, within_minutes
from lowlight.training.config import Stage
from lowlight.training.config_files import from_dict
from lowlight.training.curves import read_log
from lowlight.training.logs import RunLog
from lowlight.training.loop import Trainer
from lowlight.training.objectives.diffll import DiffLLObjective
from lowlight.training.time_left import TimeLeft
from lowlight.training.validation import Validator


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp("pairs"))


def config(**changes):
    stages = [{"iterations": 2, "batch": 1, "crop": 32}, {"iterations": 2, "batch": 1, "crop": 32, "sampling_steps": 1}]
    return from_dict({"network": NETWORK, "stages": stages, "log_every": 2, "validate_every": 3} | changes)


def test_a_run_leaves_logs_pictures_and_a_plot(pairs, tmp_path):
    pytest.importorskip("matplotlib", reason="needs the extra [train]")
    settings, said, shown = config(validate_pairs=2), [], []
    validator = Validator(pairs, settings.validate_pairs)
    trained = Trainer(settings, PairBatches(pairs), tmp_path, validator=validator)
    assert trained.run(lambda step, losses: shown.append((step, losses)), say=said.append)
    log, scores = read_log(tmp_path / "log.csv"), read_log(tmp_path / "validation.csv")
    assert [row["step"] for row in log] == [2, 4]
    assert "l1" not in log[0]
    terms = [log[1][name] for name in ("noise", "l1", "ssim", "bands", "tv")]
    assert log[1]["loss"] == pytest.approx(sum(terms), rel=1e-5)
    # a row is the mean over the iterations since the last
    assert log[1]["loss"] == pytest.approx(sum(losses["loss"] for _, losses in shown[2:]) / 2, rel=1e-5)
    assert [row["step"] for row in scores] == [3, 4]
    assert said[-1].startswith("iteration 4: PSNR")
    assert said[-1].endswith("on 2 pairs")
    for name in ("losses.png", "samples/0000003.png", "samples/0000004.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.width > 100
    # the averaged weights were scored, and scoring them again gives the same
    low, high = (torch.from_numpy(_pixels(path)) for path in (pairs[0].low, pairs[0].high))
    alone = Validator(pairs, 1)(trained.averaged(), tmp_path / "again.png")
    assert alone["psnr"] == pytest.approx(psnr(trained.averaged().enhance_tensor(low), high).item())


def _pixels(path):
    import numpy as np

    with Image.open(path) as picture:
        return np.asarray(picture, np.float32).transpose(2, 0, 1)[None] / 255


def test_validation_does_not_touch_the_training(pairs, tmp_path):
    weights = []
    for name, every in (("with", 1), ("without", 0)):
        settings, validator = config(validate_every=every), Validator(pairs, 1)
        trained = Trainer(settings, PairBatches(pairs), tmp_path / name, validator=validator)
        trained.run()
        weights.append(trained.system.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_validator_spreads_its_pairs(pairs, tmp_path):
    assert [name for name, *_ in Validator(pairs, 2)._pictures] == ["0", "2"]
    assert len(Validator(pairs, 50)) == 5
    with pytest.raises(ValueError, match="no pairs"):
        Validator([], 2)


def test_rows_behind_the_checkpoint_are_dropped(tmp_path):
    """As a killed process leaves them: rows that will come again, and half a line."""
    (tmp_path / "log.csv").write_text("step,seconds,noise,photo\n1,0.5,1.0,2.0\n2,1.0,1.0,2.0\n3,1.5,1.0,2.0\n4,")
    log = RunLog(tmp_path, DiffLLObjective.terms, step=2)
    log.losses({"step": 3, "seconds": 2.0, "loss": 0.25, "lr": 1e-4})
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    found = [(row["step"], row["noise"], row["loss"]) for row in rows]
    assert found == [("1", "1.0", ""), ("2", "1.0", ""), ("3", "", "0.25")]


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard", reason="needs the extra [train]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = RunLog(tmp_path, DiffLLObjective.terms, tensorboard=True)
    log.losses({"step": 5, "seconds": 1.0, "loss": 0.5})
    log.scores({"step": 5, "seconds": 1.0, "psnr": 20.0})
    log.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert {tag: events.Scalars(tag)[0].value for tag in events.Tags()["scalars"]} == {
        "train/loss": 0.5, "validation/psnr": 20.0
    }  # fmt: skip


@pytest.mark.parametrize(("module", "extra"), [("tensorboard", "tensorboard=true needs"), ("matplotlib.figure", None)])
def test_a_missing_extra_is_named(tmp_path, monkeypatch, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard.writer", raising=False)
    if extra is None:
        assert RunLog(tmp_path, DiffLLObjective.terms).plot() is False
    else:
        with pytest.raises(ValueError, match=rf"{extra}.*\[train\]"):
            RunLog(tmp_path, DiffLLObjective.terms, tensorboard=True)


def test_several_processes_need_accelerate(monkeypatch):
    from lowlight.training.processes import join_processes

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ValueError, match=r"needs accelerate.*\[train\]"):
        join_processes(torch.device("cpu"))


def test_time_left():
    stages = [Stage(batch=2, iterations=100, shrink=2), Stage(batch=2, iterations=50, sampling_steps=2)]
    clock = TimeLeft(stages, DiffLLObjective.steps)
    assert clock.seconds(0) is None
    clock.iteration(0, 30.0)  # the first one pays for more, and is forgotten
    for step in range(1, 10):
        clock.iteration(step, 2.0)
    # the second stage has four times the pixels and twice the network calls
    assert clock.seconds(10) == pytest.approx(90 * 2 + 50 * 2 * 8)
    clock.beside(4.8)  # a tenth of the 48 s in iterations
    assert clock.seconds(10) == pytest.approx(1.1 * (90 * 2 + 50 * 2 * 8))
    for step in range(100, 140):
        clock.iteration(step, 5.0)
    assert clock.seconds(140) == pytest.approx(10 * 5 * (1 + 4.8 / 248))
    # the last iterations count, not the first
    for step in range(140, 149):
        clock.iteration(step, 1.0)
    assert clock.seconds(149) < 5
    mixed = [Stage(batch=1, iterations=2, crop=10), Stage(batch=1, iterations=1)]
    cropped = TimeLeft(mixed, DiffLLObjective.steps, area=500)
    cropped.iteration(0, 1.0)
    assert cropped.seconds(1) == pytest.approx(1 + 5)


def test_budgets(pairs, tmp_path):
    stages = [
        {"iterations": 100, "batch": 1, "crop": 32, "schedule": "step", "every": 10},
        {"iterations": 50, "batch": 1, "crop": 32},
    ]
    whole = config(stages=stages)
    part = within_iterations(whole, 30)
    assert [(s.iterations, s.every) for s in part.stages] == [(20, 2), (10, None)]
    assert within_iterations(whole, 31).iterations == 31
    with pytest.raises(ValueError, match="budget of 1 iterations is too small"):
        within_iterations(whole, 1)

    now = [0.0]

    class Clocked(Trainer):
        def train_step(self):
            now[0] += 2.0 if self.plan.stages[0].schedule == "step" else 4.0

    from lowlight.training import budget

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(budget.time, "perf_counter", lambda: now[0])
        planned = within_minutes(whole, 2.0, lambda c, folder: Clocked(c, PairBatches(pairs), folder))
    # 400 s in all; 120 s hold three tenths
    assert [stage.iterations for stage in planned.stages] == [30, 15]
