"""The conditioning features: histogram equalisation bit-equal to Pillow's, and the rest against plain loops."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from lowlight.systems.anlightendiff.conditioning import color_map, condition_features, edges, equalize, histogram

RNG = np.random.default_rng(0)


def pillow(levels):
    """[H, W, 3] uint8."""
    return np.array(ImageOps.equalize(Image.fromarray(levels)))


def pictures():
    """Name and [H, W, 3] uint8."""
    yield "black", np.zeros((8, 8, 3), np.uint8)
    yield "white", np.full((8, 8, 3), 255, np.uint8)
    yield "one pixel", np.full((1, 1, 3), 17, np.uint8)
    yield "two levels", (RNG.random((40, 40, 3)) < 0.5).astype(np.uint8) * 255
    yield "all but one pixel equal", np.pad(np.ones((1, 1, 3), np.uint8), ((0, 19), (0, 19), (0, 0)))
    # the step is 0, 1 and 2 here: 254, 255, 509 and 510 pixels below the last level
    for below in (254, 255, 256, 509, 510, 511):
        row = np.concatenate([RNG.integers(0, 200, below), [200]]).astype(np.uint8)
        yield f"{below} below the last", np.repeat(row[None, :, None], 3, axis=2)
    # tables that pass 255 before they are clipped: step 1 with nearly twice as many pixels
    yield "overflow", np.repeat(np.append(np.arange(509) // 2, 255).astype(np.uint8)[None, :, None], 3, axis=2)
    yield "ramp", np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2).repeat(2, axis=1)
    for i in range(120):
        height, width = RNG.integers(1, 90, 2)
        low, high = np.sort(RNG.integers(0, 256, 2))
        if i % 3 == 0:
            yield f"uniform {i}", RNG.integers(low, high + 1, (height, width, 3)).astype(np.uint8)
        elif i % 3 == 1:
            yield f"dark {i}", RNG.poisson(RNG.random() * 20, (height, width, 3)).clip(0, 255).astype(np.uint8)
        else:
            yield f"few {i}", RNG.choice(RNG.integers(0, 256, 4), (height, width, 3)).astype(np.uint8)


def as_tensor(levels):
    """[1, 3, H, W] float32 whose truncated 255-fold is `levels`."""
    x = (torch.from_numpy(levels).permute(2, 0, 1)[None].float() + 0.25) / 255
    return x.clamp(max=1)


def test_equalize_is_pillows():
    changed = 0
    for name, levels in pictures():
        low = as_tensor(levels)
        assert torch.equal((low * 255).to(torch.uint8)[0].permute(1, 2, 0), torch.from_numpy(levels)), name
        expected = pillow(levels)
        result = equalize(low)
        assert torch.equal(result[0].permute(1, 2, 0), torch.from_numpy(expected).float() / 255), name
        changed += int((expected != levels).any())
    # a function that changes nothing would fail
    assert changed > 80


def test_equalize_truncates():
    """The pixels are trunc(255 x), not rounded; values outside [0, 1] are clipped."""
    x = torch.linspace(0, 1, 999).view(1, 1, 27, 37).expand(-1, 3, -1, -1)
    levels = (x * 255).to(torch.uint8)[0].permute(1, 2, 0).contiguous().numpy()
    assert torch.equal(equalize(x)[0].permute(1, 2, 0), torch.from_numpy(pillow(levels)).float() / 255)
    assert not torch.equal(equalize((x * 255).round() / 255 * 0.999), equalize(x))
    wide = torch.tensor([-0.5, 0.0, 1.0, 1.5]).view(1, 1, 2, 2)
    assert torch.equal(equalize(wide), wide.clamp(0, 1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_equalize_keeps_dtype_and_batch(dtype):
    x = torch.rand(2, 3, 20, 30, generator=torch.Generator().manual_seed(0)).to(dtype)
    result = equalize(x)
    assert result.dtype == dtype
    for i in range(2):
        assert torch.equal(result[i], equalize(x[i : i + 1])[0])
    exact = x.to(torch.float64 if dtype == torch.float64 else torch.float32)
    assert torch.equal(result, equalize(exact).to(dtype))
    assert equalize(x[:0]).shape == (0, 3, 20, 30)


def test_nothing_is_read_back():
    """Tensors that stand for a GPU's have no values: anything that looked at one would fail."""
    with torch.device("meta"):
        assert condition_features(torch.rand(2, 3, 20, 30)).shape == (2, 12, 20, 30)
    from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

    with FakeTensorMode():
        low = torch.rand(1, 3, 8, 8)
        condition_features(low)
        with pytest.raises(DataDependentOutputException):
            low.sum().item()


def test_histogram():
    levels = torch.randint(0, 256, (31, 47), dtype=torch.uint8)
    assert torch.equal(histogram(levels), torch.bincount(levels.flatten().long(), minlength=256))


def test_color_map_and_edges():
    picture = torch.tensor([[0.1, 0.2, 0.3], [0.0, 0.0, 0.0], [0.0, 0.0, 0.9], [0.5, 0.5, 0.5]]).T.view(1, 3, 1, 4)
    expected = torch.tensor([[1 / 6, 1 / 3, 1 / 2], [0, 0, 0], [0, 0, 1], [1 / 3, 1 / 3, 1 / 3]]).T.view(1, 3, 1, 4)
    torch.testing.assert_close(color_map(picture), expected, rtol=0, atol=1e-6)
    x = torch.tensor([[0.0, 0.5, 0.25], [1.0, 0.5, 0.0]]).view(1, 1, 2, 3)
    assert edges(x).flatten().tolist() == [1.0, 0.25, 0.25, 0.5, 0.5, 0.0]


def test_features_are_in_order():
    low = torch.rand(1, 3, 12, 10) * 0.4
    features = condition_features(low)
    assert torch.equal(features[:, :3], low)
    assert torch.equal(features[:, 3:6], equalize(low))
    assert torch.equal(features[:, 6:9], color_map(low))
    assert torch.equal(features[:, 9:], edges(color_map(low)))
