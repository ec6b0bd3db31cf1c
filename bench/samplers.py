"""AnlightenDiff's whole pictures by its authors' sampler and by the fast one: `python bench/samplers.py LOL-v1/eval15`.

"published": every one of its 100 steps (DRDS, from the anchor alone), the papers' networks one PyTorch call a step,
NCHW, no operator of this package. "fast": the shipped model's sampler, as the package runs it, and by OpenVINO where it
is installed. With a folder of low and high: real pictures by the shipped weights, PSNR to the truth. --published-size:
the published widths with random weights, 600 x 400, once: many minutes, of which the time alone tells something.
--shared: as in networks.py.
"""

import argparse
import copy
import dataclasses
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from plain_networks import plain_networks
from timing import Clock, begin
from torch import Tensor

import lowlight
import lowlight_ext
from lowlight.engines import openvino, use
from lowlight.files.pictures import read_picture
from lowlight.metrics.scores import psnr
from lowlight.systems.anlightendiff.network import AnlightenDiffConfig
from lowlight.systems.anlightendiff.system import AnlightenDiff
from lowlight.systems.base import channels_last

MODEL = "anlightendiff-small"


def picture(path: Path) -> Tensor:
    return torch.from_numpy(read_picture(path).rgb).permute(2, 0, 1)[None].contiguous()


def ways(system: AnlightenDiff, engines: bool) -> dict[str, Callable[[Tensor], Tensor]]:
    """By name, the published sampler first, all of the same weights. The system has the fast sampler."""
    published = copy.deepcopy(system).to(memory_format=torch.contiguous_format)
    steps = system.config.timesteps
    published.config = dataclasses.replace(
        system.config, steps=steps, sampler="drds", spacing="trailing", start_noise=False
    )

    def by_the_paper(low: Tensor) -> Tensor:
        with plain_networks(), lowlight_ext.use_backend("reference"):
            return published.enhance_tensor(low)

    found = {f"published, {steps} steps": by_the_paper}
    fast = f"fast, {system.config.steps} steps"
    found[fast] = channels_last(system).enhance_tensor
    if engines and openvino.missing() is None:
        for precision in ("exact", "fast"):
            if precision == "exact" or use.no_bfloat16(torch.device("cpu")) is None:
                other = use.use_engine(channels_last(copy.deepcopy(system)), "openvino", precision)
                found[f"{fast}, openvino {precision}"] = other.enhance_tensor
    return found


def race(system: AnlightenDiff, pairs: list[tuple[Tensor, Tensor | None]], engines: bool, clock: Clock) -> None:
    """Prints seconds of each way, median of the pictures in turn, and its PSNR where there is a truth."""
    runs = ways(system, engines)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    scores: dict[str, list[float]] = {name: [] for name in runs}
    for low, high in pairs:
        for name, run in runs.items():
            if "openvino" in name:
                # its graph is made and compiled once
                run(low)
            start = clock()
            made = run(low)
            seconds[name].append(clock() - start)
            scores[name] += [] if high is None else [psnr(made, high).item()]
    slowest = statistics.median(next(iter(seconds.values())))
    for name, times in seconds.items():
        taken, quality = statistics.median(times), scores[name]
        score = f"{statistics.mean(quality):>9.2f} dB" if quality else ""
        print(f"  {name:<32}{taken:>9.2f} s{slowest / taken:>8.1f}x{score}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="with folders low and high of 8-bit PNGs")
    parser.add_argument("--limit", type=int, default=3, help="pictures")
    parser.add_argument("--published-size", action="store_true")
    options, clock = begin(parser)
    shipped = lowlight.load(MODEL, device="cpu")
    assert isinstance(shipped, AnlightenDiff)
    if options.folder:
        names = sorted(path.name for path in (options.folder / "low").glob("*.png"))[: options.limit]
        pairs = [(picture(options.folder / "low" / name), picture(options.folder / "high" / name)) for name in names]
        print(f"{MODEL}, {len(pairs)} pictures")
        race(shipped, pairs, True, clock)
    if options.published_size:
        config = dataclasses.replace(shipped.config, widths=AnlightenDiffConfig().widths)
        print("published widths, random weights, 600 x 400")
        system = AnlightenDiff(config).eval().requires_grad_(False)
        race(system, [(torch.rand(1, 3, 400, 600) * 0.1, None)], False, clock)


if __name__ == "__main__":
    main()
