"""Published AnlightenDiff checkpoints: the names, weight normalisation of both kinds, and what is refused."""

from __future__ import annotations

import dataclasses
import os
import pickle
import warnings

import golden
import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from lowlight.checkpoints import CheckpointError, load, save_weights
from lowlight.cli import app
from lowlight.diffusion.schedules import alpha_bars, cosine_betas, linear_betas
from lowlight.systems.anlightendiff.checkpoint import anlightendiff_weights, detect_anlightendiff, fold_weight_norm
from lowlight.systems.anlightendiff.network import AnlightenDiffConfig, published_two_step
from lowlight.systems.anlightendiff.system import AnlightenDiff

ONE_STEP = AnlightenDiffConfig(widths=(8, 8, 12), timesteps=40, steps=40)
TWO_STEP = dataclasses.replace(ONE_STEP, two_step=True, stronger_cond=False)
CONFIGS = pytest.mark.parametrize("config", [ONE_STEP, TWO_STEP], ids=["one-step", "two-step"])


def network(config) -> AnlightenDiff:
    torch.manual_seed(0)
    return AnlightenDiff(config).eval()


def published_state(system: AnlightenDiff, kind: str = "old") -> dict[str, torch.Tensor]:
    """The names a published checkpoint has, for the weights of a system of any size; `kind` of weight normalisation."""
    gain, direction = {
        "old": ("weight_g", "weight_v"),
        "new": ("parametrizations.weight.original0", "parametrizations.weight.original1"),
    }[kind]
    state, generator = {}, torch.Generator().manual_seed(1)
    for name, weight in system.state_dict().items():
        # Conv2d alone: transposed convolutions are up levels' third part
        if weight.dim() == 4 and not (".ups." in name and ".2.conv." in name):
            stem = name.removesuffix("weight")
            state[stem + gain] = weight.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
            state[stem + direction] = weight * (0.5 + torch.rand(len(weight), 1, 1, 1, generator=generator))
        else:
            state[name] = weight
    encoders = ["encoder.model", "histroEncoder.model"] if system.config.two_step else ["encoder"]
    for encoder in encoders:
        state |= {f"{encoder}.mlp.0.weight": torch.zeros(4, 8), f"{encoder}.downs.0.0.mlp.1.bias": torch.zeros(8)}
    if system.config.two_step:
        again = {n: w for n, w in state.items() if n.startswith("encoder.")}
        state |= {f"histroEncoder.{n}": w for n, w in again.items()}
    betas = cosine_betas(system.config.timesteps)
    return state | {"model.betas": betas.float(), "model.alphas_cumprod": alpha_bars(betas).float()}


def write_lightning(path, state, **changes):
    content = {
        "epoch": 7,
        "global_step": 700,
        "pytorch-lightning_version": "1.9.0",
        "state_dict": state,
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": torch.tensor(0.7)}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 4e-4}]}],
        "lr_schedulers": [],
        "hparams_name": "config",
        "hyper_parameters": {"T": 40, "on_res": True},
    }
    torch.save(content | changes, path)
    return path


@pytest.mark.parametrize(
    ("name", "config"),
    [("anlightendiff", AnlightenDiffConfig()), ("anlightendiff_two_step", published_two_step())],
)
def test_published_names(name, config):
    """Every published tensor becomes one of ours, of its shape, or is one of the few kinds that are not needed."""
    shapes = golden.keys(name)
    state = {n: torch.ones(()).expand(s) for n, s in shapes.items()}
    state["model.betas"] = cosine_betas(100).float()
    weights, fields, ignored = anlightendiff_weights(state)
    assert fields == {"timesteps": 100, "steps": 100}
    assert ignored == []
    assert AnlightenDiffConfig(**detect_anlightendiff(weights) | fields) == config
    with torch.device("meta"):
        own = AnlightenDiff(config).state_dict()
    assert {n: w.shape for n, w in weights.items()} == {n: w.shape for n, w in own.items()}
    # what is left out: 14 buffers, the time layers of networks without a time, the second copy of the encoder
    kept = {n.removesuffix("_g").removesuffix("_v") for n in shapes} & set(weights)
    left = {n for n in shapes if n.removesuffix("_g").removesuffix("_v") not in kept}
    buffers = {n for n in left if n.startswith("model.")}
    assert len(buffers) == 14
    assert all("mlp" in n or n.startswith("histroEncoder.encoder.") for n in left - buffers)


@pytest.mark.parametrize("kind", ["old", "new"])
@CONFIGS
def test_lightning_checkpoint(tmp_path, config, kind):
    system = network(config)
    path = write_lightning(tmp_path / "last.ckpt", published_state(system, kind))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load(path, device="cpu")
    assert loaded.config == config
    assert not loaded.training
    for name, weight in system.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], weight, rtol=1e-6, atol=1e-7)
    low = torch.rand(1, 3, 20, 17) * 0.3
    assert loaded.enhance_tensor(low).shape == low.shape


def test_folding_is_torchs_weight_norm():
    """Both of PyTorch's weight normalisations give what the folded weights give."""
    for normalise in (nn.utils.weight_norm, nn.utils.parametrizations.weight_norm):
        layer = nn.Conv2d(5, 7, 3)
        with warnings.catch_warnings():
            # the old one is on its way out
            warnings.simplefilter("ignore")
            layer = normalise(layer)
        with torch.no_grad():
            for name, parameter in layer.named_parameters():
                parameter.mul_(torch.rand_like(parameter) + 0.5) if name != "bias" else parameter.add_(1)
        state = fold_weight_norm({f"a.b.{n}": w for n, w in layer.state_dict().items()})
        assert state.keys() == {"a.b.weight", "a.b.bias"}
        layer(torch.zeros(1, 5, 3, 3))  # the old one computes its weight in a call
        torch.testing.assert_close(state["a.b.weight"], layer.weight.detach(), rtol=1e-6, atol=1e-7)


def test_perceptual_weights_are_named_and_ignored(tmp_path):
    state = published_state(network(ONE_STEP))
    extra = {f"lpips.net.slice{i}.0.weight": torch.zeros(2) for i in range(5)} | {"model.loss_fn.lin0": torch.zeros(1)}
    path = write_lightning(tmp_path / "last.ckpt", state | extra)
    message = r"last\.ckpt: 6 tensors are no part of an AnlightenDiff and were ignored: lpips\.net\.slice0.* and 2 more"
    with pytest.warns(UserWarning, match=message):
        load(path, device="cpu")


def test_from_the_command_line(tmp_path):
    """A one-step and a two-step checkpoint through `lowlight enhance`, on a picture of an odd size."""
    Image.effect_mandelbrot((37, 21), (-2, -1, 1, 1), 50).convert("RGB").save(tmp_path / "dark.png")
    for config in (ONE_STEP, TWO_STEP):
        state = published_state(network(config)) | {"lpips.lin0.weight": torch.zeros(1)}
        model = write_lightning(tmp_path / "last.ckpt", state)
        target = tmp_path / f"bright{config.two_step}.png"
        result = CliRunner().invoke(
            app,
            ["enhance", str(tmp_path / "dark.png"), "-o", str(target), "-m", str(model), "--steps", "2"],
        )
        assert result.exit_code == 0, result.output
        assert "1 tensors are no part of an AnlightenDiff and were ignored: lpips.lin0.weight" in result.stderr
        with Image.open(target) as bright:
            assert bright.size == (37, 21)


@CONFIGS
def test_own_files(tmp_path, config):
    system = network(config)
    save_weights(tmp_path / "own.safetensors", system.state_dict(), {"system": "anlightendiff", "config": config})
    loaded = load(tmp_path / "own.safetensors", device="cpu")
    assert loaded.config == config
    settings = {"system": "anlightendiff", "network": dataclasses.asdict(config)}
    torch.save({"model": system.state_dict(), "ema": {}, "config": settings}, tmp_path / "last.pt")
    again = load(tmp_path / "last.pt", device="cpu")
    assert again.config == config
    for name, weight in system.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight)


FIRST = "encoder.downs.0.0.block1.block.1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.pop("model.unet.mid_block1.block1.block.1.bias"),
            r"lacks model\.unet\.mid_block1\.block1\S+bias$",
        ),
        (
            lambda s: s.pop(f"{FIRST}.weight_g"),
            r"but it lacks encoder\.downs\.0\.0\.block1\.block\.1\.weight_g, the other",
        ),
        (
            lambda s: s.pop(f"{FIRST}.weight_v"),
            r"but it lacks encoder\.downs\.0\.0\.block1\.block\.1\.weight_v, the other",
        ),
        (
            lambda s: [s.pop(f"{FIRST}.weight_{x}") for x in "gv"],
            r"lacks encoder\.downs\.0\.0\.block1\.block\.1\.weight$",
        ),
        (
            lambda s: s.update({f"{FIRST}.weight_v": torch.ones(8, 11, 3, 3)}),
            r"of another shape, encoder\.downs\.0\.0\S+weight \(8, 11, 3, 3\) instead of \(8, 12, 3, 3\)$",
        ),
        (
            lambda s: s.update({f"{FIRST}.weight_g": torch.ones(8)}),
            r"shapes \(8,\) and \(8, 12, 3, 3\) of encoder\.downs",
        ),
        (
            lambda s: s.update({"model.unet.mid_attn.to_qkv.weight": torch.ones(1)}),
            r"too many weights, model\.unet\.mid_attn",
        ),
        (lambda s: s[f"{FIRST}.bias"].fill_(torch.nan), r"not finite, encoder\.downs\.0\.0\.block1\.block\.1\.bias"),
        (
            lambda s: [s.pop(n) for n in list(s) if n.startswith("model.unet.downs.1.0.block1")],
            r"looks like an AnlightenDiff, but has no model\.unet\.downs\.1\.0\.block1\.block\.1\.weight",
        ),
        (
            lambda s: s.update({"model.betas": linear_betas(40, 1e-4, 0.02)}),
            r"its schedule model\.betas \(40,\) is not the published cosine one",
        ),
        (lambda s: [s.pop(n) for n in list(s) if n.startswith("encoder.")], r"lacks encoder\.\S+ .* and \d+ more"),
    ],
    ids=["bias", "g", "v", "weight", "shape", "g shape", "unknown in a network", "NaN", "level", "schedule", "encoder"],
)
def test_weights_that_do_not_fit(tmp_path, change, message):
    state = {name: tensor.clone() for name, tensor in published_state(network(ONE_STEP)).items()}
    change(state)
    path = write_lightning(tmp_path / "bad.ckpt", state)
    with pytest.raises(CheckpointError, match=message) as info:
        load(path, device="cpu")
    assert "bad.ckpt" in str(info.value)


def test_a_second_encoder_that_is_another(tmp_path):
    state = published_state(network(TWO_STEP))
    name = "histroEncoder.encoder.model.final_conv.1.bias"
    path = write_lightning(tmp_path / "bad.ckpt", state | {name: state[name] + 1})
    with pytest.raises(CheckpointError, match=rf"second copy of the encoder differs from the first in {name}"):
        load(path, device="cpu")
    # without the copy there is nothing to differ
    lean = {n: w for n, w in state.items() if not n.startswith("histroEncoder.encoder.")}
    assert load(write_lightning(tmp_path / "lean.ckpt", lean), device="cpu").config.two_step


class Evil:
    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_no_code_is_run(tmp_path):
    evil, mark = Evil(), tmp_path / "ran"
    evil.path = str(mark)
    path = write_lightning(tmp_path / "evil.ckpt", published_state(network(ONE_STEP)), hyper_parameters=evil)
    with pytest.raises(CheckpointError, match=r"refused: reading it would call \w+\.mkdir"):
        load(path)
    assert not mark.exists()
    # negative control: the file does what it threatens where nobody looks
    torch.load(path, weights_only=False, pickle_module=pickle)
    assert mark.exists()
