"""Training: configurations, batches, exact resumption, and that it learns."""

import dataclasses

import pytest
import torch
from train_process import NETWORK, make_pairs

from lowlight.data.batches.batches import PairBatches
from lowlight.training.config_files import from_dict
from lowlight.training.loop import Trainer

TINY = {
    "network": NETWORK,
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
    return make_pairs(tmp_path_factory.mktemp("pairs"))


def trainer(pairs, folder, **changes):
    config = from_dict(TINY | changes)
    return Trainer(config, PairBatches(pairs, config.seed), folder)


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


@pytest.mark.parametrize("optimizer", ["rmsprop", "sgd"])
def test_the_published_optimisers(pairs, tmp_path, optimizer):
    """Two steps of one parameter by hand; a resumed one goes on with what it has seen."""
    one = trainer(pairs, tmp_path, optimizer=optimizer, warmup=0, clip_norm=None, checkpoint_every=1)
    bias, value, state = one.system.Unet.conv_out.bias, None, 0.0
    for step in range(2):
        before = bias.detach().clone()
        one.train_step()
        rate, grad = one.optimizer.param_groups[0]["lr"], bias.grad
        state = 0.9 * state + grad if optimizer == "sgd" else 0.99 * state + 0.01 * grad**2
        value = before - rate * (state if optimizer == "sgd" else grad / (state.sqrt() + 1e-8))
        torch.testing.assert_close(bias.detach(), value, atol=1e-9, rtol=1e-6)
        if step == 0:
            one.save()
    again = trainer(pairs, tmp_path, optimizer=optimizer, warmup=0, clip_norm=None, checkpoint_every=1)
    assert again.resume()
    again.train_step()
    assert torch.equal(again.system.Unet.conv_out.bias, bias)


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


@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize("hfrm", [True, False])
def test_ablations_train_and_enhance(pairs, tmp_path, levels, hfrm):
    """Every K, with and without HFRM, with and without the sampling pass; every weight there is gets a gradient."""
    network = NETWORK | {"levels": levels, "hfrm": hfrm}
    stages = [{"iterations": 1, "batch": 1, "crop": 64, "sampling_steps": steps} for steps in (1, 0)]
    learner = trainer(pairs, tmp_path, network=network, stages=stages)
    sampled, plain = learner.train_step(), learner.train_step()
    assert set(sampled) - set(plain) == {"l1", "ssim"}
    assert [name for name, p in learner.system.named_parameters() if p.grad is None] == []
    assert learner.averaged().enhance_tensor(torch.rand(1, 3, 40, 24)).shape == (1, 3, 40, 24)


def test_without_hfrm_high_bands_pass(pairs, tmp_path):
    from lowlight_ext import haar_wavedec2d

    system = trainer(pairs, tmp_path, network=NETWORK | {"hfrm": False, "guide": "none"}).system
    assert not any(name.startswith("high_enhance") for name, _ in system.named_parameters())
    low = torch.rand(1, 3, 32, 32)
    for given, passed in zip(haar_wavedec2d(low, 2, normalise=True)[1:], system.analyse(low).high, strict=True):
        assert torch.equal(given, passed)


def test_recomputing_gives_the_same_gradients(pairs, tmp_path):
    stages = [{"iterations": 1, "batch": 2, "crop": 32, "sampling_steps": 3}]
    gradients, saved = [], []
    for recompute in (False, True):
        learner = trainer(pairs, tmp_path, stages=stages, recompute=recompute)
        batch = learner.data.batch(0, 2, crop=32)
        kept = 0

        def keep(tensor):
            nonlocal kept
            kept += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            losses = learner.objective(batch, learner.plan.stages[0], 0)
        saved.append(kept)
        sum(losses.values()).backward()
        gradients.append([p.grad for p in learner.system.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    # and it does forget: three of the four network calls keep next to nothing
    assert saved[1] < 0.6 * saved[0]


def test_weights_scale_their_terms(pairs, tmp_path):
    plain, weighted = (
        trainer(pairs, tmp_path, weights=weights).train_step() for weights in ({}, {"noise": 3.0, "frequency": 0.0})
    )
    assert weighted["noise"] == pytest.approx(3 * plain["noise"])
    assert weighted["bands"] == weighted["tv"] == 0 < plain["tv"]
    assert weighted["loss"] == pytest.approx(weighted["noise"])


def test_resuming_with_another_configuration(pairs, tmp_path):
    first = trainer(pairs, tmp_path)
    first.train_step()
    first.save()
    # what says only where and how often to write may change
    assert trainer(pairs, tmp_path, log_every=7, checkpoint_every=3).resume()
    for changes, message in (
        ({"ema": 0.5}, "ema: 0.999, now 0.5"),
        ({"network": NETWORK | {"steps": 3}}, "network.steps: 2, now 3"),
        ({"stages": TINY["stages"][:1]}, r"stages\.1\.batch: 2, now not there"),
    ):
        changed = trainer(pairs, tmp_path, **changes)
        with pytest.raises(ValueError, match=f"{message}.*--allow-changes"):
            changed.resume()
        assert changed.step == 0
        assert changed.resume(allow_changes=True)
        assert changed.step == 1
        changed.close()
    with pytest.raises(ValueError, match="pairs of pictures: 5, now 4"):
        trainer(pairs[:4], tmp_path).resume()
    with pytest.raises(ValueError, match="holds another network"):
        trainer(pairs, tmp_path, network=NETWORK | {"ch": 16}).resume(allow_changes=True)


def test_checkpoints_say_where_they_come_from(pairs, tmp_path):
    trained = trainer(pairs, tmp_path, seed=3)
    trained.save()
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    assert (state["step"], state["seed"], state["pairs"]) == (0, 3, 5)
    assert state["version"]
    assert from_dict(state["config"]) == trained.config


def test_checkpoint_of_the_first_format_resumes(pairs, tmp_path):
    """Before the terms had weights of their own, and before versions, pairs and splits were written."""
    first = trainer(pairs, tmp_path)
    first.train_step()
    old = {name: value for name, value in first.state().items() if name in ("step", "model", "ema", "optimizer")}
    keys = ("data", "system", "network", "seed", "ema", "warmup", "clip_norm", "bfloat16", "threads")
    config = {key: getattr(first.config, key) for key in keys}
    stage = ("iterations", "batch", "crop", "shrink", "sampling_steps", "learning_rate", "learning_rate_end")
    config["stages"] = [{key: getattr(s, key) for key in stage} for s in first.config.stages]
    config |= {"weights": {"noise": 1.0, "photo": 1.0, "frequency": 1.0}, "checkpoint_every": 500, "log_every": 50}
    torch.save(old | {"config": config}, tmp_path / "last.pt")
    resumed = trainer(pairs, tmp_path, split="our485")
    assert resumed.resume()
    assert resumed.train_step()["loss"] == first.train_step()["loss"]


def test_damaged_checkpoint(pairs, tmp_path):
    (tmp_path / "last.pt").write_bytes(b"PK half of one")
    with pytest.raises(ValueError, match="damaged or truncated"):
        trainer(pairs, tmp_path).resume()
    torch.save({"step": 1}, tmp_path / "last.pt")
    with pytest.raises(ValueError, match="lacks config, ema, model, optimizer"):
        trainer(pairs, tmp_path).resume()


def test_full_disk(pairs, tmp_path, monkeypatch):
    import errno

    from lowlight.files import atomic

    learner = trainer(pairs, tmp_path)
    learner.save()
    before = (tmp_path / "last.pt").read_bytes()

    class Full:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return False

        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic, "open", lambda *_: Full(), raising=False)
    learner.train_step()
    with pytest.raises(OSError, match=r"last\.pt .*iteration 1\) not written: no space left.*checkpoint is intact"):
        learner.save()
    assert (tmp_path / "last.pt").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_gradient_that_is_not_finite(pairs, tmp_path):
    learner = trainer(pairs, tmp_path)
    with torch.no_grad():
        learner.system.Unet.conv_out.bias.fill_(torch.inf)
    before = learner.system.Unet.conv_in.weight.clone()
    with pytest.raises(FloatingPointError, match="iteration 0: the gradient is not finite"):
        learner.train_step()
    assert torch.equal(learner.system.Unet.conv_in.weight, before)
