"""Training ExposureDiffusion: what the losses compare, learned weights, resumption, files that load, validation."""

import csv

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from raw_pictures import BAYER, raw_picture, scene
from train_process import write_config
from typer.testing import CliRunner

from lowlight import load
from lowlight.cli import app
from lowlight.metrics.losses import kl_loss, mixed_loss
from lowlight.metrics.scores import psnr
from lowlight.raw.dng import write_dng
from lowlight.systems.exposurediffusion.network import ExposureDiffusionConfig, published
from lowlight.systems.exposurediffusion.process import drawn_ratios, illuminance_gain
from lowlight.training.config_files import from_dict, load_config
from lowlight.training.loop import Trainer
from lowlight.training.objectives.exposurediffusion import ExposureOptions
from lowlight.training.objectives.lookup import objective_of

NETWORK = {"width": 4, "camera": "SonyA7S2"}


def stage(iterations=2, **changes):
    return {"iterations": iterations, "batch": 2, "crop": 16, "learning_rate": 1e-3} | changes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two clean raw files."""
    root = tmp_path_factory.mktemp("clean")
    for number in range(2):
        write_dng(root / f"{number}.dng", raw_picture(BAYER[number], scene(80, 96, noise=0)))
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def trainer(folder, cache, tmp_path):
    def make(name="run", stages=None, network=NETWORK, objective=None, **changes):
        values = {"system": "exposurediffusion", "network": network, "stages": stages or [stage()], "warmup": 2,
                  "log_every": 1, "objective": {"cache": str(cache)} | (objective or {})}  # fmt: skip
        config = from_dict(values | changes)
        objective = objective_of(config.system)
        return Trainer(config, objective.batches(config, objective.find(config, folder, None)), tmp_path / name)

    return make


def negative_psnr(pictures, targets):
    return -psnr(pictures, targets, rounded=False).mean().float()


@pytest.mark.parametrize("protocol", ["paper", "blind"])
@pytest.mark.parametrize(
    ("loss", "compare"), [("l1", F.l1_loss), ("l2", F.mse_loss), ("kl", kl_loss), ("psnr", negative_psnr)]
)
def test_what_the_losses_compare(trainer, protocol, loss, compare):
    """The terms from the system's own chain over the drawn exposures, by hand."""
    one = trainer(objective={"protocol": protocol, "loss": loss, "auxiliary": True})
    batch, system = one.data.batch(4, 2, crop=16), one.system
    seeds = one._own.seeds(2, 4)
    with torch.no_grad():
        terms = one.objective(batch, one.plan.stages[0], 4)
        low, losses, parts = batch.measured(seeds), [], []
        ratios = drawn_ratios(batch.ratio, 3, seeds)
        for estimate in system.outputs(
            low, ratios, batch.K, target=batch.clean if protocol == "paper" else None, seed=seeds
        ):
            losses.append(compare(estimate.picture, batch.clean))
            parts.append(mixed_loss(*estimate.parts, batch.clean))
            if protocol == "paper":
                gain = illuminance_gain(estimate.picture, batch.clean)
                torch.testing.assert_close(gain, torch.ones_like(gain), atol=1e-3, rtol=0)
    assert len(losses) == 3
    assert list(terms) == [loss, "auxiliary"]
    torch.testing.assert_close(terms[loss], torch.stack(losses).mean())
    torch.testing.assert_close(terms["auxiliary"], torch.stack(parts).mean())


def test_a_share_of_a_batch(trainer):
    """What several processes compute of their shares is what one computes of the whole batch."""
    one = trainer(objective={"auxiliary": True})
    plan = one.plan.stages[0]
    with torch.no_grad():
        whole = one.objective(one.data.batch(6, 4, crop=16), plan, 6)
        halves = [one.objective(one.data.batch(6 + skip, 2, crop=16), plan, 6, skip) for skip in (0, 2)]
    for name, value in whole.items():
        torch.testing.assert_close(value, (halves[0][name] + halves[1][name]) / 2)


@pytest.mark.parametrize("adaptive", [True, False])
def test_the_published_loss(trainer, adaptive):
    """(pixel + auxiliary) of every call, times its learned weight, or their sum; the gradient reaches the weights."""
    one = trainer(objective={"auxiliary": True, "adaptive": adaptive, "calls": "sum"})
    batch, seeds = one.data.batch(4, 2, crop=16), one._own.seeds(2, 4)
    with torch.no_grad():
        ratios = drawn_ratios(batch.ratio, 3, seeds)
        made = one.system.outputs(batch.measured(seeds), ratios, batch.K, target=batch.clean, seed=seeds)
        both = torch.stack([F.l1_loss(e.picture, batch.clean) + mixed_loss(*e.parts, batch.clean) for e in made])
    if adaptive:
        (weights,) = one._own.loss_parameters
        weights.data.copy_(torch.tensor([0.5, 0.2]))
    total = sum(one.objective(batch, one.plan.stages[0], 4).values())
    torch.testing.assert_close(total, (both * (both.new_tensor([0.5, 0.2, 0.3]) if adaptive else 1)).sum())
    if adaptive:
        total.backward()
        torch.testing.assert_close(weights.grad, both[:2] - both[2])


def test_noise_of_several_cameras(trainer):
    one = trainer(objective={"cameras": ["NikonD850"]})
    assert [camera.name for camera in one.data.noise.camera] == ["SonyA7S2", "NikonD850"]
    one.train_step()


def test_an_integer_ratio(trainer, monkeypatch):
    from lowlight.training.objectives import exposurediffusion

    seen = []
    monkeypatch.setattr(
        exposurediffusion, "drawn_ratios", lambda ratio, *rest: (seen.append(ratio), drawn_ratios(ratio, *rest))[1]
    )
    for integer in (False, True):
        trainer(str(integer), objective={"integer_ratio": integer}).train_step()
    assert torch.equal(seen[1], seen[0].floor())
    assert not torch.equal(seen[1], seen[0])


def test_learned_weights_of_the_outputs(trainer):
    one = trainer(objective={"adaptive": True})
    (weights,) = one._own.loss_parameters
    assert weights.tolist() == pytest.approx([1 / 3] * 2)
    torch.testing.assert_close(one._own._shares(3), torch.full((3,), 1 / 3))
    with torch.no_grad():
        weights.copy_(torch.tensor([1.5, -0.5]))
    assert one._own._shares(3).tolist() == [1, 0, 0]
    with torch.no_grad():
        weights.fill_(0.25)
    assert one._own._shares(3).tolist() == [0.25, 0.25, 0.5]
    one.train_step()
    assert weights.tolist() != [0.25, 0.25]
    assert not any("loss_parameters" in name for name in one.system.state_dict())


def test_chains_of_other_lengths(trainer):
    """sampling_steps: network calls, whatever the network's own number."""
    one = trainer(stages=[stage(sampling_steps=1), stage(sampling_steps=4)])
    seen = []
    forward = one.system.netG.forward
    one.system.netG.forward = lambda x: (seen.append(1), forward(x))[1]
    one.train_step()
    assert len(seen) == 1
    one.step = 2
    one.train_step()
    assert len(seen) == 5


def test_resumes_to_the_same_weights(trainer):
    settings = {"stages": [stage(2), stage(3, crop=24)], "objective": {"adaptive": True, "auxiliary": True},
                "turn": True}  # fmt: skip
    straight = trainer("straight", **settings)
    assert straight.run()
    interrupted = trainer("interrupted", **settings)
    assert not interrupted.run(stop=lambda: interrupted.step == 3)
    resumed = trainer("interrupted", **settings)
    assert resumed.resume()
    assert resumed.run()
    for name, tensor in straight.system.state_dict().items():
        assert torch.equal(tensor, resumed.system.state_dict()[name]), name
        assert torch.equal(straight.ema[name], resumed.ema[name]), name
    assert torch.equal(straight._own.loss_parameters[0], resumed._own.loss_parameters[0])


def test_it_learns(trainer):
    learner = trainer(
        stages=[stage(60, batch=4, learning_rate=3e-3)],
        network=NETWORK | {"iter_num": 1},
        objective={"protocol": "blind", "auxiliary": True, "K": [0.5, 0.5]},
    )
    losses = [learner.train_step() for _ in range(60)]
    for term in ("l1", "auxiliary"):
        assert sum(row[term] for row in losses[-15:]) < 0.7 * sum(row[term] for row in losses[:15]), term


def test_command(folder, cache, tmp_path):
    """`lowlight train` on a folder of raw files, validated in both protocols; the file loads."""
    config = write_config(
        tmp_path / "tiny.yaml",
        system="exposurediffusion",
        network=NETWORK | {"camera": "NikonD850"},
        stages=[stage(2)],
        objective={"cache": str(cache), "validation_crop": 16},
        validate_every=1,
        validate_pairs=2,
    )
    arguments = ("train", config, "--data", folder, "--val-data", folder, "-o", tmp_path / "run")
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "blind protocol" in said
    assert "2 pictures of the validation's split are trained on" in said
    rows = list(csv.DictReader((tmp_path / "run" / "validation.csv").open()))
    assert list(rows[0]) == ["step", "seconds", "psnr_blind", "psnr_paper", "psnr_input"]
    assert rows[0]["psnr_input"] == rows[1]["psnr_input"]
    assert (tmp_path / "run" / "samples" / "0000002.png").is_file()
    system = load(tmp_path / "run" / "last.pt", device="cpu")
    assert system.config.camera == "NikonD850"
    out = system.enhance_tensor(torch.rand(1, 4, 16, 16), ratio=100.0, K=1.0)
    assert np.isfinite(out.numpy()).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": [stage(crop=None)]}, "stages.0.crop must be set, in packed pixels"),
        ({"stages": [stage(losses={"center": ["l1"]})]}, "stages.0.losses must not be set"),
        ({"stages": [stage(sampling_steps=3)], "objective": {"ratio": [3, 9]}}, "be at most 2 for such ratios, got 3"),
        ({"stages": [stage(sampling_steps=2)], "objective": {"adaptive": True}}, "be 0 or 3, whose weights"),
        ({"objective": {"adaptive": True}, "network": NETWORK | {"iter_num": 0}}, "adaptive must be false where"),
        (
            {"objective": {"auxiliary": True}, "network": NETWORK | {"adaptive": False}},
            "auxiliary must be false",
        ),
        ({"objective": {"loss": "ssim"}}, "loss must be one of l1, l2, kl"),
        ({"objective": {"recolour": 1.5}}, "recolour must be 0 to 1, got 1.5"),
        ({"objective": {"cameras": ["Lantern"]}}, "no such camera or file"),
        ({"objective": {"cameras": ["NikonD850"], "data": "pairs"}}, "cameras must be empty with real pairs"),
        ({"objective": {"calls": "product"}}, "calls must be one of mean, sum"),
        ({"objective": {"data": "dark"}}, "data must be one of clean, pairs"),
        ({"objective": {"protocol": "best"}}, "protocol must be one of blind, paper"),
        ({"objective": {"ratio": [300, 100]}}, "ratio must be \\[low, high\\], in order"),
        ({"objective": {"K": [0, 1]}}, "K must be \\[low, high\\], in order and above 0"),
        ({"network": {"camera": "Lantern"}}, "no such camera or file"),
        ({"network": {}}, "network.camera must name the camera"),
        ({"objective": {"model": "P+p"}}, "model must be parts of"),
        ({"weights": {"noise": 1}}, "weights must have keys of l1, l2, kl, psnr, auxiliary"),
    ],
)
def test_errors(changes, message):
    values = {"system": "exposurediffusion", "network": NETWORK, "stages": [stage()]} | changes
    with pytest.raises(ValueError, match=message):
        from_dict(values)


@pytest.mark.parametrize(
    ("name", "network", "noise", "concat"),
    [
        ("unet_pg", "unet", "P+g", False),
        ("unet_eld", "unet", "P+G+r+u", True),
        ("unet_paired", "unet", None, True),
        ("naf2_pg", "naf2", "P+g", False),
        ("naf2_eld", "naf2", "P+G+r+u", True),
    ],
)
def test_the_published_recipes(name, network, noise, concat):
    config = load_config(f"exposurediffusion_published_{name}")
    plan, options = config.resolved(100), ExposureOptions(**config.objective)
    rates = [plan.stage_at(step)[0].rate(0) for step in (0, 14999, 15000, 26999, 27000, 29999)]
    assert rates == [1e-4, 1e-4, 5e-5, 5e-5, 1e-5, 1e-5]
    assert plan.iterations == 30000
    assert ExposureDiffusionConfig(**config.network) == published(network, concat_origin=concat, camera="SonyA7S2")
    assert (options.data, options.model if noise else None) == ("clean" if noise else "pairs", noise)
    assert (options.ratio, options.auxiliary, options.adaptive, options.calls) == ([20, 300], True, True, "sum")


def test_the_shipped_recipe():
    small = load_config("exposurediffusion_small")
    system = objective_of(small.system)(small, torch.device("cpu")).system
    assert sum(p.numel() for p in system.parameters()) <= 6e6
