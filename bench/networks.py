"""Time the networks of every system beside the papers' formulas in plain PyTorch: `python bench/networks.py`.

One call each, published widths, random weights (the time does not ask for trained ones), no gradients. Three in turn:
as the package runs it, the formulas channels_last, the formulas NCHW, all float32; --precision fast: the first in
bfloat16. malloc keeps what is freed, for all three, as the command line tells it to. --shared: the clock counts the
process's own seconds, for one thread on a core that others use too. GFLOP are the formulas', "of peak" beside a matrix
product.
"""

import argparse
import copy
from collections.abc import Callable

import torch
from plain_networks import plain_networks
from records import machine, save
from timing import Clock, Contender, begin, matrix_rate, race
from torch.utils.flop_counter import FlopCounterMode

from lowlight import memory
from lowlight.engines.use import PRECISIONS, narrowed, no_bfloat16
from lowlight.systems.anlightendiff.network import AnlightenDiffConfig
from lowlight.systems.anlightendiff.network import UNet as MishUNet
from lowlight.systems.base import channels_last
from lowlight.systems.diffll.network import DiffLLConfig, UNet
from lowlight.systems.exposurediffusion.network import make_network, published

CPU = torch.device("cpu")


def diffll(height: int, width: int):
    return UNet(DiffLLConfig()), [torch.rand(1, 6, height // 32 * 8, width // 32 * 8), torch.tensor([90])]


def anlightendiff(height: int, width: int):
    widths, height, width = AnlightenDiffConfig().widths, height // 32 * 32, width // 32 * 32
    features = [torch.rand(1, w, height >> i, width >> i) for i, w in enumerate(widths)]
    return MishUNet(6, widths, time=True, features=True), [
        torch.rand(1, 6, height, width),
        torch.tensor([50]),
        features,
    ]


def exposurediffusion(name: str, height: int, width: int):
    config = published(name)
    return make_network(config), [torch.rand(1, config.in_channels, height // 32 * 16, width // 32 * 16)]


NETWORKS: dict[str, Callable] = {
    "DiffLL, U-Net": diffll,
    "AnlightenDiff, denoiser": anlightendiff,
    "ExposureDiffusion, U-Net": lambda *size: exposurediffusion("unet", *size),
    "ExposureDiffusion, NAFNet naf2": lambda *size: exposurediffusion("naf2", *size),
}


def gflop(network: torch.nn.Module, inputs: list) -> float:
    """Of a call, a multiplication and an addition being two."""
    with FlopCounterMode(display=False) as counter, plain_networks():
        network(*inputs)
    return counter.get_total_flops() / 1e9


def last(value):
    """Pictures with their channels last, in lists too."""
    if isinstance(value, list):
        return [last(each) for each in value]
    return value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value


def half(value):
    """In bfloat16, but for times."""
    if isinstance(value, list):
        return [half(each) for each in value]
    return value.to(torch.bfloat16) if value.is_floating_point() else value


def plain(network: torch.nn.Module) -> Callable:
    def call(*inputs):
        with plain_networks():
            return network(*inputs)

    return call


def contenders(network: torch.nn.Module, inputs: list, clock: Clock, precision: str) -> list[Contender]:
    """As it runs here in a precision, the formulas channels_last, the formulas NCHW."""
    own, fast = channels_last(copy.deepcopy(network)), last(inputs)
    calls = [(own, fast), (plain(own), fast), (plain(network), inputs)]
    if precision == "fast":
        calls[0] = (narrowed(copy.deepcopy(own)), half(fast))
    return [Contender(call, [tuple(given)], CPU, clock) for call, given in calls]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=(600, 400), metavar=("W", "H"), help="of the photograph")
    parser.add_argument("--only", default="", help="networks whose name contains this")
    parser.add_argument("--precision", choices=PRECISIONS, default="exact", help="of the first")
    parser.add_argument("--seconds", type=float, default=10.0, help="for the runs of one network")
    options, clock = begin(parser)
    if options.precision == "fast" and (reason := no_bfloat16(CPU)):
        parser.error(f"--precision fast is bfloat16, which {reason}")
    memory.keep_freed()
    (width, height), rows = options.size, []
    peak = matrix_rate(CPU, 2.0, clock)
    print(f"matrix product {peak:.0f} GFLOP/s, {options.threads} threads, {width} x {height}")
    print(f"{'network':<32}{'GFLOP':>8}{'ours ms':>9}{'channels_last':>15}{'NCHW':>9}{'gains':>13}{'of peak':>9}")
    for name, make in NETWORKS.items():
        if options.only not in name:
            continue
        network, inputs = make(height, width)
        network = network.eval().requires_grad_(False)
        work = gflop(network, inputs)
        three = contenders(network, inputs, clock, options.precision)
        times = [timing.median_ms for timing in race(three, options.seconds)]
        gains = [each / times[0] for each in times[1:]]
        share = work / times[0] * 1e3 / peak
        print(f"{name:<32}{work:>8.1f}{times[0]:>9.1f}{times[1]:>15.1f}{times[2]:>9.1f}"
              f"{gains[0]:>7.2f}{gains[1]:>6.2f}{share:>9.0%}", flush=True)  # fmt: skip
        rows.append({"network": name, "size": f"{width}x{height}", "threads": options.threads, "gflop": round(work, 2),
                     "ours_ms": round(times[0], 2), "channels_last_ms": round(times[1], 2),
                     "nchw_ms": round(times[2], 2), "of_peak": round(share, 3)})  # fmt: skip
    suffix = "-networks" if options.precision == "exact" else "-networks-fast"
    print(save(rows, machine(CPU, options.threads), suffix, ("network", "size", "threads")))


if __name__ == "__main__":
    main()
