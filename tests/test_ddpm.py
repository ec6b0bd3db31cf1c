"""The DDPM against the diffusers library: process, network, files; what it refuses; anchored and other processes."""

import json
import math

import pytest
import torch
from typer.testing import CliRunner

from lowlight.checkpoints import CheckpointError, load, save_weights
from lowlight.cli import app
from lowlight.diffusion.schedules import alpha_bars, ddpm_rows, named_betas, zero_terminal_snr
from lowlight.systems.ddpm.checkpoint import save_diffusers
from lowlight.systems.ddpm.config import DDPMConfig
from lowlight.systems.ddpm.system import DDPM
from lowlight_ext import diffusion_step, normal

SMALL = {"widths": (8, 16), "layers": 1, "attention_levels": (1,), "norm_groups": 4, "timesteps": 20, "start": 5}
# a UNet2DModel's configuration, and ours of the same network
NETWORKS = (
    (
        {"block_out_channels": (16, 24, 32), "norm_num_groups": 8, "attention_head_dim": 8},
        {"widths": (16, 24, 32), "norm_groups": 8},
    ),
    # as the published DDPMs are
    (
        {
            "block_out_channels": (16, 24, 32), "norm_num_groups": 8, "attention_head_dim": None,
            "flip_sin_to_cos": False, "freq_shift": 1, "downsample_padding": 0, "norm_eps": 1e-6, "layers_per_block": 1,
        },
        {
            "widths": (16, 24, 32), "norm_groups": 8, "head_width": None, "cosine_first": False, "frequency_shift": 1,
            "downsample_padding": 0, "norm_eps": 1e-6, "layers": 1,
        },
    ),
)  # fmt: skip


def unet2d(**options):
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    blocks = {
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    }
    return diffusers.UNet2DModel(sample_size=16, in_channels=3, out_channels=3, **blocks, **options).eval()


def small(seed=0, **options):
    torch.manual_seed(seed)
    return DDPM(DDPMConfig(**SMALL | options)).eval()


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_train_timesteps": 50, "clip_sample": False},
        {"beta_start": 0.001, "beta_end": 0.01},
        {"beta_start": 0.0005, "beta_end": 0.015, "clip_sample_range": 0.7},
        {"beta_start": 0.0005, "beta_end": 0.15},
        {"beta_schedule": "scaled_linear", "timestep_spacing": "trailing"},
        {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"},
        {"beta_schedule": "sigmoid", "prediction_type": "sample", "steps_offset": 1},
        {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "timestep_spacing": "linspace"},
    ],
    ids=lambda options: "-".join(map(str, options.values())) or "tutorial",
)
@pytest.mark.parametrize("steps", [None, 10])
def test_the_process_agrees_with_diffusers(variance, options, steps):
    """add_noise and every step with the same noise, tables in float32 as theirs; their large log is not finite."""
    diffusers = pytest.importorskip("diffusers")
    options = {"num_train_timesteps": 1000, **options}
    # the formula, which theirs is but for its logarithm's root: the standard deviation is exp(0.5 log beta)
    theirs = diffusers.DDPMScheduler(**options, variance_type=variance.replace("large_log", "large"))
    if steps:
        theirs.set_timesteps(steps)
    times = theirs.timesteps.tolist()
    chosen = [0, 1, len(times) // 2, len(times) - 2, len(times) - 1]
    betas = named_betas(
        options.get("beta_schedule", "linear"), options["num_train_timesteps"],
        options.get("beta_start", 1e-4), options.get("beta_end", 0.02), torch.float32,
    )  # fmt: skip
    if options.get("rescale_betas_zero_snr"):
        betas = zero_terminal_snr(betas)
    torch.testing.assert_close(betas, theirs.betas, rtol=0, atol=1e-7)
    table = alpha_bars(betas, torch.float32)
    rows = ddpm_rows(table, times, variance, options.get("prediction_type", "epsilon"), torch.float32)
    assert rows.isfinite().all()
    clip = options.get("clip_sample_range", 1.0) if options.get("clip_sample", True) else None
    x, out, z = (torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(k)) for k in range(3))
    noised = DDPM.add_noise(type("Table", (), {"alpha_bar": table})(), x, torch.tensor([3, 7]), z)[0]
    torch.testing.assert_close(noised, theirs.add_noise(x, z, torch.tensor([3, 7])), rtol=0, atol=1e-6)
    for i in chosen:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *a, **k: z)
            wanted = theirs.step(out, times[i], x)
        row = rows[i]
        noise = z if row[7] else None
        stepped, x0 = diffusion_step(
            x, out, row, noise=noise, clip=None if clip is None else (-clip, clip), return_x0=True
        )
        bound = 1e-6 * max(1.0, row[0].abs().item() * x.abs().max().item())
        torch.testing.assert_close(x0, wanted.pred_original_sample, rtol=0, atol=bound)
        torch.testing.assert_close(
            stepped, wanted.prev_sample, rtol=0, atol=1e-6 * max(1, wanted.prev_sample.abs().max().item())
        )


def test_the_large_logarithm_is_finite():
    """diffusers takes the square root of log beta, which is NaN; the formula is exp(0.5 log beta)."""
    betas = named_betas("linear", 1000, 1e-4, 0.02)
    rows = ddpm_rows(alpha_bars(betas), list(range(999, -1, -1)), "fixed_large_log")
    torch.testing.assert_close(rows[:-1, 7], betas.flip(0)[:-1].sqrt(), rtol=1e-9, atol=0)
    assert rows[-1, 7] == 0


def test_zero_terminal_snr_leaves_no_signal():
    betas = named_betas("linear", 1000, 1e-4, 0.02)
    table = alpha_bars(zero_terminal_snr(betas))
    assert alpha_bars(betas)[-1].sqrt() > 6e-3
    assert table[-1] == 0
    torch.testing.assert_close(table[0], 1 - betas[0])
    assert ddpm_rows(table, [999, 500, 0], prediction="v_prediction").isfinite().all()
    with pytest.raises(ValueError, match="ends at alpha_bar 0 needs v_prediction or sample, got epsilon"):
        ddpm_rows(table, [999, 500, 0])


@pytest.mark.parametrize("name", ["v_prediction", "sample"])
def test_other_predictions_walk_the_same_way(name):
    """What a network that predicts noise would say, told as v or as x0, makes the same step."""
    table = alpha_bars(named_betas("linear", 1000, 1e-4, 0.02))
    x0, eps = (normal((2, 3, 4, 4), seed, dtype=torch.float64) for seed in (1, 2))
    ab = table[700]
    x_t = ab.sqrt() * x0 + (1 - ab).sqrt() * eps
    out = {"v_prediction": ab.sqrt() * eps - (1 - ab).sqrt() * x0, "sample": x0}[name]
    rows = [ddpm_rows(table, [700, 300], prediction=kind)[0] for kind in ("epsilon", name)]
    wanted, got = (diffusion_step(x_t, o, row, seed=3) for o, row in zip((eps, out), rows, strict=True))
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)
    system = small(prediction=name)
    t = torch.tensor([4, 11])
    kept = {"v_prediction": lambda a: a.sqrt() * eps - (1 - a).sqrt() * x0, "sample": lambda a: x0}[name]
    target = system.target(x0, eps, t)
    torch.testing.assert_close(target, kept(system.alpha_bar[t].view(-1, 1, 1, 1)), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("theirs", "ours"), NETWORKS, ids=["tutorial", "published"])
def test_the_network_is_a_unet2dmodel(tmp_path, theirs, ours):
    """The same outputs on random weights, both ways through a folder of the diffusers library."""
    diffusers = pytest.importorskip("diffusers")
    reference = unet2d(**theirs)
    scheduler = diffusers.DDPMScheduler(variance_type="fixed_large", clip_sample=False, beta_end=0.03)
    diffusers.DDPMPipeline(reference, scheduler).save_pretrained(tmp_path / "pipeline")
    system = load(tmp_path / "pipeline", device="cpu")
    wanted = DDPMConfig(**ours, attention_levels=(1,), variance="fixed_large", clip=None, beta_end=0.03, start=50,
                        spacing="leading")  # fmt: skip
    assert system.config == wanted
    x, t = normal((2, 3, 16, 24), 1), torch.tensor([3, 700])
    with torch.no_grad():
        expected = reference(x, t).sample
        torch.testing.assert_close(system.predict(x, t), expected, rtol=0, atol=1e-5)
    save_weights(tmp_path / "own.safetensors", system.state_dict(), {"system": "ddpm", "config": system.config},
                 torch.float32)  # fmt: skip
    exported = CliRunner().invoke(app, ["export", str(tmp_path / "own.safetensors"), str(tmp_path / "back")])
    assert "a DDPMPipeline of the diffusers library" in exported.output
    again = diffusers.DDPMPipeline.from_pretrained(tmp_path / "back")
    with torch.no_grad():
        torch.testing.assert_close(again.unet.eval()(x, t).sample, expected, rtol=0, atol=1e-6)
    process = again.scheduler.config
    assert (process.variance_type, process.clip_sample, process.beta_end) == ("fixed_large", False, 0.03)
    # without its configuration a file tells its widths, and the rest is the tutorial's
    if ours.get("head_width", 8) == 8:
        torch.save(reference.state_dict(), tmp_path / "bare.pth")
        with pytest.raises(CheckpointError, match="norm_groups 32"):
            load(tmp_path / "bare.pth", device="cpu")


def test_other_networks_of_diffusers_are_refused(tmp_path):
    unet2d(block_out_channels=(16, 24, 32), norm_num_groups=8, resnet_time_scale_shift="scale_shift").save_pretrained(
        tmp_path
    )
    with pytest.raises(CheckpointError, match="not the U-Net of a plain DDPM: resnet_time_scale_shift = scale_shift"):
        load(tmp_path, device="cpu")
    (tmp_path / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"has no diffusion_pytorch_model\.safetensors or"):
        load(tmp_path, device="cpu")
    (tmp_path / "diffusion_pytorch_model.bin").touch()
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read as JSON"):
        load(tmp_path, device="cpu")


def test_a_perfect_network_gives_the_picture_back():
    """With the noise that was added as its prediction, a picture comes back through all steps, anchored or not."""
    truth = normal((2, 3, 8, 8), 5).sigmoid() * 0.5
    for options in ({}, {"prediction": "v_prediction", "zero_terminal_snr": True}, {"anchor": 2, "anchor_gain": 2.0}):
        system = small(**options)

        def perfect(x_t, t, system=system):
            """The noise in x_t of this truth."""
            ab, x0 = system.alpha_bar[t].float(), 2 * truth - 1
            eps = (x_t - ab.sqrt() * x0) / (1 - ab).sqrt()
            return system.target(x0, eps, torch.full((2,), t))

        system.predict = perfect
        torch.testing.assert_close(system.enhance_tensor(truth), truth, rtol=0, atol=2e-6)
        made = system.generate((2, 8, 8), center=system.center(truth))
        torch.testing.assert_close(made, truth, rtol=0, atol=2e-6)


def test_an_anchored_process_ends_at_the_blur():
    """Its last x_t has the mean of the anchor, the plain one's has none."""
    truth = torch.full((1, 3, 8, 8), 0.2)
    for options, mean in (({"anchor": 2, "anchor_gain": 2.0}, 2 * 0.4 - 1), ({}, 0.0)):
        system = small(timesteps=1000, **options)
        x_t, noise = system.add_noise(2 * truth - 1, torch.tensor([999]), torch.zeros_like(truth), system.center(truth))
        assert x_t.mean().item() == pytest.approx(mean, abs=5e-3)
        assert (noise.abs().max() > 0) == bool(options)


def test_a_picture_of_any_size_and_its_steps():
    system = small()
    low = normal((1, 3, 7, 11), 2).sigmoid()
    result = system.enhance_tensor(low, seed=3)
    assert result.shape == low.shape
    steps = list(system.enhance_steps(low, seed=3))
    assert len(steps) == system.config.steps == 6
    torch.testing.assert_close(steps[-1], result, rtol=0, atol=0)
    assert not torch.equal(result, system.enhance_tensor(low, seed=4))
    # pictures alone and in a batch get the same noise
    both = system.enhance_tensor(low.repeat(2, 1, 1, 1), seed=torch.tensor([9, 3]))
    torch.testing.assert_close(both[1:], result, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="sampler must be ddpm, got 'ddim'"):
        system.enhance_tensor(low, sampler="ddim")
    with pytest.raises(ValueError, match=r"steps must lie in 1 \.\. 6, got 9"):
        system.enhance_tensor(low, steps=9)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timesteps": 50, "start": 50}, r"start must lie in 0 .. timesteps - 1 = 49, got 50"),
        ({"variance": "learned"}, "variance must be one of fixed_small, .*, got 'learned'"),
        ({"zero_terminal_snr": True}, "prediction must not be epsilon with zero_terminal_snr"),
        ({"anchor": 4, "prediction": "sample"}, "prediction must be epsilon with an anchor"),
        ({"widths": (8, 18)}, "widths must be multiples of norm_groups 4"),
        ({"attention_levels": (2,)}, r"attention_levels must lie in 0 .. 1"),
        ({"beta_end": 1.5}, r"beta_start, beta_end must lie in \(0, 1\)"),
    ],
)
def test_impossible_configurations(options, words):
    with pytest.raises(ValueError, match=words):
        DDPMConfig(**SMALL | options)


def test_generate(tmp_path):
    """The command: pictures in files, the same for the same seed, and what it refuses."""
    for name, options in {"plain": {}, "anchored": {"anchor": 2}}.items():
        system = small(**options)
        save_weights(tmp_path / f"{name}.safetensors", system.state_dict(), {"system": "ddpm", "config": system.config},
                     torch.float32)  # fmt: skip

    def generate(model, *arguments, code=0):
        result = CliRunner().invoke(app, ["generate", str(tmp_path / f"{model}.safetensors"), *map(str, arguments)])
        assert result.exit_code == code, result.output
        return " ".join(result.output.replace("│", " ").split())

    said = generate("plain", "-n", 3, "-o", tmp_path / "a", "--size", 8, "--steps", 4)
    assert "3 pictures of 8 x 8" in said
    few = ("-n", 2, "-o", tmp_path / "b", "--size", 8, "--steps", 4)
    told = json.loads(generate("plain", *few, "--json", "-q"))
    assert told == {"folder": str(tmp_path / "b"), "size": 8, "pictures": ["00000.png", "00001.png"]}
    assert generate("plain", *few, "-q") == ""
    assert f"{tmp_path / 'b' / '00001.png'}: seed 1" in generate("plain", *few, "-v")
    generate("plain", "-n", 1, "-o", tmp_path / "c", "--size", 8, "--steps", 4, "--seed", 1)
    files = sorted((tmp_path / "a").iterdir())
    assert [file.name for file in files] == ["00000.png", "00001.png", "00002.png"]
    bytes_of = {folder: (tmp_path / folder / "00000.png").read_bytes() for folder in "abc"}
    assert bytes_of["a"] == bytes_of["b"] != bytes_of["c"]
    assert "has no anchor" in generate("plain", "--like", tmp_path / "a", code=2)
    assert "give --like FOLDER" in generate("anchored", code=2)
    generate("anchored", "-n", 1, "-o", tmp_path / "d", "--size", 8, "--like", tmp_path / "a")
    assert "sides must be multiples of 2" in generate("plain", "--size", 9, code=2)
    assert "brightens pictures; a DDPM makes new ones" in " ".join(
        CliRunner().invoke(app, ["generate", "default", "-n", "1"]).output.replace("│", " ").split()
    )


def test_diffusers_has_no_anchor(tmp_path):
    with pytest.raises(ValueError, match="has no anchored process"):
        save_diffusers(small(anchor=2), tmp_path)
    assert not any(tmp_path.iterdir())
    assert math.isclose(small().rows([5, 0])[-1, 7], 0)
