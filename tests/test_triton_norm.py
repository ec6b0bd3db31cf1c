"""The Triton normalisations where several programs share what is summed, as they do on large pictures."""

import pytest
import torch
from test_triton import DEVICE, both, small_programs

import lowlight_ext
from lowlight_ext import testing, use_backend
from lowlight_ext.kernels_triton import layer_norm, norm, tiles
from lowlight_ext.kernels_triton.blocks import launch
from lowlight_ext.testing_norm import NORMS

# sizes that a block does not divide, groups of several channels; more channels than a program has room for
SHAPES = ((2, 6, 5, 8, 3), (1, 34, 1, 3, 1))


def both_passes(op, x, weight, bias, groups, grad):
    leaves = [v.clone().requires_grad_() for v in (x, weight, bias)]
    affine = {"group_norm_silu": (groups, *leaves[1:]), "layer_norm2d": leaves[1:]}.get(op, ())
    result = getattr(lowlight_ext, op)(leaves[0], *affine)
    return result, *torch.autograd.grad(result, leaves[: len(affine[-2:]) + 1], grad[:, : result.shape[1]])


@both
@pytest.mark.parametrize(("dtype", "limit", "wide"), [(torch.float64, 1e-12, True), (torch.float32, 2e-6, False)])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("op", NORMS)
def test_many_small_programs(monkeypatch, op, layout, dtype, limit, wide):
    """Results and gradients, against the reference in float64."""
    small_programs(monkeypatch, wide, 32)
    # so few parts that each has several tiles
    monkeypatch.setattr(tiles, "PARTS", 2)
    monkeypatch.setattr(tiles, "PART_PIXELS", 1)
    for *shape, groups in SHAPES:
        generator = torch.Generator().manual_seed(shape[1])
        x, grad = (torch.randn(shape, generator=generator, dtype=torch.float64) + k for k in (3, 0))
        weight, bias = (torch.randn(shape[1], generator=generator, dtype=torch.float64) for _ in range(2))
        with use_backend("reference"):
            expected = both_passes(op, x, weight, bias, groups, grad)
        there = [v.to(DEVICE, dtype) for v in (testing.arranged(x, layout), weight, bias)]
        with use_backend("triton"):
            results = both_passes(op, *there, groups, grad.to(DEVICE, dtype))
        for mine, theirs in zip(results, expected, strict=True):
            scale = max(1.0, theirs.abs().max().item())
            torch.testing.assert_close(mine.cpu().double(), theirs, rtol=limit, atol=4 * limit * scale)


@both
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_a_program_writes_its_own_slab_alone(monkeypatch, layout):
    """One after the other, as interpreted, they would hide what they spoil: only the first of two runs."""
    monkeypatch.setattr(norm, "launch", lambda kernel, programs, *rest, **named: launch(kernel, 1, *rest, **named))
    # three channels: the tile has room for a fourth
    x = testing.arranged(torch.arange(18.0).reshape(1, 6, 1, 3), layout).to(DEVICE)
    out, stats = norm.group_norm_silu(x, 2, None, None, 1e-5, True)
    needed = (True, False, False)
    to_x, *_ = norm.group_norm_silu_backward(x, x, torch.ones_like(stats), None, None, 2, True, needed)
    for written in (out, to_x):
        assert written[:, :3].isfinite().all()
        assert written[:, 3:].isnan().all()


def test_large_pictures_are_divided():
    """On a GPU's blocks: which kernels the sizes of a U-Net and of NAFNet take."""
    like = torch.empty(0)
    deep, shallow = (tiles.Picture(8, c, n, last) for c, n, last in ((256, 16 * 16, False), (64, 256 * 256, True)))
    assert norm._slab(deep, 32, like)
    assert not norm._slab(deep, 32, like.double())
    assert not norm._slab(shallow, 32, like)
    for last in (False, True):
        picture = tiles.Picture(1, 64, 1 << 22, last)
        tiling, whole = layer_norm._tiling(picture, like)
        assert (whole, tiling.channels) == (True, 64)
        assert tiling.tiles > 1
        assert tiling.parts <= tiles.PARTS
        assert tiling.tiles * tiling.parts >= tiling.pixel_blocks
    assert not layer_norm._tiling(tiles.Picture(1, 512, 64, False), like)[1]
