"""Time and peak memory of whole pictures, 600 x 400 to 12 megapixels: `python bench/sizes.py`.

Every run is a process of its own, on one thread, with a malloc that keeps what is freed, as the command line's does
(--fresh: as malloc is by itself); the forms of a row run in turns. Seconds are the process's own. What needs more than
--memory or --limit is left out, and said. Forms:
here: as the package runs it. formulas: the papers' networks, one PyTorch call a step, NCHW, and no operator of this
package. compiled: torch.compile of those. fast, openvino: as --precision fast and --engine openvino.
published: an AnlightenDiff by its authors' sampler, all steps of it, in formulas.
"Floor": what the convolutions, matrix products and attention of the formulas take at least, each at the rate of a large
matrix product or of a copy of memory, measured beside it (work.py); all else for nothing.
"""

import argparse
import dataclasses
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from plain_networks import plain_networks
from records import machine, save
from systems import contender_options, dark_picture, systems
from timing import copy_bandwidth, matrix_rate
from work import count, floor

import lowlight
import lowlight_ext
from lowlight.checkpoints import shipped_models
from lowlight.engines.use import use_engine
from lowlight.memory import keep_freed
from lowlight.systems.base import System
from lowlight.systems.networks import networks

CPU = torch.device("cpu")
KEY = ("system", "size", "form")
SIZES = ("600x400", "1920x1080", "3840x2160", "4000x3000")
FORMS = ("here", "fast", "formulas", "openvino", "compiled", "published")


def made(name: str, form: str) -> System:
    """The system as the form has it."""
    if form == "openvino":
        if name not in [model.name for model in shipped_models()]:
            raise ValueError(f"{name}: OpenVINO is timed with the shipped weights")
        return lowlight.load(name, device="cpu", engine="openvino")
    system = dict(systems(CPU, torch.float32))[name]()
    if form == "fast":
        return use_engine(system, "torch", "fast")
    if form == "published":
        published = {"steps": system.config.timesteps, "sampler": "drds", "spacing": "trailing", "start_noise": False}
        system.config = dataclasses.replace(system.config, **published)
    if form != "here":
        system = system.to(memory_format=torch.contiguous_format)
    if form == "compiled":
        for network in networks(system).values():
            setattr(network.owner, network.method, torch.compile(getattr(network.owner, network.method)))
    return system


def peak_mb() -> float:
    """Of this process since it began."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def run_one(name: str, size: tuple[int, int], form: str, memory_gb: float, fresh: bool) -> dict[str, Any]:
    """What a process of its own does: median seconds of a picture, and the peak."""
    resource.setrlimit(resource.RLIMIT_DATA, (int(memory_gb * 2**30),) * 2)
    if not fresh:
        keep_freed()
    torch.set_num_threads(1)
    system = made(name, form)
    low, options = dark_picture(system, *size, CPU, torch.float32), contender_options(system, None)
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        if form not in ("here", "openvino", "fast"):
            stack.enter_context(plain_networks())
            stack.enter_context(lowlight_ext.use_backend("reference"))
        # what is made once: small maps do for PyTorch, a compiler wants the size itself
        system.enhance_tensor(low if form in ("compiled", "openvino", "fast") else low[..., :64, :96], **options)
        times: list[float] = []
        while sum(times) < 2:
            start = time.process_time()
            system.enhance_tensor(low, **options)
            times.append(time.process_time() - start)
    return {
        "seconds": statistics.median(times),
        "peak_mb": peak_mb(),
        # what the machine does at this moment, for others use it too
        "matrix_gflop_s": matrix_rate(CPU, 1.0, time.process_time),
        "copy_gb_s": copy_bandwidth(CPU, 1.0, time.process_time),
    }


def work_of(name: str, size: tuple[int, int], form: str) -> dict[str, Any]:
    system = made(name, form if form == "published" else "here")
    low, options = dark_picture(system, *size, CPU, torch.float32), contender_options(system, None)
    with torch.no_grad():
        work = count(system, lambda: system.enhance_tensor(low, **options))
    return {"products": work.products, "gb": work.bytes / 1e9}


def in_a_process(name: str, size: str, form: str, options: argparse.Namespace, work: bool = False) -> dict | str:
    """What the run gave, or in a few words why it gave nothing."""
    words = [sys.executable, __file__, "--one", name, size, form, "--memory", str(options.memory)]
    words += ["--fresh"] * options.fresh + ["--work"] * work
    try:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(words, capture_output=True, text=True, timeout=options.limit, env=environment)
    except subprocess.TimeoutExpired:
        return f"longer than {options.limit:g} s"
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    lines = done.stderr.strip().splitlines() or [f"ended by signal {-done.returncode}"]
    memory = any(word in done.stderr for word in ("alloc", "MemoryError"))
    return f"more than {options.memory:g} GB" if memory else lines[-1]


def measure(name: str, size: str, options: argparse.Namespace) -> list[dict]:
    """The rows of one system and size."""
    known: dict[str, dict | str] = {}
    found: dict[str, list[dict]] = {form: [] for form in options.forms}
    for _ in range(options.turns):
        for form in [form for form, runs in found.items() if not isinstance(known.get(form), str)]:
            known[form] = result = in_a_process(name, size, form, options)
            found[form] += [] if isinstance(result, str) else [result]
    rows, works = [], {}
    for form, runs in found.items():
        if not runs:
            print(f"  {name}, {size}, {form}: left out ({known[form]})", flush=True)
            continue
        own = form == "published"
        if own not in works:
            works[own] = in_a_process(name, size, form, options, work=True)
        label = f"{form}, fresh pages" if options.fresh else form
        rows.append(row(name, size, label, runs, works[own]))
    return rows


def row(name: str, size: str, form: str, runs: list[dict], work: dict | str) -> dict[str, Any]:
    if isinstance(work, str):
        raise RuntimeError(f"{name}, {size}: {work}")
    floors = [floor(work["products"], run["matrix_gflop_s"], run["copy_gb_s"]) for run in runs]
    figures = {
        "seconds": statistics.median(run["seconds"] for run in runs),
        # the first run of an engine may have made its graph
        "peak_mb": min(run["peak_mb"] for run in runs),
        "gflop": sum(operations for operations, _ in work["products"]) / 1e9,
        "gb": work["gb"],
        "floor_seconds": statistics.median(floors),
        "of_floor": statistics.median(least / run["seconds"] for least, run in zip(floors, runs, strict=True)),
        "matrix_gflop_s": statistics.median(run["matrix_gflop_s"] for run in runs),
        "copy_gb_s": statistics.median(run["copy_gb_s"] for run in runs),
    }
    print(f"{name:<34}{size:>10} {form:<18}{figures['seconds']:>9.2f} s{figures['peak_mb']:>8.0f} MB"
          f"{figures['gflop']:>9.0f} GFLOP{figures['gb']:>7.1f} GB{figures['floor_seconds']:>8.2f} s"
          f"{figures['of_floor']:>6.0%}", flush=True)  # fmt: skip
    rounded = {key: float(f"{value:.4g}") for key, value in figures.items()}
    return {"system": name, "size": size, "form": form, "runs": len(runs), **rounded}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="WxH")
    parser.add_argument("--forms", nargs="+", default=FORMS[:-1], choices=FORMS)
    parser.add_argument("--only", nargs="+", default=[""], help="systems whose name contains one of these")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--memory", type=float, default=8.0, help="GB that a process may have")
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds of one process")
    parser.add_argument("--fresh", action="store_true", help="fresh pages for every large map")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, size, form = options.one
        width, height = map(int, size.split("x"))
        one = work_of(name, (width, height), form) if options.work else None
        print(json.dumps(one or run_one(name, (width, height), form, options.memory, options.fresh)))
        return
    print(f"{'system':<34}{'size':>10} {'form':<18}{'seconds':>11}{'peak':>11}{'work':>15}{'moved':>10}"
          f"{'floor':>10}{'of it':>6}", flush=True)  # fmt: skip
    for name, _ in systems(CPU, torch.float32):
        for size in options.sizes:
            if any(each in name for each in options.only):
                # as they come: who is cut off keeps what was measured
                save(measure(name, size, options), machine(CPU, 1), "-sizes", KEY)


if __name__ == "__main__":
    main()
