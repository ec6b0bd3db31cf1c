"""Time whole pictures from CUDA graphs: `python bench/graphs.py --device cuda`, beside what else saves launches.

eager, NCHW and channels last; compile: the networks by torch.compile, mode="reduce-overhead"; cudagraph: as
`--engine cudagraph` runs, in both layouts. Without a GPU only the eager ways run, which says that the script does.
Also the launches of a picture, counted on a device that computes nothing.
"""

import argparse
import copy
from collections.abc import Callable, Iterator

import torch
from records import machine, save
from systems import add_asked, asked
from timing import Contender, begin, race
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lowlight.engines.cuda_graph import replay_pictures
from lowlight.systems.base import RawSystem, System, channels_last
from lowlight.systems.networks import networks

KEY = ("system", "size", "dtype", "way", "threads")


class Launches(TorchDispatchMode):
    """Counts the operators that are no views: each is a launch, or a few."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, operator, types, arguments=(), keywords=None):
        result = operator(*arguments, **(keywords or {}))
        there = [x for x in tree_leaves((arguments, keywords, result)) if isinstance(x, torch.Tensor) and x.is_meta]
        self.count += bool(there) and not operator.is_view
        return result


def launches(system: System, low: torch.Tensor) -> int:
    nowhere, dark = copy.deepcopy(system).to("meta"), low.to("meta")
    seeds = torch.zeros(1, dtype=torch.int64, device="meta")
    with Launches() as counted:
        nowhere.enhance_tensor(dark, seed=seeds)
    return counted.count


def compiled(system: System) -> System:
    for network in networks(system).values():
        own = getattr(network.owner, network.method)
        setattr(network.owner, network.method, torch.compile(own, mode="reduce-overhead", dynamic=False))
    return system


def replayed(system: System) -> System:
    replay_pictures(system)
    return system


def ways(system: System, device: torch.device) -> Iterator[tuple[str, Callable[[], System]]]:
    """Each on a copy of its own."""
    plain = lambda: copy.deepcopy(system).to(memory_format=torch.contiguous_format)  # noqa: E731
    yield "eager", plain
    yield "eager, channels last", lambda: channels_last(plain())
    if device.type == "cuda":
        yield "compile", lambda: compiled(plain())
        yield "compile, channels last", lambda: compiled(channels_last(plain()))
        yield "cudagraph", lambda: replayed(plain())
        yield "cudagraph, channels last", lambda: replayed(channels_last(plain()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_asked(parser)
    parser.add_argument("--count", action="store_true", help="count launches and time nothing")
    parser.add_argument("--seconds", type=float, default=3.0, help="for the runs of one way")
    options, clock = begin(parser)
    device, (width, height) = torch.device(options.device), options.size
    for kind, name, system, low in asked(options):
        # a camera's frames are large: launches are nothing beside their work
        if isinstance(system, RawSystem):
            continue
        count, found = launches(system, low), {}
        print(f"{name}, {width} x {height}, {kind}, {count} launches")
        if options.count:
            continue
        for way, made in ways(system, device):
            try:
                found[way] = Contender(made().enhance_tensor, [(low,)], device, clock)
                found[way].run()
            # one way's fault is no reason to lose the others' figures
            except RuntimeError as error:
                print(f"  {way}: failed ({str(error).strip().splitlines()[0]})")
                found.pop(way, None)
        rows = []
        for way, timing in zip(found, race(list(found.values()), options.seconds), strict=True):
            print(f"  {way:<26}{timing.median_ms:>9.2f} ms", flush=True)
            rows.append({"system": name, "size": f"{width}x{height}", "dtype": kind, "way": way,
                         "threads": options.threads, "median_ms": round(timing.median_ms, 3),
                         "launches": count})  # fmt: skip
        # as they come: who is cut off keeps what was measured
        print(save(rows, machine(device, options.threads), "-graphs", KEY), flush=True)


if __name__ == "__main__":
    main()
