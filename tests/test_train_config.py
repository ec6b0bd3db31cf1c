"""Training configurations: what ships, files that build on others, overrides, schedules, impossible values."""

import pytest
from train_process import NETWORK, write_config

from lowlight.training.config_files import differences, from_dict, load_config, shipped_configs
from lowlight.training.objectives.diffll import DiffLLObjective

TINY = {
    "network": NETWORK,
    "stages": [{"iterations": 3, "batch": 2, "crop": 32}, {"iterations": 3, "batch": 2, "sampling_steps": 2}],
}


def test_shipped_configs():
    names = shipped_configs()
    assert {"diffll_small", "diffll_paper", "diffll_published", "ablations/k1"} <= set(names)
    assert set(shipped_configs("ablations")) < set(names)
    for name in names:
        assert load_config(name).resolved(485).iterations > 0


def test_the_published_recipes():
    paper, code = load_config("diffll_paper"), load_config("diffll_published")
    (stage,) = paper.stages
    assert (stage.crop, stage.batch, stage.iterations, stage.sampling_steps) == (256, 12, 100_000, 10)
    assert [stage.rate(step) for step in (0, 4999, 5000, 10_000)] == pytest.approx([1e-4, 1e-4, 0.8e-4, 0.64e-4])
    (stage,) = code.resolved(485).stages
    assert (code.ema, stage.batch, stage.iterations) == (0.999, 8, 30_313)
    # 50 epochs of 485 pairs are 3031 batches of 8
    assert [stage.rate(step) for step in (3030, 3031)] == pytest.approx([1e-4, 0.8e-4])


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("k1", "network.levels", 1),
        ("k3", "network.levels", 3),
        ("s5", "network.steps", 5),
        ("s20", "stages.0.sampling_steps", 20),
        ("no_hfrm", "network.hfrm", False),
        ("no_sampling", "stages.0.sampling_steps", 0),
    ],
)
def test_ablations_change_what_they_say(name, key, value):
    changed = differences(load_config("diffll_paper"), load_config(f"ablations/{name}"))
    assert any(line.startswith(f"{key}: ") and line.endswith(f", now {value!r}") for line in changed)
    assert len(changed) == (2 if name.startswith("s") else 1)
    assert differences(load_config("diffll_paper"), load_config("ablations/k2")) == []


def test_overrides():
    overrides = ["seed=3", "stages.0.batch=7", "network.ch=16", "stages.1.learning_rate=1e-4", "clip_norm=null"]
    config = load_config("diffll_small", overrides)
    assert (config.seed, config.stages[0].batch, config.network["ch"]) == (3, 7, 16)
    # YAML takes a number without a point for text
    assert config.stages[1].learning_rate == 1e-4
    assert config.clip_norm is None


def test_files_build_on_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path / "a.yaml", **TINY)
    write_config(tmp_path / "b.yaml", base="a.yaml", seed=4, **{"network.levels": 1, "stages.1.crop": 64})
    config = load_config("b.yaml")
    assert (config.seed, config.network["levels"], config.stages[1].crop, config.stages[0].crop) == (4, 1, 64, 32)
    write_config(tmp_path / "a.yaml", base="b.yaml")
    with pytest.raises(ValueError, match="leads back to itself"):
        load_config("b.yaml")


def test_stages():
    config = from_dict(TINY)
    assert [config.stage_at(step)[1:] for step in (0, 2, 3, 5)] == [(0, 0), (2, 4), (0, 6), (2, 10)]
    with pytest.raises(IndexError):
        config.stage_at(6)


def test_weights_of_terms():
    weights = from_dict(TINY | {"weights": {"photo": 2, "ssim": 0.5}}).weights
    assert weights == dict.fromkeys(DiffLLObjective.terms, 1.0) | {"l1": 2.0, "ssim": 0.5}


def stage(**changes):
    return {"stages": [{"iterations": 1, "batch": 1} | changes]}


def network(**changes):
    return {"network": NETWORK | changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sed": 1}, "unknown key sed"),
        ({"seed": "one"}, "seed must be of type int, got 'one'"),
        ({"ema": 1}, r"ema must lie in \[0, 1\), got 1"),
        ({"clip_norm": 0}, "clip_norm must be positive or null"),
        ({"betas": [0.9]}, "betas must be two numbers"),
        ({"optimizer": "sgd", "betas": [0.9, 0.99]}, "betas must be null with sgd"),
        ({"checkpoint_every": 0}, "checkpoint_every must be positive, got 0"),
        ({"weights": {"colour": 1}}, "weights must have keys of noise, .*, got colour"),
        ({"weights": {"noise": "much"}}, "weights.noise must be of type float"),
        ({"system": "unet"}, "system must be one of diffll, anlightendiff"),
        ({"stages": []}, "at least one stage"),
        ({"stages": [{"batch": 1}]}, "stage 0: a stage must have either iterations or epochs"),
        ({"stages": [{"iterations": 1}]}, "stage 0: batch is missing"),
        ({"stages": [7]}, "stage 0: expected keys and values, got 7"),
        (stage(epochs=1), "either iterations or epochs"),
        (stage(corp=3), "stage 0: unknown key corp"),
        (stage(iterations=0), "iterations must be positive, got 0"),
        (stage(batch=0), "batch must be positive, got 0"),
        (stage(batch=2.5), "batch must be of type int, got 2.5"),
        (stage(batch=True), "batch must be of type int, got True"),
        (stage(crop=40), "stages.0.crop must be a multiple of 32 .*, got 40"),
        (stage(sampling_steps=201), "sampling_steps must be at most the network's timesteps 200"),
        (stage(schedule="linear"), "schedule must be one of cosine, constant, step, plateau, got 'linear'"),
        (stage(schedule="step"), "every must be set for a step schedule"),
        (stage(learning_rate=0), "learning_rate must be positive"),
        (stage(learning_rate=".nan"), "learning_rate must be"),
        (network(wide=3), "network: unknown key wide"),
        (network(norm_groups=3), "ch must be a multiple of norm_groups 3, got 8"),
        (network(levels=4), "levels must be 1, 2 or 3, got 4"),
        (network(hfrm_width=0), "must be positive, got hfrm_width 0"),
        (network(ch=2, norm_groups=1), "ch must be even and at least 4, got 2"),
        (network(steps=201), "steps must lie in 1 .. 200, got 201"),
        ({"network": [1]}, "network: expected keys and values"),
    ],
)
def test_errors(changes, message):
    with pytest.raises(ValueError, match=message):
        from_dict(TINY | changes, "tiny.yaml")


def test_errors_of_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="diffll_small"):
        load_config("no_such_config")
    for text, message in (("- 1", "must hold keys and values, got a list"), ("a: [", "is no YAML")):
        path = tmp_path / "bad.yaml"
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            load_config(str(path))
    for override, message in (("seed", "key=value"), ("stages.5.batch=1", "no stages.5.batch"), ("seed.x=1", "seed")):
        with pytest.raises(ValueError, match=message):
            load_config("diffll_small", [override])
