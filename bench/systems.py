"""Time whole pictures: `python bench/systems.py [--device cuda]`, each system beside itself on plain PyTorch.

The published sizes have random weights here, for the time does not ask for trained ones.
"""

import argparse
import os
from collections.abc import Iterator
from typing import Any

import torch
from records import machine, save
from timing import Contender, race

import lowlight
import lowlight_ext
from lowlight.checkpoints import shipped_models
from lowlight.engines.use import laid_out
from lowlight.memory import keep_freed
from lowlight.systems.anlightendiff.network import AnlightenDiffConfig
from lowlight.systems.anlightendiff.system import AnlightenDiff
from lowlight.systems.base import RawSystem, System
from lowlight.systems.diffll.system import DiffLL
from lowlight.systems.exposurediffusion.system import ExposureDiffusion

KEY = ("system", "size", "dtype", "steps", "threads")


def add_asked(parser: argparse.ArgumentParser) -> None:
    """The options that `asked` reads."""
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--size", type=int, nargs=2, default=(600, 400), metavar=("W", "H"))
    parser.add_argument("--only", default="", help="systems whose name contains this")
    parser.add_argument("--dtype", nargs="+", default=["float32"], choices=("float32", "bfloat16", "float16"))


def asked(options: argparse.Namespace) -> Iterator[tuple[str, str, System, torch.Tensor]]:
    """(dtype, name, system, its dark picture) of those asked for, one after the other."""
    device, (width, height) = torch.device(options.device), options.size
    for kind in options.dtype:
        dtype = getattr(torch, kind)
        for name, make in systems(device, dtype):
            if options.only in name:
                system = make()
                yield kind, name, system, dark_picture(system, width, height, device, dtype)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_asked(parser)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--steps", type=int, nargs="+", help="network calls (default: the system's own)")
    parser.add_argument("--seconds", type=float, default=10.0, help="for the runs of one row")
    return parser.parse_args()


def systems(device: torch.device, dtype: torch.dtype):
    """Name -> function that makes the system, one at a time, for the published ones are large."""
    for model in shipped_models():
        yield model.name, lambda name=model.name: lowlight.load(name, device=device, dtype=dtype)
    for name, make in (
        ("DiffLL, published size", DiffLL),
        ("AnlightenDiff, published size", lambda: AnlightenDiff(AnlightenDiffConfig())),
        ("ExposureDiffusion, published size", ExposureDiffusion),
    ):
        yield name, lambda make=make: published(make(), device, dtype)


def published(system: System, device: torch.device, dtype: torch.dtype) -> System:
    return laid_out(system.to(device=device, dtype=dtype).eval().requires_grad_(False))


def dark_picture(system: System, width: int, height: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """What the system takes of a photograph of width x height pixels: sRGB, or raw with each cell a packed pixel."""
    shape = (4, height // 2, width // 2) if isinstance(system, RawSystem) else (3, height, width)
    return torch.rand(1, *shape, device=device, dtype=dtype) * 0.1


def contender_options(system: System, steps: int | None) -> dict[str, Any]:
    """Of enhance_tensor; steps None: the system's own."""
    return {"ratio": 100.0, "K": 3.0, "steps": steps} if isinstance(system, RawSystem) else {"steps": steps}


def contender(system: System, low: torch.Tensor, steps: int, backend: str) -> Contender:
    options = contender_options(system, steps)

    def run(picture: torch.Tensor) -> torch.Tensor:
        with lowlight_ext.use_backend(backend):
            return system.enhance_tensor(picture, **options)

    return Contender(run, [(low,)], low.device)


def main() -> None:
    options = arguments()
    keep_freed()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    width, height = options.size
    rows = []
    print(f"{'system':<35}{'dtype':<10}{'S':>4}{'ours ms':>10}{'p20':>9}{'p80':>9}{'plain PyTorch ms':>18}{'gain':>7}")
    for kind, name, system, low in asked(options):
        for steps in options.steps or [system.config.steps]:
            pair = [contender(system, low, steps, backend) for backend in ("auto", "reference")]
            ours, plain = race(pair, options.seconds)
            gain = plain.median_ms / ours.median_ms
            print(f"{name:<35}{kind:<10}{steps:>4}{ours.median_ms:>10.1f}{ours.p20_ms:>9.1f}{ours.p80_ms:>9.1f}"
                  f"{plain.median_ms:>18.1f}{gain:>6.2f}x", flush=True)  # fmt: skip
            rows.append({"system": name, "size": f"{width}x{height}", "dtype": kind, "steps": steps,
                         "median_ms": round(ours.median_ms, 2), "p20_ms": round(ours.p20_ms, 2),
                         "p80_ms": round(ours.p80_ms, 2), "runs": ours.runs,
                         "pytorch_ms": round(plain.median_ms, 2)})  # fmt: skip
            # as they come: who is cut off keeps what was measured
            save(rows, machine(device, options.threads), "-systems", KEY)
    print(save(rows, machine(device, options.threads), "-systems", KEY))


if __name__ == "__main__":
    main()
