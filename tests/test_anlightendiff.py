"""AnlightenDiff against the published networks' outputs, and its behaviour at the edges."""

import dataclasses
from copy import deepcopy

import golden
import pytest
import torch

import lowlight_ext
from lowlight.scoring.steps import sampler_methods
from lowlight.systems.anlightendiff import network as networks
from lowlight.systems.anlightendiff.checkpoint import anlightendiff_weights, detect_anlightendiff
from lowlight.systems.anlightendiff.conditioning import condition_features, equalize
from lowlight.systems.anlightendiff.network import AnlightenDiffConfig, published_two_step
from lowlight.systems.anlightendiff.schedules import SAMPLERS, drds_rows
from lowlight.systems.anlightendiff.system import AnlightenDiff

OPERATOR = "diffusion_step"
SMALL = AnlightenDiffConfig(widths=(8, 8, 12), timesteps=20, steps=3)
VARIANTS = {
    "one-step": SMALL,
    "two-step": dataclasses.replace(SMALL, two_step=True, stronger_cond=False),
    "both": dataclasses.replace(SMALL, two_step=True, sampler="dpm++", spacing="leading"),
}


def published_system(name, config):
    """The system with the weights that the key list names, by way of the published names."""
    shapes = golden.keys(name)
    # the schedule's buffers are not filled, and the second copy of the encoder holds the encoder's weights
    state = golden.weights({n: s for n, s in shapes.items() if not n.startswith("histroEncoder.encoder.") and len(s)})
    state = {n: w for n, w in state.items() if not (n.startswith("model.") and n.count(".") == 1)}
    weights, _, ignored = anlightendiff_weights(state)
    assert not ignored
    assert AnlightenDiffConfig(**detect_anlightendiff(weights)) == config
    system = AnlightenDiff(config)
    system.load_state_dict(weights)
    # as lowlight.load places it on a CPU
    return system.eval().to(memory_format=torch.channels_last)


@pytest.fixture(scope="module")
def one_step():
    return published_system("anlightendiff", AnlightenDiffConfig())


@pytest.fixture(scope="module")
def two_step():
    return published_system("anlightendiff_two_step", published_two_step())


@pytest.fixture(scope="module", params=VARIANTS.values(), ids=VARIANTS)
def small(request):
    torch.manual_seed(0)
    return AnlightenDiff(request.param).eval()


def dark(tag="anlighten"):
    return 0.3 * golden.uniform01(f"{tag}/image", (1, 3, 64, 96))


# a network call sums its convolutions in another order than the published one's (channels_last): measured 1.1e-5;
# the loop divides by sqrt(alpha_bar_99) = 1 / 2000, and clips: measured 1.3e-5
NETWORK, LOOP = 3e-5, 1e-4


def agree(result, name, relative=NETWORK, system="anlightendiff"):
    expected = torch.from_numpy(golden.outputs(system)[name])
    assert result.shape == expected.shape
    assert (result - expected).abs().max() <= relative * expected.abs().max()


def test_features_and_center(one_step):
    agree(condition_features(dark()), "condition_features", relative=0)
    outputs = []
    with torch.no_grad():
        agree(one_step.encode(dark(), equalize(dark()), outputs), "center")
        agree(one_step.analyse(dark()).center, "center")
    expected = golden.outputs("anlightendiff")
    assert [list(x.shape[1:]) for x in outputs] == expected["feature_shapes"].tolist()
    agree(torch.stack([x.double().mean() for x in outputs]), "feature_means")


def test_denoiser(one_step):
    with torch.no_grad():
        condition = one_step.analyse(dark())
        agree(one_step.predict(condition, golden.normal("anlighten/unet_input", (1, 3, 64, 96)), 42), "unet_output")


def test_process(implementation):
    """DRDA, the mean of the posterior and one step of DRDS, through every backend."""
    backend, device = implementation
    system = AnlightenDiff(dataclasses.replace(SMALL, timesteps=100))
    x0, noise = (golden.normal(f"anlighten/{n}", (2, 3, 8, 8)).to(device) for n in ("x_start", "noise2"))
    center, t = golden.uniform01("anlighten/center2", (2, 3, 8, 8)).to(device), torch.tensor([7, 99], device=device)
    rows = drds_rows(system.alpha_bar, list(range(99, -1, -1))).flip(0).float()
    mean = rows.clone()
    # x0 is given in the place of eps
    mean[:, 0], mean[:, 1], mean[:, 7] = 0, 1, 0
    with lowlight_ext.use_backend(backend):
        x_t = lowlight_ext.anchored_q_sample(x0, t, system.alpha_bar, center=center, noise=noise)
        agree(x_t.cpu(), "q_sample", relative=1e-6)
        result = lowlight_ext.diffusion_step(noise, x0, mean, t=t.cpu(), center=center)
        agree(result.cpu(), "q_posterior_mean", relative=1e-6)
        result, estimate = lowlight_ext.diffusion_step(
            x0[:1], noise[1:], rows[42], center=center[:1], noise=noise[:1], clip=(-1, 1), return_x0=True
        )
        agree(result.cpu(), "p_sample", relative=1e-6)
        agree(estimate.cpu(), "p_sample_x0", relative=1e-6)


def step_noise(tag, asked):
    def noise(stream, shape):
        asked.append(stream)
        return golden.normal(f"{tag}/step_noise/{stream}", shape)

    return noise


def test_enhanced(one_step):
    asked = []
    agree(one_step.enhance_tensor(dark(), noise=step_noise("anlighten", asked)), "enhanced", relative=LOOP)
    # the start and the last step have no noise
    assert asked == list(range(99, 0, -1))


def test_two_step(two_step):
    tag, name = "anlighten-two-step", "anlightendiff_two_step"
    low = dark(tag)
    with torch.no_grad():
        color = two_step.encode(low, equalize(low))
        agree(color, "color_map", system=name)
        agree(two_step.estimate_histogram(color, equalize(low)), "histogram_estimate", system=name)
        agree(two_step.analyse(low).center, "center", system=name)
    agree(two_step.enhance_tensor(low, noise=step_noise(tag, [])), "enhanced", relative=LOOP, system=name)


def test_training_pair(one_step):
    low, high, t = dark(), golden.uniform01("anlighten/target", (1, 3, 64, 96)), torch.tensor([42])
    noise = golden.normal("anlighten/train_noise", (1, 3, 64, 96))
    with torch.no_grad():
        condition = one_step.analyse(low)
        prediction, target = one_step.noise_pair(condition, high, t=t, noise=noise)
        pictures = one_step.dfpl_pictures(condition, high, t, prediction, target)
    agree(prediction, "train_prediction")
    agree(target, "train_target")
    loss = torch.nn.functional.mse_loss(prediction, target).item()
    assert loss == pytest.approx(golden.outputs("anlightendiff")["loss_l2"].item(), rel=1e-5)
    for picture, name in zip(pictures, ("dfpl_image_pred", "dfpl_image_true"), strict=True):
        agree(picture, name)


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("anchor", [True, False])
def test_switches_of_the_chain(anchor, clip):
    """DRDS by the published formulas: without the centre from N(0, I) and without C phi, x0 clamped or not."""
    torch.manual_seed(0)
    config = dataclasses.replace(SMALL, timesteps=4, steps=4, use_center_sampler=anchor, clip_denoised=clip)
    system, low = AnlightenDiff(config).eval(), torch.rand(1, 3, 16, 16) * 0.3
    noise = {t: torch.randn(1, 3, 16, 16) for t in range(5)}
    bar = [*system.alpha_bar.tolist()]
    with torch.no_grad():
        condition = system.analyse(low)
        phi = 2 * condition.center - 1
        x, seen = phi if anchor else noise[4], []
        for t in (3, 2, 1, 0):
            before = bar[t - 1] if t else 1.0
            alpha, beta = bar[t] / before, 1 - bar[t] / before
            x0 = x / bar[t] ** 0.5 - (1 / bar[t] - 1) ** 0.5 * system.predict(condition, x, t)
            seen.append(x0 if not clip else x0.clamp(-1, 1))
            a, b = before**0.5 * beta / (1 - bar[t]), alpha**0.5 * (1 - before) / (1 - bar[t])
            sigma = (beta * (1 - before) / (1 - bar[t])) ** 0.5
            x = a * seen[-1] + b * x + (1 - a - b) * phi * anchor + (sigma * noise[t] if t else 0)
        walked = list(system.walk(condition, noise=lambda t, shape: noise[t]))
    assert (seen[0].abs().max() > 1) is not clip
    torch.testing.assert_close(walked, seen, atol=2e-4, rtol=2e-4)


def test_switches_of_the_process_and_networks():
    low, high, t = torch.rand(1, 3, 16, 16) * 0.3, torch.rand(1, 3, 16, 16), torch.tensor([7])
    noise = torch.randn(1, 3, 16, 16)
    plain = AnlightenDiff(dataclasses.replace(SMALL, use_center=False, stronger_cond=False, on_res=False)).eval()
    inputs = []
    plain.model["unet"].register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    with torch.no_grad():
        condition = plain.analyse(low)
        _, target = plain.noise_pair(condition, high, t=t, noise=noise)
        pictures = plain.dfpl_pictures(condition, high, t, noise)
    bar = plain.alpha_bar[7].item()
    x_t = bar**0.5 * (2 * high - 1) + (1 - bar) ** 0.5 * noise
    assert condition.features is None
    torch.testing.assert_close(target, noise)
    torch.testing.assert_close(inputs[0][:, :3], x_t)
    torch.testing.assert_close(pictures[0], ((x_t + 1) / 2).clamp(0, 1))
    block = AnlightenDiff(dataclasses.replace(SMALL, instance_norm=False)).model["unet"].mid_block1
    x, temb, mish = torch.randn(1, 12, 8, 8), torch.randn(1, 8), torch.nn.functional.mish
    with torch.no_grad():
        h = mish(block.block1(x)) + block.mlp(temb)[:, :, None, None]
        torch.testing.assert_close(block(x, temb=temb), mish(block.block2(h)) + x)
    whole, features = condition_features(low), condition_features(low, without=("histogram", "edges"))
    assert not features[:, 3:6].any()
    assert not features[:, 9:].any()
    assert torch.equal(features[:, [0, 1, 2, 6, 7, 8]], whole[:, [0, 1, 2, 6, 7, 8]])
    system = AnlightenDiff(dataclasses.replace(SMALL, without=("histogram", "color", "edges"))).eval()
    seen = []
    system.encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    system.enhance_tensor(low, steps=1)
    assert not seen[0][:, 3:].any()


def test_training_pair_takes_another_center():
    system, t = AnlightenDiff(SMALL), torch.tensor([3, 17])
    low, high, noise = torch.rand(2, 3, 16, 24) * 0.3, torch.rand(2, 3, 16, 24), torch.randn(2, 3, 16, 24)
    condition = system.analyse(low)._replace(center=high)
    prediction, target = system.noise_pair(condition, high, t=t, noise=noise)
    k = (1 - system.alpha_bar[t].sqrt()) / (1 - system.alpha_bar[t]).sqrt()
    torch.testing.assert_close(target, noise + k.float().view(2, 1, 1, 1) * (2 * high - 1))
    torch.nn.functional.mse_loss(prediction, target).backward()
    assert all(p.grad is not None for p in system.model.parameters())


def test_start_noise():
    """The noise of the first time, in its share; one of its own for every picture, the same for the same seed."""
    low = torch.rand(2, 3, 16, 24) * 0.3
    system = AnlightenDiff(dataclasses.replace(SMALL, timesteps=100, start_noise=True, spacing="inner")).eval()
    first, sigma = 66, (1 - system.alpha_bar[66].item()) ** 0.5
    seen = []
    system.predict = lambda condition, x_t, t: seen.append((t, x_t)) or x_t
    system.enhance_tensor(low, steps=2, sampler="ddim", seed=torch.tensor([3, 4]))
    z = lowlight_ext.normal((2, 3, 16, 24), torch.tensor([3, 4]), stream=100)
    with torch.no_grad():
        phi = 2 * system.analyse(low).center - 1
    assert seen[0][0] == first
    torch.testing.assert_close(seen[0][1], phi + sigma * z)
    seen.clear()
    system.enhance_tensor(low, steps=2, sampler="ddim", noise=lambda stream, shape: torch.full(shape, float(stream)))
    torch.testing.assert_close(seen[0][1], phi + sigma * 100)


@pytest.mark.parametrize("ratio", [1.0, 2.0])
def test_residual(ratio):
    system = AnlightenDiff(dataclasses.replace(SMALL, rescale_ratio=ratio))
    low, high = torch.tensor([0.1, 0.2, 0.3, 0.5]), torch.tensor([0.1, 0.4, 0.9, 0.2])
    x = system.residual(low, high)
    torch.testing.assert_close(x, 2 * ratio * (high - low) - 1)
    back = system.picture(low, x)
    if ratio == 1:
        # a pixel that gets darker is lost
        torch.testing.assert_close(back, torch.tensor([0.1, 0.4, 0.9, 0.5]))
    else:
        assert (back[:3] - high[:3]).abs().max() > 0.1


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (33, 31), (64, 96)])
def test_any_size(small, size):
    bright = small.enhance_tensor(torch.rand(1, 3, *size) * 0.1, steps=1)
    assert bright.shape == (1, 3, *size)
    assert ((bright >= 0) & (bright <= 1)).all()


def test_padding_is_right_and_bottom(small):
    low = torch.rand(1, 3, 22, 29) * 0.3
    padded = torch.nn.functional.pad(low, (0, 3, 0, 2), mode="reflect")
    drawn = {}

    def noise(stream, shape):
        assert shape == (1, 3, 24, 32)
        return drawn.setdefault(stream, torch.randn(shape))

    assert torch.equal(small.enhance_tensor(low, noise=noise), small.enhance_tensor(padded, noise=noise)[..., :22, :29])


def test_batch_and_seed():
    torch.manual_seed(0)
    system = AnlightenDiff(SMALL).eval()
    low = torch.rand(3, 3, 24, 16) * 0.1
    together = system.enhance_tensor(low, seed=torch.tensor([5, 6, 7]))
    alone = system.enhance_tensor(low[1:2], seed=6)
    # the rounding of another batch size, multiplied by 1 / sqrt(alpha_bar_T)
    torch.testing.assert_close(together[1:2], alone, rtol=0, atol=1e-3)
    assert (system.enhance_tensor(low[1:2], seed=8) - alone).abs().max() > 1e-2
    torch.testing.assert_close(system.enhance_tensor(low, seed=6)[1:2], alone, rtol=0, atol=1e-3)
    # the noise of the step from t is stream t
    given = system.enhance_tensor(low[1:2], noise=lambda t, shape: lowlight_ext.normal(shape, 6, stream=t))
    torch.testing.assert_close(given, alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("sampler", ["drds", "ddim", "dpm++"])
def test_steps_to_watch(small, sampler):
    low = torch.rand(2, 3, 21, 40) * 0.2
    calls = []
    handle = small.model["unet"].register_forward_pre_hook(lambda *_: calls.append(len(shown)))
    shown = []
    for picture in small.enhance_steps(low, steps=4, seed=3, sampler=sampler):
        assert not torch.is_inference(picture)
        assert torch.is_grad_enabled()
        shown.append(picture)
    handle.remove()
    # one network call a picture, when it is asked for
    assert calls == [0, 1, 2, 3]
    assert all(p.shape == low.shape and not p.requires_grad for p in shown)
    assert torch.equal(shown[-1], small.enhance_tensor(low, steps=4, seed=3, sampler=sampler))
    assert not torch.equal(shown[0], shown[-1])


def test_only_drds_draws_noise(small):
    low = torch.rand(1, 3, 16, 16) * 0.2
    for sampler, equal in (("drds", False), ("ddim", True), ("dpm++", True)):
        results = [small.enhance_tensor(low, seed=seed, sampler=sampler) for seed in (0, 1)]
        assert torch.equal(*results) is equal, sampler


def test_defaults_are_the_configurations(small):
    low = torch.rand(1, 3, 16, 16) * 0.2
    config = small.config
    explicit = small.enhance_tensor(low, steps=config.steps, sampler=config.sampler)
    assert torch.equal(small.enhance_tensor(low), explicit)
    assert not torch.equal(small.enhance_tensor(low, steps=5), explicit)


def test_samplers_can_be_compared(small):
    """`lowlight steps` takes a system's samplers by their names."""
    methods = sampler_methods(small, small.samplers, [1, 2])
    assert [m.name for m in methods] == [f"{sampler} {steps}" for steps in (1, 2) for sampler in SAMPLERS]
    low = torch.rand(3, 16, 16) * 0.2
    for method, sampler in zip(methods, SAMPLERS, strict=False):
        assert torch.equal(method.run(low, 5), small.enhance_tensor(low[None], steps=1, seed=5, sampler=sampler)[0])


def test_wrong_inputs(small):
    for call in (small.enhance_tensor, small.enhance_steps):
        with pytest.raises(ValueError, match=r"low must be \[B, 3, H, W\], got \(3, 8, 8\)"):
            call(torch.rand(3, 8, 8))
        with pytest.raises(ValueError, match=r"steps must lie in 1 \.\. 20, got 21"):
            call(torch.rand(1, 3, 8, 8), steps=21)
        with pytest.raises(ValueError, match=r"steps must lie in 1 \.\. 20, got 0"):
            call(torch.rand(1, 3, 8, 8), steps=0)
        with pytest.raises(ValueError, match="sampler must be one of drds"):
            call(torch.rand(1, 3, 8, 8), sampler="euler")
    for wrong in ({"widths": (8,)}, {"widths": (7, 8)}, {"spacing": "even"}, {"steps": 101}, {"rescale_ratio": 0.0},
                  {"without": ("blur",)}, {"use_center": False}):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(wrong))):
            AnlightenDiffConfig(**wrong)


def called(system, low):
    """The center and one call of the denoiser: the whole loop multiplies rounding errors by 1 / sqrt(alpha_bar_T)."""
    with torch.no_grad():
        condition = system.analyse(low)
        x_t = lowlight_ext.normal(tuple(low.shape), 1)
        return torch.cat([condition.center, system.predict(condition, x_t, 11)])


def test_strips_are_exact(small, monkeypatch):
    low = torch.rand(1, 3, 160, 24) * 0.2
    whole = called(small, low)
    monkeypatch.setattr(networks, "_STRIP_BYTES", 1)
    torch.testing.assert_close(called(small, low), whole, rtol=0, atol=1e-5)
    # negative control: strips that do not see their neighbours
    in_strips = networks.in_strips
    monkeypatch.setattr(networks, "in_strips", lambda f, x, rows, halo: in_strips(f, x, rows, 0))
    assert (called(small, low) - whole).abs().max() > 1e-3


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.3), (torch.float64, 1e-5)])
def test_weights_of_another_precision(dtype, tolerance):
    torch.manual_seed(0)
    system = AnlightenDiff(SMALL).eval()
    low = torch.rand(1, 3, 32, 32) * 0.2
    expected = called(system, low)
    other = deepcopy(system).to(dtype)
    assert other.enhance_tensor(low).dtype == called(other, low).dtype == torch.float32
    torch.testing.assert_close(called(other, low), expected, rtol=0, atol=tolerance)
