"""ExposureDiffusion against the published networks' outputs, and its behaviour at the edges."""

import math
from copy import deepcopy

import golden
import pytest
import torch
import torch.nn.functional as F

import lowlight_ext
from lowlight.enhance import enhance
from lowlight.metrics.losses import mixed_loss
from lowlight.systems.exposurediffusion.network import ExposureDiffusionConfig, predict, published
from lowlight.systems.exposurediffusion.process import even_ratios, illuminance_gain
from lowlight.systems.exposurediffusion.system import ExposureDiffusion

OPERATOR = "exposure_step"
S = 15583.0
NETWORKS = {
    "unet": published("unet"),
    "unet_concat": published("unet", concat_origin=True),
    "naf2": published("naf2"),
    "naf2_concat": published("naf2", concat_origin=True),
    "unet_plain": published("unet", with_photon=False, adaptive=False),
}
SMALL = {
    "unet": published("unet", width=4),
    "unet-resid": published("unet", width=4, adaptive=False, resid=True, concat_origin=True),
    "naf3": published("naf3", width=4),
    "naf": published("naf", width=4, adaptive=False, with_photon=False),
    "unet-gain": published("unet", width=4, concat_origin=True, with_gain=True),
}
# another order of the sums of a convolution: measured 2e-7 (unet) and 5e-6 (naf, which divides by deviations); the
# chain adds three calls: measured 6e-7 and 2e-5
AGREEMENT = {"unet": 2e-6, "naf2": 1e-4}


@pytest.fixture(scope="module")
def systems():
    """The published networks with the weights of their key lists."""
    made = {name: ExposureDiffusion(config).eval() for name, config in NETWORKS.items()}
    for name, system in made.items():
        system.netG.load_state_dict(golden.weights(golden.keys("exposurediffusion")[name]))
    return made


@pytest.fixture(scope="module", params=SMALL.values(), ids=SMALL)
def small(request):
    return network(request.param)


def network(config) -> ExposureDiffusion:
    torch.manual_seed(0)
    system = ExposureDiffusion(config).eval()
    # new blocks of a NAFNet do nothing
    for name, parameter in system.named_parameters():
        if name.endswith(("beta", "gamma")):
            torch.nn.init.normal_(parameter, std=0.3)
    return system


def agree(result, name, relative):
    expected = torch.from_numpy(golden.outputs("exposurediffusion")[name])
    assert result.shape == expected.shape
    assert (result - expected).abs().max() <= relative * expected.abs().max()


def noisy():
    return 0.7 * golden.uniform01("exposure/noisy", (1, 4, 64, 96))


def clean():
    return 0.98 * golden.uniform01("exposure/clean", (1, 4, 64, 96))


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(systems, name):
    system, tolerance = systems[name], AGREEMENT[name.split("_")[0]]
    inputs = 0.6 * golden.uniform01(f"exposure/{name}/input", (1, system.config.in_channels, 64, 96))
    picture, parts = predict(system.netG, system.config, inputs)
    assert picture.requires_grad
    agree(picture.detach(), f"{name}/output", tolerance)
    if name == "unet_plain":
        assert parts is None
    else:
        agree(parts.mask.detach(), f"{name}/mask", tolerance)


class Says(torch.nn.Module):
    """A network that says the same of every picture."""

    def __init__(self, said):
        super().__init__()
        self.said = torch.nn.Parameter(said)

    def forward(self, x):
        return self.said.expand(-1, -1, *x.shape[-2:])


def test_what_a_network_says():
    """The mix, its clipping, its gradients, and the three ways without one, by hand."""
    x = torch.tensor([0.1, 0.2, 0.3, 0.9]).view(1, 4, 1, 1)
    inputs = torch.cat([x, 5 * torch.ones(1, 8, 1, 1)], dim=1)
    out, resid = torch.tensor([-1.0, 0.4, 2.0, 0.5]), torch.tensor([0.1, -1.0, 0.1, 0.5])
    said = torch.cat([torch.tensor([3.0]).log(), out, resid]).view(1, 9, 1, 1)
    config = published("unet", concat_origin=True)
    net = Says(said)
    picture, parts = predict(net, config, inputs)
    torch.testing.assert_close(parts.mask.flatten(), torch.tensor([0.75]))
    torch.testing.assert_close(parts.out.flatten(), out)
    torch.testing.assert_close(parts.out_by_resid.flatten(), torch.tensor([0.2, 0.0, 0.4, 1.0]))
    torch.testing.assert_close(picture.flatten(), torch.tensor([0.05, 0.3, 0.85, 0.625]))
    (gradient,) = torch.autograd.grad(picture.sum(), net.said)
    expected = [0.75 * 0.25 * (-0.2 + 0.4 + 0.6 - 0.5), 0, 0.75, 0, 0.75, 0.25, 0, 0.25, 0]
    torch.testing.assert_close(gradient.flatten(), torch.tensor(expected))
    said = torch.tensor([-0.5, 0.4, 0.1, 2.0]).view(1, 4, 1, 1)
    for config, expected in (
        (published("unet", adaptive=False), [0.0, 0.4, 0.1, 1.0]),
        (published("unet", adaptive=False, resid=True), [0.6, 0.0, 0.2, 0.0]),
        (published("naf", adaptive=False), [0.0, 0.6, 0.4, 1.0]),
    ):
        picture, parts = predict(Says(said), config, inputs)
        assert parts is None
        torch.testing.assert_close(picture.flatten(), torch.tensor(expected))


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("name", [n for n in NETWORKS if n != "unet_plain"])
def test_chain(systems, name, steps):
    """The paper protocol through training's door, with gradients, and through enhance_tensor without."""
    system, tolerance = systems[name], AGREEMENT[name.split("_")[0]]
    arguments = {"target": clean(), "poisson": lambda mean: mean}
    estimates = list(system.outputs(noisy(), even_ratios(100.0, steps), 0.8, **arguments))
    assert all(e.picture.requires_grad for e in estimates)
    agree(torch.cat([e.picture for e in estimates]).detach(), f"{name}/exposure_all_{steps - 1}", tolerance)
    last = system.enhance_tensor(noisy(), ratio=100, K=0.8, steps=steps, protocol="paper", **arguments)
    assert not last.requires_grad
    agree(last, f"{name}/exposure_steps_{steps - 1}", tolerance)


def test_chain_on_every_backend(implementation, systems):
    backend, device = implementation
    system = deepcopy(systems["unet"]).to(device)
    low, high = noisy().to(device), clean().to(device)
    with lowlight_ext.use_backend(backend):
        result = system.enhance_tensor(low, ratio=100, K=0.8, protocol="paper", target=high, poisson=lambda m: m)
    # convolutions of a GPU sum in another order than the CPU's
    agree(result.cpu(), "unet/exposure_steps_2", AGREEMENT["unet"] if device == "cpu" else 1e-4)


def test_mixed_loss(systems):
    inputs = 0.6 * golden.uniform01("exposure/unet/input", (1, 8, 64, 96))
    picture, parts = predict(systems["unet"].netG, systems["unet"].config, inputs)
    torch.testing.assert_close(parts.out.clamp(0, 1) * parts.mask + parts.out_by_resid * (1 - parts.mask), picture)
    ones, target = torch.ones(1, 1, 2, 2), torch.full((1, 4, 2, 2), 0.25)
    out, other = torch.full_like(target, 1.5), torch.zeros_like(target)
    assert mixed_loss(out, other, ones, target) == 1.25
    assert mixed_loss(out, other, 0 * ones, target) == 0.25
    assert mixed_loss(out, other, 0.5 * ones, target) == 0.75


def plain_chain(system, original, ratios, K, target, draw):
    """The published chain in plain PyTorch, straight through the counts by hand."""
    ratio, x, outputs = ratios[-1], original, []
    for i in range(len(ratios) - 1):
        current, following = ratios[i], ratios[i + 1]
        gain = torch.full_like(x[:, :1], math.log10(current / ratio / K) / 2 + 1)
        inputs = [x, (x / (ratio / current) / K * S) / S, original, gain]
        kept = [True, system.config.with_photon, system.config.concat_origin, system.config.with_gain]
        inputs = torch.cat([part for part, keep in zip(inputs, kept, strict=True) if keep], dim=1)
        output, _ = predict(system.netG, system.config, inputs)
        if target is not None:
            p, g = output.clamp(0, 1)[target != 1], target[target != 1]
            output = output * (p @ g) / (p @ p)
        outputs.append(output)
        m = output.clamp(0, 1) / (ratio / (following - 1)) / K * S
        n = original.clamp(0, 1) / ratio / K * S + m + (draw(m, i) - m).detach()
        x = n / following * ratio * K / S
    return outputs


@pytest.mark.parametrize("protocol", ["blind", "paper"])
def test_gradients(small, protocol):
    """Values and gradients of the whole chain against plain PyTorch, to the weights and to the input."""
    system, low = deepcopy(small).double(), torch.rand(1, 4, 32, 16, dtype=torch.float64)
    target = torch.rand_like(low) if protocol == "paper" else None
    if target is not None:
        target[..., :4] = 1
    ratios, K = [1.0, 17.0, 60.0, 100.0], 2.5

    def values(chain):
        original = low.clone().requires_grad_()
        outputs = chain(original)
        weighted = sum((i + 1) * o.square().sum() for i, o in enumerate(outputs))
        return [*outputs, *torch.autograd.grad(weighted, [original, *system.parameters()])]

    def poisson(m, i):
        return lowlight_ext.poisson(m.detach(), torch.tensor([3]), stream=i)

    for own, draw in (({"poisson": lambda m: m}, lambda m, i: m), ({"seed": 3}, poisson)):
        expected = values(lambda x, d=draw: plain_chain(system, x, ratios, K, target, d))
        got = values(lambda x, o=own: [e.picture for e in system.outputs(x, ratios, K, target=target, **o)])
        assert len(got) == len(expected) == 4 + len(list(system.parameters()))
        for a, b in zip(got, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_noise_is_poisson_of_the_mean():
    """Without a callback the operator draws what lowlight_ext.poisson draws of the mean that the callback sees."""
    system = network(SMALL["unet"])
    low, means = torch.rand(1, 4, 16, 32), []

    def drawn(mean):
        means.append(mean)
        return lowlight_ext.poisson(mean, torch.tensor([7]), stream=len(means) - 1)

    given = system.enhance_tensor(low, ratio=40.0, K=1.5, steps=4, poisson=drawn)
    assert len(means) == 3
    torch.testing.assert_close(given, system.enhance_tensor(low, ratio=40.0, K=1.5, steps=4, seed=7))
    other = system.enhance_tensor(low, ratio=40.0, K=1.5, steps=4, seed=8)
    assert (other - given).abs().max() > 1e-4


def test_batch_ratio_and_seed(small):
    """Each picture of a batch, with its own ratio, gain and seed, is what it is alone."""
    low, target = torch.rand(3, 4, 32, 16), torch.rand(3, 4, 32, 16)
    ratio, K, seeds = torch.tensor([100.0, 250.0, 1.0]), torch.tensor([0.8, 2.0, 9.0]), torch.tensor([5, 6, 7])
    for arguments in ({}, {"protocol": "paper"}):
        paper = bool(arguments)
        together = small.enhance_tensor(
            low, ratio=ratio, K=K, seed=seeds, target=target if paper else None, **arguments
        )
        for i in range(3):
            picture = slice(i, i + 1)
            alone = small.enhance_tensor(
                low[picture],
                ratio=ratio[i].item(),
                K=K[i].item(),
                seed=int(seeds[i]),
                target=target[picture] if paper else None,
                **arguments,
            )
            # the rounding of another batch size can move a mean over the edge of another count
            torch.testing.assert_close(together[picture], alone, rtol=0, atol=5e-3)
    assert (small.enhance_tensor(low, ratio=ratio, K=2 * K, seed=seeds) - together).abs().max() > 1e-3


@pytest.mark.parametrize("size", [(1, 1), (5, 1), (16, 16), (17, 30), (48, 64)])
def test_any_size(small, size):
    low, target = torch.rand(1, 4, *size), torch.rand(1, 4, *size)
    blind = small.enhance_tensor(low, ratio=100, K=0.8)
    assert blind.shape == low.shape
    assert ((blind >= 0) & (blind <= 1)).all()
    assert small.enhance_tensor(low, ratio=100, K=0.8, protocol="paper", target=target).isfinite().all()


def test_gain_does_not_see_the_padding():
    system, low = network(SMALL["unet"]), torch.rand(2, 4, 18, 21)
    target = 0.3 * torch.rand(2, 4, 18, 21)
    result = system.enhance_tensor(low, ratio=100, K=0.8, protocol="paper", target=target)
    torch.testing.assert_close(illuminance_gain(result, target), torch.ones(2, 1, 1, 1))


def test_padding():
    """A unet sees the reflection to the right and below, a naf pads with zeros after its input is made."""
    low = torch.rand(1, 4, 20, 27)
    for config, mode in ((SMALL["unet"], "reflect"), (SMALL["naf3"], "constant")):
        system = network(config)
        padded = system.enhance_tensor(F.pad(low, (0, 5, 0, 12), mode), ratio=100, K=0.8, steps=1)
        result = system.enhance_tensor(low, ratio=100, K=0.8, steps=1)
        torch.testing.assert_close(result, padded[..., :20, :27], rtol=0, atol=1e-6)


def test_steps_to_watch(small):
    low, calls, shown = torch.rand(2, 4, 16, 20), [], []
    handle = small.netG.register_forward_pre_hook(lambda *_: calls.append(len(shown)))
    for picture in small.enhance_steps(low, ratio=100, K=0.8, steps=4, seed=2):
        assert torch.is_grad_enabled()
        shown.append(picture)
    handle.remove()
    # one network call a picture, when it is asked for
    assert calls == [0, 1, 2, 3]
    assert all(p.shape == low.shape and p.is_contiguous() and not p.requires_grad for p in shown)
    assert torch.equal(shown[-1], small.enhance_tensor(low, ratio=100, K=0.8, steps=4, seed=2))
    assert torch.equal(
        small.enhance_tensor(low, ratio=100, K=0.8), small.enhance_tensor(low, ratio=100, K=0.8, steps=3)
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.1), (torch.float64, 1e-5)])
def test_weights_of_another_precision(small, dtype, tolerance):
    low = torch.rand(1, 4, 32, 32)
    arguments = {"ratio": 100, "K": 0.8, "poisson": lambda m: m}
    other = deepcopy(small).to(dtype).enhance_tensor(low, **arguments)
    assert other.dtype == torch.float32
    torch.testing.assert_close(other, small.enhance_tensor(low, **arguments), rtol=0, atol=tolerance)


def test_wrong_inputs(small):
    low = torch.rand(2, 4, 8, 8)
    right = {"ratio": 100, "K": 0.8}
    for change, message in (
        ({"packed": low[0]}, r"packed must be raw of 4 channels \[B, 4, h, w\], got \(4, 8, 8\)"),
        ({"packed": low[:, :3]}, r"packed must be .* got \(2, 3, 8, 8\)"),
        ({"ratio": 0.5}, r"ratio must lie in 1 \.\. 1e\+06, got 0\.5"),
        ({"ratio": torch.tensor([100.0, torch.nan])}, r"ratio must lie in .* got \[100\.0, nan\]"),
        ({"ratio": torch.ones(3)}, r"ratio must be a number or \[2\], got \(3,\)"),
        ({"K": 0}, r"K must lie in 1e-06 .* got 0\.0"),
        ({"K": torch.ones(2, 1)}, r"K must be a number or \[2\], got \(2, 1\)"),
        ({"steps": 0}, "steps must be 1 or more, got 0"),
        ({"protocol": "fair"}, "protocol must be one of blind, paper, got 'fair'"),
        ({"protocol": "paper"}, "protocol 'paper' needs a target"),
        ({"target": low}, "protocol 'blind' takes no target"),
        ({"protocol": "paper", "target": low[:1]}, r"target must have packed's shape .* got \(1, 4, 8, 8\)"),
    ):
        for call in (small.enhance_tensor, small.enhance_steps):
            with pytest.raises(ValueError, match=message):
                call(**{"packed": low, **right, **change})


def test_no_door_for_srgb_pictures(small):
    with pytest.raises(ValueError, match="ExposureDiffusion works on the raw of a camera, not on sRGB pictures"):
        enhance(torch.rand(3, 8, 8), small)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"network": "vit"}, "network must be 'unet' or 'naf', got 'vit'"),
        ({"width": 0}, "width must be 1 or more"),
        ({"iter_num": -1}, "iter_num 0 or more"),
        ({"middle": 3}, "are for 'naf'"),
        ({"network": "naf"}, "each level and the middle a block"),
        ({"network": "naf", "middle": 1, "encoder": [1]}, "as many levels"),
        ({"resid": True}, "resid is for a unet without adaptive"),
    ],
)
def test_wrong_configuration(fields, message):
    with pytest.raises(ValueError, match=message):
        ExposureDiffusionConfig(**fields)
    with pytest.raises(ValueError, match="network must be unet or one of naf, naf2, naf3, naf4, got 'naf5'"):
        published("naf5")
