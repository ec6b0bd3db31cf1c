"""The networks, folded, fused and in place as they run, against the papers' formulas one PyTorch call a step."""

import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from lowlight.systems.anlightendiff.network import UNet as MishUNet
from lowlight.systems.blocks import Upsample
from lowlight.systems.diffll.network import HFRM, DiffLLConfig, UNet
from lowlight.systems.exposurediffusion.nafnet import NAFNet
from lowlight.systems.exposurediffusion.unet import ExposureUNet
from lowlight.systems.wavelet_anchored.network import RESTORER_INPUTS, Restorer

sys.path.append(str(Path(__file__).parents[1] / "bench"))
from plain_networks import plain_networks

# a network, its input's batch and channels, what else it takes
NETWORKS = {
    "DiffLL": (lambda: UNet(DiffLLConfig(ch=8, ch_mult=(1, 2, 2, 3), norm_groups=4), inputs=4), (2, 4), 1),
    "HFRM": (lambda: HFRM(16), (6, 3), 0),
    "AnlightenDiff": (lambda: MishUNet(4, (8, 12, 16), time=True), (2, 4), 1),
    "NAFNet": (lambda: NAFNet(4, 9, 8, (1, 2), 1, (1, 1)), (2, 4), 0),
    "ExposureUNet": (lambda: ExposureUNet(4, 4, width=4), (2, 4), 0),
    "restorer": (lambda: Restorer(16, 1), (2, RESTORER_INPUTS), 3),
}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_the_papers(name, gradients, layout):
    torch.manual_seed(0)
    make, channels, numbers = NETWORKS[name]
    network = make().to(memory_format=layout)
    with torch.no_grad():
        for parameter in network.parameters():
            # NAFNet's scales begin at zero and every bias would hide a mistake
            parameter.copy_(0.3 * torch.randn_like(parameter))
    x = torch.randn(*channels, 16, 32).contiguous(memory_format=layout).requires_grad_(gradients)
    more = {0: (), 1: (torch.tensor([3, 70]),), 3: (torch.randn(2, 3),)}
    inputs = (x, *more[numbers])
    results = []
    for plain in (False, True):
        with torch.set_grad_enabled(gradients):
            if plain:
                with plain_networks():
                    out = network(*inputs)
            else:
                out = network(*inputs)
        results.append([out.detach()])
        if gradients:
            wanted = [x, *network.parameters()]
            results[-1] += torch.autograd.grad(out.square().mean(), wanted)
    # a gradient that is zero by nature, as that of the keys' bias, is rounding: beside the largest of them
    scale = max(plain.abs().max().item() for plain in results[1])
    for own, plain in zip(*results, strict=True):
        torch.testing.assert_close(own, plain, rtol=1e-3 if gradients else 1e-5, atol=1e-5 * scale)


def test_the_kept_kernel_follows_the_weights():
    up, x = Upsample(4), torch.randn(1, 4, 3, 5)
    with torch.no_grad():
        for change in (lambda: None, lambda: up.conv.weight.mul_(2), lambda: up.to(torch.float64), lambda: up.float()):
            change()
            given = x.to(up.conv.weight.dtype)
            expected = up.conv(F.interpolate(given, scale_factor=2.0, mode="nearest"))
            torch.testing.assert_close(up(given), expected, rtol=1e-5, atol=1e-6)
