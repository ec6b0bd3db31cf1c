"""The operators as modules: against compositions of torch.nn with the same state, forward and gradients."""

import pytest
import torch
from torch import nn

import lowlight_ext.nn as fused


class ChannelsFirstLayerNorm(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class Gate(nn.Module):
    def forward(self, x):
        return x[:, : x.shape[1] // 2] * x[:, x.shape[1] // 2 :]


PAIRS = {
    "group norm": (fused.GroupNormSiLU(4, 8, eps=1e-6), nn.Sequential(nn.GroupNorm(4, 8, eps=1e-6), nn.SiLU())),
    "group norm, no affine": (fused.GroupNormSiLU(2, 8, affine=False), nn.Sequential(nn.GroupNorm(2, 8), nn.SiLU())),
    "mish": (fused.MishInstanceNorm2d(1e-3), nn.Sequential(nn.Mish(), nn.InstanceNorm2d(8, eps=1e-3))),
    "layer norm": (fused.LayerNorm2d(8, eps=1e-5), ChannelsFirstLayerNorm(8)),
    "layer norm, no affine": (fused.LayerNorm2d(8, affine=False), ChannelsFirstLayerNorm(8, eps=1e-6)),
    "gate": (fused.SimpleGate(), Gate()),
    "Haar there and back": (nn.Sequential(fused.HaarDWT2d(), fused.HaarIDWT2d()), nn.Identity()),
    "Haar of a picture": (nn.Sequential(fused.HaarDWT2d(True), fused.HaarIDWT2d(True)), nn.Hardtanh(0, 1)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_like_torch(name):
    ours, theirs = (module.double() for module in PAIRS[name])
    generator = torch.Generator().manual_seed(0)
    # the first parameters of a composition are its norm's, under another prefix
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=False):
        with torch.no_grad():
            other.copy_(mine.copy_(torch.randn(mine.shape, generator=generator)))
    x = torch.rand(2, 8, 6, 10, generator=generator, dtype=torch.float64).mul(0.9).add(0.05).requires_grad_()
    for module in (ours, theirs):
        module.zero_grad()
    results = [module(x) for module in (ours, theirs)]
    assert torch.allclose(*results, atol=1e-10)
    weights = torch.randn(results[0].shape, generator=generator, dtype=torch.float64)
    gradients = [torch.autograd.grad((r * weights).sum(), x)[0] for r in results]
    assert torch.allclose(*gradients, atol=1e-9)


def test_a_state_dict_of_group_norm_fits():
    theirs = nn.GroupNorm(4, 8)
    assert fused.GroupNormSiLU(4, 8).load_state_dict(theirs.state_dict())
    assert "4, 8" in repr(fused.GroupNormSiLU(4, 8))
    assert repr(fused.LayerNorm2d(8)) == "LayerNorm2d(8, eps=1e-06, affine=True)"
    assert repr(fused.HaarDWT2d(True)) == "HaarDWT2d(normalise=True)"
