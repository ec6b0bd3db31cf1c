"""Training: configurations, batches, exact resumption, and that it learns."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from lowlight.data.batches import PairBatches
from lowlight.data.pairs import find_pairs
from lowlight.training.config_files import from_dict, load_config, shipped_configs
from lowlight.training.loop import Trainer

TINY = {
    "network": {"ch": 8, "ch_mult": [1, 1, 1, 1], "norm_groups": 4, "hfrm_width": 8, "guide": "gamma", "steps": 2},
    "stages": [
        {"iterations": 3, "batch": 2, "crop": 32},
        {"iterations": 3, "batch": 2, "shrink": 2, "sampling_steps": 2, "learning_rate": 1e-3},
    ],
    "warmup": 2,
    "log_every": 1,
    "checkpoint_every": 100,
}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    root = tmp_path_factory.mktemp("pairs")
    generator = np.random.default_rng(0)
    for number in range(5):
        bright = generator.integers(0, 256, (64, 72, 3), dtype=np.uint8)
        for side, picture in (("high", bright), ("low", bright // 12)):
            (root / side).mkdir(exist_ok=True)
            Image.fromarray(picture).save(root / side / f"{number}.png")
    return find_pairs(root)


def trainer(pairs, folder, **changes):
    config = from_dict(TINY | changes)
    return Trainer(config, PairBatches(pairs, config.seed), folder)


def test_shipped_configs():
    names = shipped_configs()
    assert {"diffll_small", "diffll_paper", "diffll_published", "ablations/k1"} <= set(names)
    for name in names:
        assert load_config(name).resolved(485).iterations > 0


def test_overrides():
    config = load_config("diffll_small", ["seed=3", "stages.0.batch=7", "network.ch=16"])
    assert (config.seed, config.stages[0].batch, config.network["ch"]) == (3, 7, 16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sed": 1}, "unknown key sed"),
        ({"stages": [{"iterations": 1, "batch": 1, "corp": 3}]}, "stage 0: unknown key corp"),
        ({"stages": [{"iterations": 0, "batch": 1}]}, "must be positive"),
        ({"stages": []}, "at least one stage"),
        ({"stages": [{"batch": 1}]}, "iterations"),
    ],
)
def test_config_errors(changes, message):
    with pytest.raises(ValueError, match=message):
        from_dict(TINY | changes)


def test_missing_config():
    with pytest.raises(FileNotFoundError, match="diffll_small"):
        load_config("no_such_config")


def test_batches_are_a_function_of_seed_and_number(pairs):
    batches = PairBatches(pairs, seed=1)
    whole = batches.batch(3, 4, crop=32)
    tail = batches.batch(5, 2, crop=32)
    assert torch.equal(whole.low[2:], tail.low)
    assert torch.equal(whole.high[2:], tail.high)
    assert not torch.equal(PairBatches(pairs, seed=2).batch(3, 4, crop=32).low, whole.low)
    # an epoch shows every picture once
    assert sorted(batches.indices(5, 5)) == list(range(5))


def test_crop_and_flip_are_shared(pairs):
    batch = PairBatches(pairs, seed=0).batch(0, 8, crop=24)
    assert batch.low.shape == batch.high.shape == (8, 3, 24, 24)
    assert torch.equal((batch.low * 255).round(), ((batch.high * 255).round() / 12).floor())


def test_stages(pairs, tmp_path):
    config = from_dict(TINY)
    assert [config.stage_at(step)[1:] for step in (0, 2, 3, 5)] == [(0, 0), (2, 4), (0, 6), (2, 10)]
    with pytest.raises(IndexError):
        config.stage_at(6)


def test_resumes_to_the_same_weights(pairs, tmp_path):
    straight = trainer(pairs, tmp_path / "straight")
    assert straight.run()
    interrupted = trainer(pairs, tmp_path / "interrupted")
    assert not interrupted.run(stop=lambda: interrupted.step == 4)
    resumed = trainer(pairs, tmp_path / "interrupted")
    assert resumed.resume()
    assert resumed.step == 4
    assert resumed.run()
    for name, tensor in straight.system.state_dict().items():
        assert torch.equal(tensor, resumed.system.state_dict()[name]), name
        assert torch.equal(straight.ema[name], resumed.ema[name]), name
    rows = (tmp_path / "interrupted" / "log.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", "1", "2", "3", "4", "5", "6"]


def test_another_seed_trains_otherwise(pairs, tmp_path):
    first, second = (trainer(pairs, tmp_path / str(seed), seed=seed) for seed in (0, 1))
    assert first.train_step()["noise"] != second.train_step()["noise"]


def test_it_learns(pairs, tmp_path):
    stages = [
        {
            "iterations": 60,
            "batch": 2,
            "crop": 32,
            "sampling_steps": 1,
            "learning_rate": 3e-3,
            "learning_rate_end": 1e-3,
        }
    ]
    learner = trainer(pairs[:1], tmp_path, stages=stages)
    losses = [learner.train_step() for _ in range(60)]
    mean = lambda rows: sum(row["noise"] + row["l1"] + row["ssim"] for row in rows) / len(rows)  # noqa: E731
    assert mean(losses[-10:]) < 0.85 * mean(losses[:10])


def test_bfloat16_width(pairs, tmp_path):
    with pytest.raises(ValueError, match="multiples of 16, got 24"):
        trainer(pairs, tmp_path, bfloat16=True, network=TINY["network"] | {"hfrm_width": 24})


def test_checkpoint_loads_for_enhancing(pairs, tmp_path):
    from lowlight import load

    done = trainer(pairs, tmp_path)
    done.run()
    system = load(tmp_path / "last.pt", device="cpu")
    assert dataclasses.asdict(system.config)["ch"] == 8
    name = "Unet.conv_in.weight"
    assert torch.equal(system.state_dict()[name], done.ema[name])


def test_average_of_the_weights(pairs, tmp_path):
    learner = trainer(pairs, tmp_path, ema=0.9)
    name, expected = "Unet.conv_in.weight", None
    for step in range(3):
        before = learner.ema[name].clone()
        learner.train_step()
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * before + (1 - decay) * learner.system.get_parameter(name).detach()
        torch.testing.assert_close(learner.ema[name], expected)
