"""Time the networks of every system beside the papers' formulas in plain PyTorch: `python bench/networks.py`.

One call each with the published widths and random weights (the time does not ask for trained ones), float32, this
package channels_last and the plain one NCHW, both without gradients. With --shared the clock counts the process's own
seconds: for one thread on a core that others use too. GFLOP of a call are those of the paper's formula.
"""

import argparse
import time
from collections.abc import Callable

import torch
from plain_networks import plain_networks
from timing import Contender, keep_memory, matrix_rate, race
from torch.utils.flop_counter import FlopCounterMode

import lowlight
from lowlight.systems.anlightendiff.network import AnlightenDiffConfig
from lowlight.systems.anlightendiff.network import UNet as MishUNet
from lowlight.systems.base import channels_last
from lowlight.systems.diffll.network import DiffLLConfig, UNet
from lowlight.systems.exposurediffusion.network import make_network, published


def anlightendiff(height: int, width: int):
    config = AnlightenDiffConfig()
    network = MishUNet(6, config.widths, time=True, features=True)
    features = [torch.rand(1, w, height >> i, width >> i) for i, w in enumerate(config.widths)]
    return network, (torch.rand(1, 6, height, width), torch.tensor([50]), features)


def raw(name: str, height: int, width: int):
    network = make_network(published(name))
    return network, (torch.rand(1, network_inputs(network), height // 2, width // 2),)


def network_inputs(network: torch.nn.Module) -> int:
    return next(m for m in network.modules() if isinstance(m, torch.nn.Conv2d)).in_channels


def default(height: int, width: int):
    network = lowlight.load(device="cpu")
    return PictureNetwork(network), (torch.rand(1, 3, height, width) * 0.1,)


class PictureNetwork(torch.nn.Module):
    """A whole picture as a call."""

    def __init__(self, system):
        super().__init__()
        self.system = system

    def forward(self, low):
        return self.system.enhance_tensor(low)


NETWORKS: dict[str, Callable] = {
    "DiffLL, U-Net": lambda h, w: (UNet(DiffLLConfig()), (torch.rand(1, 6, h // 32 * 8, w // 32 * 8), torch.tensor([90]))),
    "AnlightenDiff, denoiser": anlightendiff,
    "ExposureDiffusion, U-Net": lambda h, w: raw("unet", h, w),
    "ExposureDiffusion, NAFNet naf2": lambda h, w: raw("naf2", h, w),
    "default model, a picture": default,
}


def flops(network: torch.nn.Module, inputs: tuple) -> float:
    """GFLOP of a call, a multiplication and an addition being two."""
    with FlopCounterMode(display=False) as counter, plain_networks():
        network(*inputs)
    return counter.get_total_flops() / 1e9


def contenders(network: torch.nn.Module, inputs: tuple, clock: Callable[[], float]) -> list[Contender]:
    def last(x):
        return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x

    place = torch.device("cpu")
    own_inputs = tuple([last(y) for y in x] if isinstance(x, list) else last(x) for x in inputs)
    own = channels_last(network)
    plain = type(network).__new__(type(network))
    return [Contender(own, [own_inputs], place, clock)]


def main() -> None:
    pass
