"""Training AnlightenDiff: which parts each stage trains, what they minimise, resumption, files that load."""

import dataclasses
from importlib.util import find_spec

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from perceptual_state import random_state
from scipy import signal
from train_process import make_pairs

from lowlight import load
from lowlight.metrics.losses import ms_ssim, ssim
from lowlight.systems.anlightendiff.conditioning import color_map
from lowlight.training.config import Stage
from lowlight.training.config_files import from_dict, load_config
from lowlight.training.loop import Trainer
from lowlight.training.objectives import anlightendiff
from lowlight.training.objectives.lookup import objective_of
from lowlight.training.plateau import Plateau
from lowlight_ext import use_backend

NETWORK = {"widths": [4, 6, 8], "steps": 2, "sampler": "ddim"}
CENTER, DIFFUSION = {"center": ["l1", "ssim"]}, {"diffusion": ["l2"]}
PICTURE = {"losses": {"picture": ["l1"], **CENTER, **DIFFUSION}, "sampling_steps": 2}


def stage(losses, iterations=2, **changes):
    return {"iterations": iterations, "batch": 2, "crop": 32, "losses": losses, "learning_rate": 1e-3} | changes


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp("pairs"))


def trainer(pairs, folder, stages, network=NETWORK, **changes):
    values = {"system": "anlightendiff", "network": network, "stages": stages, "warmup": 2, "log_every": 1}
    config = from_dict(values | changes)
    return Trainer(config, objective_of(config.system).batches(config, pairs), folder)


def moved(learner, iterations):
    """Names of the networks whose weights some iterations change."""
    before = {name: p.detach().clone() for name, p in learner.system.named_parameters()}
    for _ in range(iterations):
        learner.train_step()
    changed = [name for name, p in learner.system.named_parameters() if not torch.equal(before[name], p)]
    return {name.split(".")[0] for name in changed}


def test_one_step_parts(pairs, tmp_path):
    """The center alone, the denoiser alone as published, then both, with the way through the sampling."""
    stages = [stage(CENTER, turn) for turn in (2,)] + [stage(DIFFUSION), stage(**PICTURE)]
    learner = trainer(pairs, tmp_path, stages, objective={"train_encoder": True})
    assert moved(learner, 2) == {"encoder"}
    assert moved(learner, 2) == {"model"}
    assert moved(learner, 2) == {"encoder", "model"}


def test_without_anything_compiled(pairs, tmp_path):
    """The reference's outputs may be views, which autograd lets nobody change in place."""
    with use_backend("reference"):
        learner = trainer(pairs, tmp_path, [stage(**PICTURE)], objective={"train_encoder": True})
        assert learner.train_step()["loss"] > 0


def test_two_step_stages(pairs, tmp_path):
    stages = [stage({"color": ["ms_ssim", "l1"]}, crop=192), stage({"histogram": ["l2"]}), stage(DIFFUSION)]
    network = NETWORK | {"two_step": True, "stronger_cond": False}
    learner = trainer(make_pairs(tmp_path / "pairs", 2, (200, 192)), tmp_path, stages, network)
    for network in ("encoder", "histroEncoder", "model"):
        assert moved(learner, 2) == {network}
    learner.step = 5
    assert learner.run()
    columns = (tmp_path / "log.csv").read_text().splitlines()[0]
    assert columns == "step,seconds,loss,color_l1,color_ms_ssim,histogram_l2,diffusion_l2,grad_norm,lr"


def test_what_each_loss_compares(pairs, tmp_path):
    """The terms against the system's own parts, on the same batch."""
    network = NETWORK | {"two_step": True, "stronger_cond": False}
    losses = {"color": ["l1"], "histogram": ["l2"], "picture": ["ssim"]}
    one = trainer(pairs, tmp_path, [stage(losses, sampling_steps=2)], network, objective={"weight_norm": False})
    batch, system = one.data.batch(0, 2, crop=32), one.system
    with torch.no_grad():
        terms = one.objective(batch, one.plan.stages[0], 0)
        made = system.analyse(batch.low)
        sampled = system.enhance_tensor(batch.low, steps=2)
    torch.testing.assert_close(terms["color_l1"], F.l1_loss(made.color, color_map(batch.high)))
    torch.testing.assert_close(terms["histogram_l2"], F.mse_loss(made.histogram, batch.high))
    torch.testing.assert_close(terms["picture_ssim"], 1 - ssim(sampled, batch.high))


@pytest.mark.parametrize("true_center", [0.0, 1.0])
def test_center_of_the_anchored_noise(pairs, tmp_path, true_center):
    """The l2 term from the formulas of the paper: DRDA with the chosen center, the noise of the samples' seeds."""
    one = trainer(pairs, tmp_path, [stage(DIFFUSION)], objective={"true_center": true_center})
    system, own = one.system, one._own
    batch = one.data.batch(4, 2, crop=32)
    with torch.no_grad():
        term = one.objective(batch, one.plan.stages[0], 4)["diffusion_l2"]
        made = system.analyse(batch.low)
        phi = 2 * (batch.high if true_center else made.center) - 1
        t = (own.uniform(2, 4) * 100).long()
        ab = system.alpha_bar[t].view(2, 1, 1, 1).float()
        eps = own.normal(tuple(phi.shape), 4) + (1 - ab.sqrt()) / (1 - ab).sqrt() * phi
        x_t = ab.sqrt() * (2 * (batch.high - batch.low) - 1) + (1 - ab).sqrt() * eps
        torch.testing.assert_close(term, F.mse_loss(system.predict(made, x_t, t), eps), rtol=1e-4, atol=0)


def test_dfpl(pairs, tmp_path, monkeypatch):
    """DFPL compares the pictures of the predicted and the true noise, and its gradient reaches the denoiser."""
    monkeypatch.setattr(anlightendiff, "_perceptual", lambda *_: lambda x, y: (x - y).abs().mean(dim=(1, 2, 3)))
    objective = {"true_center": 1.0, "weight_norm": False}
    one = trainer(pairs, tmp_path, [stage({"diffusion": ["dfpl"]})], objective=objective)
    system, own = one.system, one._own
    batch = one.data.batch(4, 2, crop=32)
    with torch.no_grad():
        term = one.objective(batch, one.plan.stages[0], 4)["diffusion_dfpl"]
        made = system.analyse(batch.low)._replace(center=batch.high)
        t = (own.uniform(2, 4) * 100).long()
        predicted, target = system.noise_pair(made, batch.high, t=t, noise=own.normal(tuple(batch.high.shape), 4))
        ours, theirs = system.dfpl_pictures(made, batch.high, t, predicted, target)
    torch.testing.assert_close(term, F.l1_loss(ours, theirs))
    one.train_step()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in system.model.parameters())


@pytest.mark.skipif(find_spec("lpips") is None, reason="lpips is in the extra [lpips]")
@pytest.mark.parametrize("net", ["alex", "squeeze", "vgg"])
def test_perceptual_losses(pairs, tmp_path, net):
    torch.save(random_state(net), tmp_path / "trunk.pth")
    objective = {"perceptual": net, "perceptual_weights": str(tmp_path / "trunk.pth")}
    losses = {"center": ["lpips"], "diffusion": ["dfpl", "l2"]}
    learner = trainer(pairs, tmp_path / "run", [stage(losses)], objective=objective)
    row = learner.train_step()
    assert row["center_lpips"] > 0
    assert row["diffusion_dfpl"] > 0
    assert not any("lpips" in name for name in learner.system.state_dict())
    missing = objective | {"perceptual_weights": str(tmp_path / "none.pth")}
    with pytest.raises(ValueError, match=r"objective.perceptual: no file"):
        trainer(pairs, tmp_path / "run", [stage(losses)], objective=missing)


def test_half_of_the_batches_have_the_true_center(pairs, tmp_path):
    one = trainer(pairs, tmp_path, [stage(DIFFUSION)])
    drawn = [one._own.uniform(1, 2 * n, 1 << 12).item() < 0.5 for n in range(200)]
    assert 70 < sum(drawn) < 130


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "lion"])
def test_resumes_to_the_same_weights(pairs, tmp_path, optimizer):
    if optimizer == "lion":
        pytest.importorskip("lion_pytorch", reason="needs the extra [train]")
    stages = [stage(CENTER, 3), stage(DIFFUSION, 4, schedule="plateau", every=1, patience=0), stage(**PICTURE)]
    settings = {"optimizer": optimizer, "weight_decay": 0.01, "objective": {"train_encoder": True}}
    straight = trainer(pairs, tmp_path / "straight", stages, **settings)
    assert straight.run()
    interrupted = trainer(pairs, tmp_path / "interrupted", stages, **settings)
    assert not interrupted.run(stop=lambda: interrupted.step == 6)
    resumed = trainer(pairs, tmp_path / "interrupted", stages, **settings)
    assert resumed.resume()
    assert resumed.run()
    for name, tensor in straight.system.state_dict().items():
        assert torch.equal(tensor, resumed.system.state_dict()[name]), name
        assert torch.equal(straight.ema[name], resumed.ema[name]), name


def test_it_learns(pairs, tmp_path):
    # noise passes the half-size levels only: twelve channels and more
    stages = [stage({**CENTER, **DIFFUSION}, 60, learning_rate=3e-3)]
    learner = trainer(pairs[:1], tmp_path, stages, NETWORK | {"widths": [16, 24]}, objective={"weight_norm": False})
    losses = [learner.train_step() for _ in range(60)]
    for term, share in (("center_l1", 0.8), ("diffusion_l2", 0.93)):
        assert sum(row[term] for row in losses[-20:]) < share * sum(row[term] for row in losses[:20]), term


def test_checkpoint_loads_without_weight_normalisation(pairs, tmp_path):
    learner = trainer(pairs, tmp_path, [stage(CENTER), stage(DIFFUSION)])
    learner.run()
    assert any("parametrizations" in name for name in learner.ema)
    system = load(tmp_path / "last.pt", device="cpu")
    assert not any("parametrizations" in name for name in system.state_dict())
    assert dataclasses.asdict(system.config)["widths"] == (4, 6, 8)
    for name, tensor in learner.averaged().state_dict().items():
        torch.testing.assert_close(tensor, system.state_dict()[name], rtol=1e-5, atol=1e-7)


def test_initial_weights(pairs, tmp_path):
    """PyTorch's convolutions without biases; linear layers a tenth of Kaiming's."""
    system = trainer(pairs, tmp_path, [stage(DIFFUSION)], NETWORK | {"widths": [64, 64]}).averaged()
    linear, convolution = system.model["unet"].mlp[0], system.encoder.mid_block1.block1.block[1]
    assert linear.weight.std().item() == pytest.approx(0.1 * (2 / 64) ** 0.5, rel=0.05)
    assert convolution.weight.abs().max().item() == pytest.approx(1 / (64 * 9) ** 0.5, rel=0.01)
    assert not linear.bias.any()
    assert not convolution.bias.any()


def test_plateau():
    plateau, kind = Plateau(), Stage(batch=1, iterations=100, schedule="plateau", every=2, patience=1, factor=0.5)
    scales = []
    for loss in (4, 4, 3, 3, 3, 3, 3, 3, 2, 2, 2, 2, 2, 2):
        plateau.seen(loss, kind)
        scales.append(plateau.scale)
    # means of two: 4, 3, 3, 3 (waited twice), 2, 2, 2
    assert scales == [1.0] * 7 + [0.5] * 6 + [0.25]
    assert plateau.entering(0) is plateau
    assert plateau.entering(1) == Plateau(stage=1)


def ms_ssim_by_scipy(x, y):
    """Wang et al. 2003, with scipy's filters, of one picture [C, H, W] in float64."""
    window = signal.windows.gaussian(11, 1.5)
    blur = lambda z: signal.convolve2d(z, np.outer(window, window) / window.sum() ** 2, "valid")  # noqa: E731
    total = np.ones(len(x))
    for scale, exponent in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        for channel, (a, b) in enumerate(zip(x, y, strict=True)):
            mean_a, mean_b = blur(a), blur(b)
            contrast = (2 * (blur(a * b) - mean_a * mean_b) + 9e-4) / (
                blur(a * a) - mean_a**2 + blur(b * b) - mean_b**2 + 9e-4
            )
            luminance = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
            total[channel] *= np.mean(contrast * luminance if scale == 4 else contrast) ** exponent
        if scale == 4:
            break
        x, y = (z.reshape(len(z), z.shape[1] // 2, 2, z.shape[2] // 2, 2).mean(axis=(2, 4)) for z in (x, y))
    return total.mean()


def test_ms_ssim():
    x = torch.rand(2, 3, 208, 176)
    y = (x + 0.2 * torch.randn_like(x)).clamp(0, 1).requires_grad_()
    ours = ms_ssim(x, y)
    pictures = zip(x.double().numpy(), y.detach().double().numpy(), strict=True)
    expected = np.mean([ms_ssim_by_scipy(*both) for both in pictures])
    assert ours.item() == pytest.approx(expected, abs=1e-5)
    assert ms_ssim(x, x).item() == pytest.approx(1, abs=1e-6)
    ours.backward()
    assert y.grad.isfinite().all()
    with pytest.raises(ValueError, match="at least 176"):
        ms_ssim(x[..., :100], x[..., :100])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": [stage({})]}, r"stages.0.losses must map parts to losses: center: l1, .*diffusion: l1, l2, dfpl"),
        ({"stages": [stage({"color": ["l1"]})]}, "must map parts"),
        ({"stages": [stage({"diffusion": ["ssim"]})]}, "must map parts"),
        ({"stages": [stage({"picture": ["l1"]})]}, "sampling_steps must lie in 1 .. 100"),
        ({"stages": [stage(DIFFUSION, sampling_steps=2)]}, "be 0 without, got 2"),
        ({"stages": [stage(DIFFUSION, crop=4)]}, "crop must be a multiple of 4, at least 8"),
        ({"objective": {"true_center": 2}}, "true_center must lie in"),
        ({"objective": {"teacher": 2}}, "objective: unknown key teacher"),
        ({"objective": {"perceptual": "resnet"}}, "perceptual must be one of vgg, alex, squeeze"),
        ({"optimizer": "lbfgs"}, "optimizer must be one of adam, adamw, lion, rmsprop, sgd"),
        ({"weights": {"noise": 1}}, "weights must have keys of center_l1"),
    ],
)
def test_errors(changes, message):
    values = {"system": "anlightendiff", "network": NETWORK, "stages": [stage(DIFFUSION)]} | changes
    with pytest.raises(ValueError, match=message):
        from_dict(values)


def test_published_recipes():
    one, two = load_config("anlightendiff_published"), load_config("anlightendiff_two_step")
    assert objective_of(one.system).active_terms(one) == ("diffusion_dfpl",)
    assert [list(s.losses) for s in two.stages] == [["color"], ["histogram"], ["diffusion"]]
    # 485 pairs, batches of 24
    assert one.resolved(485).iterations == 20209
