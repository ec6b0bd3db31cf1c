"""The exposure head of an anchored wavelet diffusion: what it learns, what it does to the exposure, its files."""

import numpy as np
import pytest
import torch
from PIL import Image
from test_train_wavelet_anchored import NETWORK, TINY
from train_process import make_pairs

from lowlight.checkpoints import load, save_weights
from lowlight.data.sets.pairs import find_pairs
from lowlight.systems.wavelet_anchored.network import WaveletAnchoredConfig
from lowlight.systems.wavelet_anchored.system import WaveletAnchored
from lowlight.training.config_files import from_dict
from lowlight.training.loop import Trainer
from lowlight.training.objectives.wavelet_anchored import WaveletAnchoredObjective

ALONE = {"l1": 0.0, "ssim": 0.0, "colour": 0.0, "anchor": 0.0}
FROZEN = ["anchor", "unet", "restorer"]


def with_head(seed=0, bias=0.0):
    torch.manual_seed(seed)
    system = WaveletAnchored(WaveletAnchoredConfig(**NETWORK, exposure=4)).eval()
    with torch.no_grad():
        system.exposure.net[-1].weight.normal_(std=0.1)
        system.exposure.net[-1].bias.fill_(bias)
    return system


def dark(seed=0, scale=0.05):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.rand(1, 3, 8, 12, generator=generator).repeat_interleave(8, 2).repeat_interleave(8, 3)


def trained(folder, pairs, **changes):
    config = from_dict(TINY | {"network": NETWORK | {"exposure": 4}} | changes)
    trainer = Trainer(config, WaveletAnchoredObjective.batches(config, pairs), folder)
    before = {name: value.clone() for name, value in trainer.system.state_dict().items()}
    lines = [trainer.train_step() for _ in range(config.iterations)]
    return trainer, before, lines


@pytest.mark.parametrize("bias", [-1.0, 0.0, 1.0])
def test_the_head_decides_the_exposure_and_brightness_counts_from_it(bias):
    system, low = with_head(bias=bias), dark()
    wanted = system.exposure(low)
    assert wanted.item() == pytest.approx(torch.tensor(bias).sigmoid().item(), abs=0.1)
    bright = system.enhance_tensor(low)
    assert bright.mean().item() == pytest.approx(wanted.item(), abs=0.01)
    darker = system.enhance_tensor(low, brightness=-1.0)
    assert darker.mean().item() == pytest.approx(0.73 * wanted.item(), rel=0.05)
    told = system.enhance_tensor(low, mean=0.3)
    assert told.mean().item() == pytest.approx(0.3, abs=0.01)


def test_a_gain_of_the_dark_picture_changes_little():
    system, low = with_head(), dark(scale=0.4)
    assert system.exposure(low / 2).item() == pytest.approx(system.exposure(low).item(), abs=0.01)


def test_what_is_bright_stays_bright():
    low = dark(scale=0.99)
    assert low.mean() > 0.45
    assert with_head(bias=-2.0).enhance_tensor(low).mean().item() == pytest.approx(low.mean().item(), rel=0.01)


def two_scenes(folder):
    """Across or down, the one to become dark, the other bright; [2, 3, 96, 128] dark pictures in the pairs' order."""
    y, x = np.mgrid[:96, :128] / 128
    darks = []
    for i, (shade, mean) in enumerate(((x, 0.3), (y, 0.65))):
        for side, level in (("low", 20), ("high", 2 * 255 * mean * 0.5 / shade.mean())):
            (folder / side).mkdir(parents=True, exist_ok=True)
            picture = np.clip(shade[..., None] * [level] * [1, 1, 1], 0, 255).astype(np.uint8)
            Image.fromarray(picture).save(folder / side / f"{i}.png")
            if side == "low":
                darks.append(torch.from_numpy(picture).permute(2, 0, 1) / 255)
    return find_pairs(folder), torch.stack(darks)


def test_trained_alone_it_learns_the_means_and_the_rest_stays(tmp_path):
    pairs, darks = two_scenes(tmp_path / "pairs")
    stages = [{"iterations": 80, "batch": 4, "crop": 64, "learning_rate": 1e-2}]
    objective = {"made": 0.0, "least_size": 1.0}
    trainer, before, lines = trained(
        tmp_path / "run", pairs, weights=ALONE, freeze=FROZEN, stages=stages, objective=objective
    )
    assert set(lines[0]) == {"loss", "exposure", "grad_norm", "lr"}
    with torch.no_grad():
        learnt = trainer.system.exposure(darks).tolist()
    assert learnt == pytest.approx([0.3, 0.61], abs=0.04)
    for name, value in trainer.system.state_dict().items():
        assert torch.equal(value, before[name]) == (not name.startswith("exposure."))


def test_trained_with_the_rest(tmp_path):
    pairs = make_pairs(tmp_path / "pairs", size=(96, 128))
    stages = [{"iterations": 2, "batch": 2, "crop": 64, "learning_rate": 1e-3}]
    trainer, before, lines = trained(tmp_path / "run", pairs, stages=stages)
    assert {"l1", "ssim", "colour", "anchor", "exposure"} < set(lines[0])
    after = trainer.system.state_dict()
    for part in ("exposure", "restorer", "anchor"):
        assert any(not torch.equal(after[name], before[name]) for name in after if name.startswith(part))


def test_a_file_with_a_head_loads_also_without_its_settings(tmp_path):
    system, low = with_head(), dark()
    metadata = {"system": "wavelet_anchored", "config": system.config}
    save_weights(tmp_path / "head.safetensors", system.state_dict(), metadata, dtype=torch.float32)
    torch.save(system.state_dict(), tmp_path / "plain.pt")
    expected = system.enhance_tensor(low)
    assert torch.equal(load(tmp_path / "head.safetensors").enhance_tensor(low), expected)
    plain = load(tmp_path / "plain.pt")
    assert plain.config.exposure == 4
    assert torch.equal(plain.exposure(low), system.exposure(low))


def test_bad_settings():
    with pytest.raises(ValueError, match="exposure must not be negative, got -1"):
        WaveletAnchoredConfig(exposure=-1)
