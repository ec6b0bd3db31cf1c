"""Training of the anchored wavelet diffusion: pairs that are made, what a step learns, what it starts from."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from train_process import make_pairs

from lowlight.checkpoints import load, save_weights
from lowlight.data.batches.made_pairs import Darkening, darkened
from lowlight.data.batches.mixed_batches import MixedBatches, find_photographs
from lowlight.systems.diffll.network import DiffLLConfig
from lowlight.systems.diffll.system import DiffLL
from lowlight.systems.wavelet_anchored.system import WaveletAnchored
from lowlight.training.config_files import from_dict
from lowlight.training.loop import Trainer
from lowlight.training.objectives.wavelet_anchored import WaveletAnchoredObjective

NETWORK = {"ch": 8, "ch_mult": [1, 2], "num_res_blocks": 1, "attention_level": 1, "norm_groups": 4}
NETWORK |= {"base": 17, "width": 8, "blocks": 1}
TINY = {
    "system": "wavelet_anchored",
    "network": NETWORK,
    "stages": [{"iterations": 12, "batch": 2, "crop": 64, "learning_rate": 2e-3}],
    "warmup": 2,
    "log_every": 1,
    "checkpoint_every": 100,
}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp("pairs"), size=(96, 128))


def smooth_picture(size=(96, 128)):
    y, x = np.mgrid[: size[0], : size[1]] / max(size)
    return (255 * np.stack([0.3 + 0.6 * x, 0.2 + 0.7 * y, 0.8 - 0.5 * x])).astype(np.uint8)


def trainer(pairs, folder, **changes):
    config = from_dict(TINY | changes)
    return Trainer(config, WaveletAnchoredObjective.batches(config, pairs), folder)


def test_a_made_picture_is_the_bright_one_too_short_exposed():
    bright = smooth_picture()
    darkening = Darkening(ratio=(20.0, 20.0), K=(0.2, 0.2), balance=0.0, jpeg=0.0, recolour=0.0, tone=0.0)
    dark, truth = darkened(bright, np.random.default_rng(0), darkening)
    assert dark.dtype == truth.dtype == np.uint8
    assert dark.shape == truth.shape == bright.shape
    assert np.array_equal(truth, bright)
    linear = (bright / 255) ** 2.2
    # 20 times less light, where noise hardly counts, on blocks; 8 bits hold such darkness to a few percent
    blocks = lambda x: x.reshape(3, 6, 16, 8, 16).mean((2, 4))  # noqa: E731
    ratio = blocks(linear) / blocks((dark / 255) ** 2.2)
    assert np.median(ratio) == pytest.approx(20, rel=0.25)


def test_made_pictures_are_a_function_of_the_generator():
    bright, darkening = smooth_picture(), Darkening()
    first, again = (darkened(bright, np.random.default_rng(7), darkening) for _ in range(2))
    other = darkened(bright, np.random.default_rng(8), darkening)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_a_short_exposure_that_is_none_leaves_a_bright_picture():
    bright = smooth_picture()
    darkening = Darkening(ratio=(1.0, 1.0), K=(0.05, 0.05), balance=0.0, jpeg=0.0, recolour=0.0, tone=1.0)
    dark, _ = darkened(bright, np.random.default_rng(0), darkening)
    assert abs(dark.astype(float) - bright).mean() < 4
    flat, _ = darkened(bright, np.random.default_rng(0), dataclasses.replace(darkening, tone=0.0))
    assert flat.std() < 0.8 * dark.std()


def test_batches_are_a_function_of_seed_and_number(pairs):
    batches = MixedBatches(pairs, seed=1, made=0.5)
    assert len(batches) == 10
    whole, tail = batches.batch(3, 4), MixedBatches(pairs, seed=1, made=0.5).batch(5, 2)
    assert whole.low.shape == whole.high.shape == (4, 3, 96, 128)
    assert 0 <= whole.low.min() <= whole.high.max() <= 1
    assert torch.equal(whole.low[2:], tail.low)
    assert torch.equal(whole.high[2:], tail.high)
    # a whole epoch, made pairs among it
    assert torch.equal(batches.batch(0, 10).low, MixedBatches(pairs, seed=1, made=0.5).batch(0, 10).low)
    assert not torch.equal(MixedBatches(pairs, seed=2, made=0.5).batch(3, 4).low, whole.low)
    # an epoch shows every pair and every made one once
    assert sorted(batches.indices(10, 10)) == list(range(10))


def test_photographs_are_cut_to_the_pairs_size(pairs, tmp_path):
    Image.fromarray(smooth_picture((300, 400)).transpose(1, 2, 0)).save(tmp_path / "photograph.png")
    batches = MixedBatches(pairs, made=0.8, photographs=find_photographs(tmp_path))
    made = batches.batch(0, len(batches)).high
    # the pairs' pictures are noise, a photograph is smooth
    smooth = sum((picture.diff(dim=-1).abs().mean() < 0.05).item() for picture in made)
    assert 0 < smooth < len(batches)
    with pytest.raises(FileNotFoundError, match="no picture"):
        find_photographs(tmp_path / "nowhere")


def test_batches_of_mixed_sizes(tmp_path):
    """Made pairs have the size of the pair they are made of."""
    pairs = [pair for size in ((64, 96), (96, 64)) for pair in make_pairs(tmp_path / str(size[0]), 2, size)]
    batches = MixedBatches(pairs, made=0.5)
    shapes = {tuple(batches.batch(n, 2).low.shape) for n in range(len(batches))}
    assert shapes == {(2, 3, 64, 96), (2, 3, 96, 64)}
    assert all(batches._picture(n).shape[-2:] == batches._size(n) for n in range(len(batches)))


def test_wrong_batches_are_refused(pairs):
    with pytest.raises(ValueError, match="made must lie in"):
        MixedBatches(pairs, made=1.0)
    with pytest.raises(ValueError, match="shrink 1"):
        MixedBatches(pairs).batch(0, 2, shrink=2)


def test_it_learns(pairs, tmp_path):
    training = trainer(pairs, tmp_path, objective={"made": 0.0, "exposed": 0.0, "least_size": 1.0})
    losses = [training.train_step() for _ in range(12)]
    assert all(np.isfinite(loss["grad_norm"]) and loss["grad_norm"] > 0 for loss in losses)
    for term in ("l1", "anchor", "colour"):
        first, last = (np.mean([loss[term] for loss in part]) for part in (losses[:3], losses[-3:]))
        assert last < first, term
    # no part is left out
    still = [name for name, p in training.system.named_parameters() if p.grad is None or not p.grad.any()]
    assert all("told" in name or "statistics" in name for name in still), still


def test_the_anchor_learns_by_itself(pairs, tmp_path):
    training = trainer(pairs, tmp_path)
    stage, _, first = training.plan.stage_at(0)
    training.objective(training.data.batch(first, 2), stage, first)["anchor"].backward()
    learned = {name for name, p in training.system.named_parameters() if p.grad is not None and p.grad.any()}
    assert learned
    assert all(name.startswith("anchor.") for name in learned)


def test_resumes_to_the_same_weights(pairs, tmp_path):
    straight = trainer(pairs, tmp_path / "straight")
    assert straight.run()
    interrupted = trainer(pairs, tmp_path / "interrupted")
    assert not interrupted.run(stop=lambda: interrupted.step == 5)
    resumed = trainer(pairs, tmp_path / "interrupted")
    assert resumed.resume()
    assert resumed.run()
    for a, b in zip(straight.system.parameters(), resumed.system.parameters(), strict=True):
        assert torch.equal(a, b)
    # what a training leaves is loaded, averaged, as any file
    assert isinstance(load(tmp_path / "straight" / "last.pt", device="cpu"), WaveletAnchored)


def test_starts_from_a_diffll(tmp_path):
    widths = {name: NETWORK[name] for name in ("ch", "ch_mult", "num_res_blocks", "attention_level", "norm_groups")}
    torch.manual_seed(1)
    source = DiffLL(DiffLLConfig(**widths, hfrm_width=8, guide="gamma", statistics=True))
    path = tmp_path / "diffll.safetensors"
    save_weights(path, source.state_dict(), {"system": "diffll", "config": source.config}, torch.float32)
    config = from_dict(TINY | {"objective": {"start": str(path)}})
    system = WaveletAnchoredObjective(config, torch.device("cpu")).system
    old, new = source.Unet.state_dict(), system.unet.state_dict()
    assert torch.equal(new["mid.block_1.conv1.weight"], old["mid.block_1.conv1.weight"])
    assert torch.equal(new["conv_in.weight"][:, :9], old["conv_in.weight"])
    # what is new begins at nothing
    assert not new["conv_in.weight"][:, 9:].any()
    assert not new["conv_out.weight"].any()


def test_wrong_settings_are_refused(pairs, tmp_path):
    for changes, words in (
        ({"objective": {"made": 1.5}}, "made must lie in"),
        ({"objective": {"least_size": 0}}, "least_size must lie in"),
        ({"stages": [{"iterations": 1, "batch": 2, "crop": 32}]}, "crop must be at least 64"),
        ({"stages": [{"iterations": 1, "batch": 2, "crop": 64, "sampling_steps": 2}]}, "sampling_steps must be 0"),
        ({"objective": {"start": "no-such-model"}}, "neither a shipped model nor a file"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=words):
            trainer(pairs, tmp_path, **changes)
