"""DiffLL against the published network's outputs, through every backend, and its behaviour at the edges."""

import dataclasses

import golden
import pytest
import torch

import lowlight_ext
from lowlight.systems.diffll.network import DiffLLConfig
from lowlight.systems.diffll.system import DiffLL, log_quantiles, pad_to_multiple

OPERATOR = "diffusion_step"
SMALL = DiffLLConfig(ch=8, ch_mult=(1, 2, 2, 2), norm_groups=4, hfrm_width=8, guide="gamma", statistics=True, steps=2)


@pytest.fixture(scope="module")
def published():
    system = DiffLL()
    system.load_state_dict(golden.weights(golden.keys("diffll")))
    return system


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return DiffLL(SMALL).eval()


def agree(result, name, relative=1e-5):
    expected = torch.from_numpy(golden.outputs("diffll")[name])
    assert result.shape == expected.shape
    assert (result - expected).abs().max() <= relative * expected.abs().max()


def test_published_names(published):
    shapes = {name: list(tensor.shape) for name, tensor in published.state_dict().items()}
    assert shapes == golden.keys("diffll")
    assert sum(p.numel() for p in published.parameters()) == pytest.approx(22.08e6, rel=1e-3)


def test_networks(published):
    with torch.no_grad():
        unet_input = golden.normal("diffll/unet_input", (2, 6, 16, 24))
        agree(published.Unet(unet_input, torch.tensor([37, 181])), "unet_output")
        agree(published.high_enhance0(golden.normal("diffll/hfrm_input", (3, 3, 32, 48))), "hfrm_output")


def test_wavelets(implementation):
    image = golden.uniform01("diffll/image", (1, 3, 64, 96))
    with lowlight_ext.use_backend(implementation[0]):
        bands = lowlight_ext.haar_dwt2d(image.to(implementation[1]))
        agree(bands.flatten(0, 1).cpu(), "dwt")
        agree(lowlight_ext.haar_idwt2d(bands).cpu(), "idwt")


def test_the_published_walk(published):
    """Steps that do not divide T: 8 calls for S = 7, as a plain DDIM over range(0, 200, 200 // 7) gives it."""
    low, x = golden.uniform01("diffll/image", (1, 3, 64, 64)), golden.normal("diffll/x_T", (1, 3, 16, 16))
    bar, times, called = published.alpha_bar, range(0, 200, 28)[::-1], []
    with torch.no_grad():
        bands = published.analyse(low)
        hook = published.Unet.register_forward_hook(lambda *_: called.append(1))
        result = published.generate(bands, x, steps=7)
        hook.remove()
        for t in times:
            a, after = bar[t].item(), (bar[t - 28].item() if t else 1.0)
            eps = published.predict(bands, x, t)
            x = after**0.5 * (x - eps * (1 - a) ** 0.5) / a**0.5 + (1 - after) ** 0.5 * eps
    assert len(called) == 8
    torch.testing.assert_close(result, x, atol=1e-4, rtol=1e-4)


@pytest.mark.network
def test_enhanced(published, implementation):
    backend, device = implementation
    image = golden.uniform01("diffll/image", (1, 3, 64, 96)).to(device)
    asked = []

    def noise(stream, shape):
        asked.append((stream, shape))
        return golden.normal("diffll/x_T", shape).to(device)

    with lowlight_ext.use_backend(backend):
        agree(published.to(device).enhance_tensor(image, noise=noise).cpu(), "enhanced")
    published.cpu()
    assert asked == [(200, (1, 3, 16, 24))]


@pytest.mark.network
def test_training_step(published, implementation):
    backend, device = implementation
    system = published.to(device)
    image, target = (golden.uniform01(f"diffll/{name}", (1, 3, 64, 96)).to(device) for name in ("image", "target"))
    noise, x_T = (golden.normal(f"diffll/{name}", (1, 3, 16, 24)).to(device) for name in ("noise", "x_T"))
    with lowlight_ext.use_backend(backend):
        losses = system.training_losses(image, target, t=torch.tensor([123], device=device), noise=noise, x_T=x_T)
        sum(losses.values()).backward()
    expected = golden.outputs("diffll")
    # the published code reports its terms in the paper's three groups
    for name, terms in {"noise": ("noise",), "photo": ("l1", "ssim"), "frequency": ("bands", "tv")}.items():
        total = sum(losses[term].item() for term in terms)
        assert total == pytest.approx(expected[f"{name}_loss"].item(), rel=1e-5)
    gradients = {name: p.grad for name, p in system.named_parameters()}
    norm = torch.stack([g.norm() for g in gradients.values()]).norm()
    assert norm.item() == pytest.approx(expected["grad_norm"].item(), rel=1e-5)
    for name in expected:
        if name.startswith("grad/"):
            agree(gradients[name.removeprefix("grad/")].cpu(), name)
    system.zero_grad(set_to_none=True)
    published.cpu()


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_levels(levels):
    system = DiffLL(DiffLLConfig(ch=8, ch_mult=(1, 1, 1, 1), norm_groups=4, hfrm_width=8, levels=levels, steps=1))
    assert system.multiple == 2 ** (levels + 3)
    assert system.enhance_tensor(torch.rand(1, 3, 64, 32)).shape == (1, 3, 64, 32)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (33, 31), (64, 96)])
def test_any_size(small, size):
    bright = small.enhance_tensor(torch.rand(1, 3, *size) * 0.1)
    assert bright.shape == (1, 3, *size)
    assert ((bright >= 0) & (bright <= 1)).all()


def test_batch_and_seed(small):
    low = torch.rand(3, 3, 40, 56) * 0.1
    together = small.enhance_tensor(low, seed=torch.tensor([5, 6, 7]))
    alone = small.enhance_tensor(low[1:2], seed=6)
    torch.testing.assert_close(together[1:2], alone, rtol=0, atol=1e-5)
    assert (small.enhance_tensor(low[1:2], seed=8) - alone).abs().max() > 1e-4
    # one integer is every picture's seed
    torch.testing.assert_close(small.enhance_tensor(low, seed=6)[1:2], alone, rtol=0, atol=1e-5)


def test_steps(small):
    low = torch.rand(1, 3, 32, 32) * 0.1
    assert torch.equal(small.enhance_tensor(low, steps=2), small.enhance_tensor(low))
    assert not torch.equal(small.enhance_tensor(low, steps=3), small.enhance_tensor(low))


@pytest.mark.parametrize("sampler", ["ddim", "dpm++"])
def test_steps_to_watch(small, sampler):
    low, calls, shown = torch.rand(2, 3, 21, 40) * 0.1, [], []
    handle = small.Unet.register_forward_pre_hook(lambda *_: calls.append(len(shown)))
    for picture in small.enhance_steps(low, steps=4, seed=3, sampler=sampler):
        assert picture.shape == low.shape
        assert not torch.is_inference(picture)
        assert torch.is_grad_enabled()
        shown.append(picture)
    handle.remove()
    # one network call a picture, when it is asked for
    assert calls == [0, 1, 2, 3]
    assert torch.equal(shown[-1], small.enhance_tensor(low, steps=4, seed=3, sampler=sampler))
    assert not torch.equal(shown[0], shown[-1])
    with pytest.raises(ValueError, match="low must be"):
        small.enhance_steps(low[0])


def test_wrong_inputs(small):
    with pytest.raises(ValueError, match=r"low must be \[B, 3, H, W\], got \(3, 8, 8\)"):
        small.enhance_tensor(torch.rand(3, 8, 8))
    with pytest.raises(ValueError, match=r"steps must lie in 1 \.\. 200, got 201"):
        small.enhance_tensor(torch.rand(1, 3, 8, 8), steps=201)
    for wrong in ({"guide": "log"}, {"beta_schedule": "cosine"}, {"spacing": "even"}, {"levels": 4}, {"ch": 60}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            DiffLLConfig(**wrong)


def test_padding_reflects():
    x = torch.arange(12.0).view(1, 1, 3, 4)
    expected = torch.nn.functional.pad(x, (0, 2, 0, 1), mode="reflect")
    assert torch.equal(pad_to_multiple(x, 2)[..., :4], expected[..., :4])
    assert torch.equal(pad_to_multiple(x, 6)[..., :3, :], expected[..., :3, :])
    assert pad_to_multiple(x, 32).shape == (1, 1, 32, 32)


def test_statistics_are_of_the_picture():
    low = torch.rand(2, 3, 64, 48)
    statistics = log_quantiles(low)
    expected = ((low[1, 2].flatten().quantile(0.5) + 1 / 255) / (1 + 1 / 255)).log()
    assert statistics.shape == (2, 21)
    assert statistics[1, 3 * 3 + 2] == pytest.approx(expected.item(), abs=1e-5)


def test_strips_are_exact(small, monkeypatch):
    from lowlight.systems.diffll import system as diffll
    from lowlight.systems.diffll.network import HFRM

    low = torch.rand(1, 3, 256, 32) * 0.2
    whole = small.enhance_tensor(low)
    monkeypatch.setattr(diffll, "_STRIP_BYTES", 1)
    torch.testing.assert_close(small.enhance_tensor(low), whole, rtol=0, atol=1e-6)
    monkeypatch.setattr(HFRM, "reach", 4)
    assert (small.enhance_tensor(low) - whole).abs().max() > 1e-6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_weights_of_another_precision(small, dtype):
    from copy import deepcopy

    low = torch.rand(1, 3, 64, 64) * 0.2
    other = deepcopy(small).to(dtype).enhance_tensor(low)
    assert other.dtype == torch.float32
    torch.testing.assert_close(other, small.enhance_tensor(low), rtol=0, atol=0.1 if dtype == torch.bfloat16 else 1e-4)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (33, 40)])
def test_margin(size):
    x = torch.rand(1, 2, *size)
    padded = pad_to_multiple(x, 32, 16)
    assert padded.shape[-2] % 32 == padded.shape[-1] % 32 == 0
    assert torch.equal(padded[..., 16 : 16 + size[0], 16 : 16 + size[1]], x)
    if min(size) > 16:
        expected = torch.nn.functional.pad(x, (16, 16, 16, 16), mode="reflect")
        assert torch.equal(padded[..., : size[0] + 32, : size[1] + 32], expected)
    torch.manual_seed(0)
    system = DiffLL(dataclasses.replace(SMALL, margin=16))
    assert system.enhance_tensor(x[:, :1].expand(-1, 3, -1, -1) * 0.1).shape == (1, 3, *size)
