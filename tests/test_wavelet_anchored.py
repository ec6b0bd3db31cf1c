"""The anchored wavelet diffusion: exposure as asked for, one look at every size, and what it leaves alone."""

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F

from lowlight.checkpoints import load, save_weights
from lowlight.systems.base import channels_last
from lowlight.systems.rows import PaddedRows, TensorRows
from lowlight.systems.tiling import pad_to_multiple
from lowlight.systems.wavelet_anchored.anchor import AUTOMATIC_MEAN, automatic_mean, rolled_off
from lowlight.systems.wavelet_anchored.network import WaveletAnchoredConfig
from lowlight.systems.wavelet_anchored.process import WaveletProcess
from lowlight.systems.wavelet_anchored.pyramid import dark_pyramid, noise_levels, read_pyramid
from lowlight.systems.wavelet_anchored.system import WaveletAnchored

SMALL = WaveletAnchoredConfig(
    ch=8, ch_mult=(1, 2), num_res_blocks=1, attention_level=1, norm_groups=4, base=9, width=8, blocks=1
)


def scene(count=1, size=(36, 52), seed=0, scale=0.2):
    """Smooth dark pictures with some noise in them."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 7, generator=generator)
    smooth = F.interpolate(coarse, size, mode="bicubic", align_corners=False)
    noisy = smooth + 0.05 * torch.randn(count, 3, *size, generator=generator)
    return (scale * noisy.clamp(0.02, 1)).clamp(0, 1)


@pytest.fixture(scope="module")
def untrained():
    torch.manual_seed(0)
    return WaveletAnchored(SMALL).eval()


@pytest.fixture(scope="module")
def system():
    """One whose outputs are not zero, as after some training."""
    torch.manual_seed(0)
    system = WaveletAnchored(SMALL).eval()
    with torch.no_grad():
        for layer in (system.unet.conv_out, system.restorer.tail, system.anchor.net[-1]):
            layer.weight.normal_(std=0.05)
    return system


def test_untrained_it_is_the_anchor(untrained):
    low = scene()
    mean = torch.tensor([0.4])
    pyramid = dark_pyramid(pad_to_multiple(low, untrained.multiple(2)), 2)
    seen = (9, 13)
    analysis = untrained.analyse(pyramid[-1], noise_levels(pyramid[:-1]), mean, seen)
    # untrained the restoration passes the anchor's detail: with the anchor's own means below it is the anchor
    anchored = untrained.restore(analysis, pyramid[0], F.avg_pool2d(analysis.curve(pyramid[0]), 2), 0)
    assert untrained.levels(*low.shape[-2:]) == 2
    torch.testing.assert_close(anchored, analysis.curve(pyramid[0]), rtol=0, atol=1e-5)
    # and the diffusion's estimate is the curve of the band
    bright = untrained.enhance_tensor(low, mean=mean)
    expected = analysis.curve(pyramid[-1])[..., : seen[0], : seen[1]]
    torch.testing.assert_close(F.avg_pool2d(bright, 4), expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize("mean", [0.15, 0.4, 0.7])
def test_as_bright_as_it_is_told(system, mean):
    bright = system.enhance_tensor(scene(2), mean=mean)
    assert bright.mean(dim=(1, 2, 3)).sub(mean).abs().max() < 0.01


def test_brightness_in_stops(system):
    low = scene(2)
    means = [system.enhance_tensor(low, brightness=stops).mean().item() for stops in (-1, 0, 1)]
    automatic = automatic_mean(low).mean().item()
    assert means[1] == pytest.approx(automatic, abs=0.01)
    # a stop less is half the light: in sRGB about 0.73 times as bright, where nothing clips
    assert means[0] == pytest.approx(0.73 * means[1], rel=0.05)
    assert means[1] < means[2] < 1.4 * means[1]
    each = system.enhance_tensor(low, brightness=torch.tensor([0.0, 1.0])).mean(dim=(1, 2, 3))
    assert each[1] > 1.2 * each[0]


def test_strength_blends_with_the_picture_itself(system):
    low = scene()
    whole, half, none = (system.enhance(low, strength=strength) for strength in (1.0, 0.5, 0.0))
    assert torch.equal(none, low)
    torch.testing.assert_close(half, (low + whole) / 2)
    assert (whole - low).abs().mean() > 0.1


def test_a_bright_picture_stays(system):
    bright = scene(scale=1.0)
    assert bright.mean() > 0.45
    result = system.enhance_tensor(bright)
    assert (result - bright).square().mean() < 1e-3
    assert result.mean() == pytest.approx(bright.mean().item(), rel=0.05)


def test_automatic_exposure():
    def means(dark, lamps, share=0.02):
        picture = torch.full((1, 3, 40, 50), dark)
        picture.flatten(2)[..., : round(2000 * share)] = lamps
        return picture

    own = lambda picture: picture.mean().item()  # noqa: E731
    automatic = lambda picture: automatic_mean(picture).item()  # noqa: E731
    evenly = means(0.05, 0.15)
    assert automatic(evenly) == pytest.approx(AUTOMATIC_MEAN, abs=0.01)
    # half as dark or a tenth: the same
    assert automatic(evenly / 10) == pytest.approx(automatic(evenly), abs=0.01)
    # a night with lamps stays one, and is lifted all the same
    night = means(0.05, 1.0)
    assert own(night) * 1.3 < automatic(night) < 0.2
    for mean in (0.3, 0.44, 0.5, 0.7):
        lit = means(mean, 0.95)
        assert own(lit) <= automatic(lit) <= 1.1 * own(lit)
    for mean in (0.44, 0.5, 0.7):
        assert automatic(means(mean, 0.95)) == pytest.approx(own(means(mean, 0.95)), rel=0.03)
    assert automatic(torch.zeros(1, 3, 8, 8)) == pytest.approx(AUTOMATIC_MEAN, abs=0.01)


def test_highlights_roll_off_and_keep_their_hue():
    orange = torch.tensor([1.0, 0.5, 0.1]).view(1, 3, 1, 1)
    knee, clipped = torch.full((1, 1, 1, 1), 0.8), torch.ones(1, 1, 1, 1)
    grey = torch.linspace(0, 3, 301).repeat(1, 3, 1, 1)
    rolled = rolled_off(grey, knee)
    assert torch.equal(rolled[grey <= 0.79], grey[grey <= 0.79])
    assert (rolled.diff(dim=-1) > 0).all()
    assert rolled.max() < 1
    torch.testing.assert_close(rolled_off(grey, clipped), grey.clamp(0, 1), rtol=0, atol=1e-4)
    red, green, blue = rolled_off(3 * orange, knee).flatten().tolist()
    # clipped, its green would be as its red, and its blue a third
    assert red > 0.99
    assert 0.6 < green < 0.8
    assert 0.1 < blue < 0.25
    x = (3 * torch.rand(1, 3, 4, 4, dtype=torch.float64)).requires_grad_()
    torch.autograd.gradcheck(rolled_off, (x, knee.double()))


@pytest.mark.parametrize("times", [2, 4])
def test_a_scene_looks_the_same_at_every_size(system, times):
    low = scene()
    large = low.repeat_interleave(times, -1).repeat_interleave(times, -2)
    assert system.levels(*large.shape[-2:]) == system.levels(*low.shape[-2:]) + times // 2
    small_bright, large_bright = system.enhance_tensor(low, seed=3), system.enhance_tensor(large, seed=3)
    # every level adds to the means below it: those of the deepest band are the same ones, but for what clips on the way
    difference = F.avg_pool2d(small_bright, 4) - F.avg_pool2d(large_bright, 4 * times)
    assert difference.abs().max() < 0.01
    assert difference.abs().median() < 1e-6
    assert difference.mean(dim=(2, 3)).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("size", "count"),
    # the second is padded by more than a strip, and one of its 18 lies below it
    [((150, 52), 3), ((1030, 330), 18)],
)
def test_strips_are_the_whole(system, monkeypatch, size, count):
    low = scene(2, size)
    whole = system.enhance_tensor(low)
    monkeypatch.setattr("lowlight.systems.wavelet_anchored.process._STRIP_BYTES", 1)
    monkeypatch.setattr("lowlight.systems.wavelet_anchored.pyramid._READ", 8)
    restored = []
    restore = WaveletProcess.restore
    monkeypatch.setattr(
        WaveletProcess, "restore", lambda self, *args: restored.append(args[-1]) or restore(self, *args)
    )
    strips = system.enhance_tensor(low)
    assert restored.count(0) == count
    torch.testing.assert_close(strips, whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(36, 52), (37, 41), (3, 5), (1, 1), (800, 9)])
def test_rows_are_padded_as_pictures(size, monkeypatch):
    # no multiple of the rows from one block of the noise's sample to the next, which are 4 in the tallest
    monkeypatch.setattr("lowlight.systems.wavelet_anchored.pyramid._READ", 6)
    low = scene(2, size)
    padded, rows = pad_to_multiple(low, 8), PaddedRows(TensorRows(low), 8)
    assert (rows.height, rows.width) == tuple(padded.shape[-2:])
    for first in range(0, rows.height, 4):
        assert torch.equal(rows.read(first, first + 4), padded[..., first : first + 4, :])
    pyramid, noise = read_pyramid(rows, 2)
    whole = dark_pyramid(padded, 2)
    assert torch.equal(whole[1], F.avg_pool2d(padded, 2))
    assert torch.equal(whole[2], F.avg_pool2d(whole[1], 2))
    assert all(torch.equal(a, b) for a, b in zip(pyramid, whole[1:], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(noise, noise_levels(whole[:-1]), strict=True))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 90)])
def test_any_size(system, size):
    bright = system.enhance_tensor(scene(1, size))
    assert bright.shape == (1, 3, *size)
    assert bright.isfinite().all()


def test_alone_or_in_a_batch(system):
    low = scene(3)
    together = system.enhance_tensor(low, seed=torch.tensor([5, 6, 7]))
    alone = system.enhance_tensor(low[1:2], seed=6)
    torch.testing.assert_close(together[1:2], alone, rtol=0, atol=1e-5)
    other = system.enhance_tensor(low[1:2], seed=7)
    assert (other - alone).abs().max() > 1e-4


@pytest.mark.parametrize("sampler", ["ddim", "drds", "dpm++"])
def test_samplers(system, sampler):
    low = scene()
    *_, last = system.enhance_steps(low, steps=4, sampler=sampler)
    bright = system.enhance_tensor(low, steps=4, sampler=sampler)
    assert torch.equal(last, bright)
    assert bright.mean() == pytest.approx(automatic_mean(low).item(), abs=0.01)


def test_one_step_is_one_call(system, monkeypatch):
    times = []
    forward = system.unet.forward
    monkeypatch.setattr(system.unet, "forward", lambda x, t, told: times.append(t.tolist()) or forward(x, t, told))
    assert len(list(system.enhance_steps(scene(), steps=3))) == 3
    assert times == [[199], [132], [66]]


def test_wrong_values_are_refused(system):
    low = scene(2)
    for options, word in (
        ({"mean": 1.0}, "mean"),
        ({"mean": torch.tensor([0.4, 0.4, 0.4])}, "mean"),
        ({"brightness": float("nan")}, "brightness"),
        ({"brightness": torch.zeros(3)}, "brightness"),
        ({"sampler": "euler"}, "sampler"),
        ({"steps": 201}, "steps"),
    ):
        with pytest.raises(ValueError, match=word):
            system.enhance_tensor(low, **options)
    with pytest.raises(ValueError, match=r"low must be \[B, 3, H, W\]"):
        system.enhance_tensor(low[0])
    with pytest.raises(ValueError, match="multiple of norm_groups"):
        WaveletAnchoredConfig(ch=30)


def test_pictures_of_bytes_are_worked_on_in_rows(system):
    pixels = (scene()[0] * 255).round().to(torch.uint8)
    expected = (system.enhance_tensor(pixels[None] / 255)[0].clamp(0, 1) * 255).round().to(torch.uint8)
    assert torch.equal(system.enhance(pixels), expected)
    assert torch.equal(system.enhance(pixels, strength=0.0), pixels)
    alpha = torch.full_like(pixels[:1], 7)
    assert torch.equal(system.enhance(torch.cat([pixels, alpha])), torch.cat([expected, alpha]))


@pytest.mark.parametrize("named", [True, False])
def test_weights_come_back(system, tmp_path, named):
    path = tmp_path / "weights.safetensors"
    save_weights(path, system.state_dict(), {"system": system.name, "config": SMALL}, torch.float32)
    if not named:
        # as a training's state without this project's metadata: the widths are read from the shapes
        torch.save({"state_dict": system.state_dict()}, path := tmp_path / "weights.pt")
    back = load(path, device="cpu")
    assert isinstance(back, WaveletAnchored)
    if named:
        same_layout = channels_last(deepcopy(system))
        assert torch.equal(back.enhance_tensor(scene()), same_layout.enhance_tensor(scene()))
    else:
        told = ("ch", "ch_mult", "num_res_blocks", "attention_level", "width", "blocks")
        assert [getattr(back.config, name) for name in told] == [getattr(SMALL, name) for name in told]
