"""Time every operator beside the floor and the rivals: `python bench/run.py [--quick] [--device cuda]`.

An operator's tests run first; where they fail its rows are refused and the exit status is 1.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from case import Case, Setting, available, forced
from cases import cases
from records import ROOT, machine, save
from rivals import compiled, missing
from timing import Contender, copy_bandwidth, matrix_rate, race, rotations

from lowlight.memory import keep_freed
from lowlight.plots.drawing import figure_of
from lowlight.plots.drawing import save as save_figure
from lowlight_ext.backends import NAMES

SHAPES = {"cpu": ((1, 3, 400, 600), (8, 3, 1024, 1024)), "cuda": ((1, 3, 400, 600), (16, 3, 2048, 2048))}
DTYPES = ("float32", "float16", "bfloat16", "float64")
HEADER = f"{'implementation':<18}{'median ms':>10}{'p20':>9}{'p80':>9}{'GB/s':>8}{'x floor':>9}{'vs PyTorch':>12}"


def roofline_picture(results: Path) -> str:
    """Draws NAME.png beside NAME.json; a sentence that says what came of it."""
    try:
        save_figure(figure_of([results]), results.with_suffix(".png"))
    except (ImportError, ValueError) as error:
        return f"no roofline picture: {error}"
    return f"roofline picture: {results.with_suffix('.png').name}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a fifth of the time a row")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="threads of torch and OpenMP")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--dtype", nargs="+", default=["float32"], choices=DTYPES)
    parser.add_argument("--shape", type=int, nargs=4, metavar=("B", "C", "H", "W"), help="instead of the usual two")
    parser.add_argument("--memory", default="kept", choices=("kept", "fresh"),
                        help="kept: freed memory is used again without new pages; fresh: malloc as it is")  # fmt: skip
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=False,
                        help="torch.compile of the PyTorch formulas too, up to half a minute a case")  # fmt: skip
    return parser.parse_args()


def tested(file: str, results: dict[str, str | None]) -> bool:
    """Run tests/FILE once; its summary goes into `results`, None where it failed."""
    if file not in results:
        command = [sys.executable, "-m", "pytest", "-q", "-x", str(ROOT / "tests" / file)]
        # not from ROOT: `python -m` would import the sources there, without what was compiled and installed
        done = subprocess.run(command, cwd=ROOT / "tests", capture_output=True, text=True)
        summary = re.search(r"(\d+ passed.*) in ", done.stdout)
        results[file] = summary[1] if done.returncode == 0 and summary else None
        print(f"tests/{file}: {results[file] or 'FAILED, its rows are refused'}", flush=True)
        if results[file] is None:
            print(done.stdout[-2000:])
    return results[file] is not None


def contenders(case: Case, device: torch.device, compile_too: bool) -> Iterator[tuple[str, Contender]]:
    """All that can run the case, tried once each; a line for what can not, with the reason."""
    first = case.make()
    sets = [first]
    size = sum(x.nbytes for x in first)
    sets += [case.make() for _ in range(rotations(size, device) - 1 if size else 0)]
    candidates = []
    for backend, reason in available(case.operator, device).items():
        if reason:
            print(f"  {backend}: not timed, {reason}")
        else:
            candidates.append((backend, forced(backend, case.ours), None))
    if case.plain:
        candidates.append(("PyTorch", case.plain, None))
        if compile_too:
            candidates.append(("torch.compile", case.compiled() if case.compiled else compiled(case.plain), None))
    candidates += [(name, call, prepare) for name, (call, prepare) in case.others.items()]
    for name, call, prepare in candidates:
        contender = Contender(call, [prepare(*inputs) for inputs in sets] if prepare else sets, device)
        try:
            with torch.inference_mode():
                contender.run()
        except Exception as error:  # a rival without this dtype, say; ours must run
            if name in NAMES:
                raise
            print(f"  {name}: not timed, {type(error).__name__}: {str(error).strip().splitlines()[0]}")
        else:
            yield name, contender


def timed(case: Case, on: Setting, roof: dict[str, float], options) -> list[dict]:
    """Race the contenders of one case, print its block of the table and return its records."""
    elements = torch.Size(on.shape).numel()
    moved = case.pictures_moved * on.dtype.itemsize * elements
    floor = 1e-6 * moved / roof["copy_gb_s"]
    shape, dtype = "x".join(map(str, on.shape)), str(on.dtype).removeprefix("torch.")
    print(f"\n{case.name}  {shape} {dtype}")
    # not under inference mode: what is made there has no gradients
    named = dict(contenders(case, on.device, options.compile))
    with torch.inference_mode():
        results = dict(zip(named, race(list(named.values()), 0.4 if options.quick else 2.0), strict=True))
    print(f"{HEADER}\n{'floor':<18}{floor:>10.3f}{'':>18}{roof['copy_gb_s']:>8.1f}{1:>9.2f}")
    rows = []
    for name, timing in results.items():
        over_floor = timing.median_ms / floor
        gain = results["PyTorch"].median_ms / timing.median_ms if "PyTorch" in results else None
        print(f"{name:<18}{timing.median_ms:>10.3f}{timing.p20_ms:>9.3f}{timing.p80_ms:>9.3f}"
              f"{1e-6 * moved / timing.median_ms:>8.1f}{over_floor:>9.2f}"
              + (f"{gain:>11.2f}x" if gain else ""))  # fmt: skip
        rows.append({"op": case.name, "implementation": name, "shape": shape, "dtype": dtype,
                     "median_ms": round(timing.median_ms, 4), "p20_ms": round(timing.p20_ms, 4),
                     "p80_ms": round(timing.p80_ms, 4), "runs": timing.runs, "floor_ms": round(floor, 4),
                     "gb_s": round(1e-6 * moved / timing.median_ms, 2), "share_of_floor": round(1 / over_floor, 3),
                     "to_pytorch": round(gain, 2) if gain else None,
                     "operations": round(case.operations * elements), **roof, "memory": options.memory})  # fmt: skip
    if case.goal and case.goal[0] in results:
        judge(case, results)
    return rows


def judge(case: Case, results: dict) -> None:
    rival, factor = case.goal
    for backend in ("cpp", "cuda", "triton"):
        if backend in results:
            ratio = results[backend].median_ms / results[rival].median_ms
            wanted = f"{factor:.2f} of {rival}" if factor >= 1 else f"1/{1 / factor:.3g} of {rival}"
            got = f"{ratio:.2f}" if factor >= 1 else f"1/{1 / ratio:.1f}"
            print(f"goal: {backend} within {wanted}: {'reached' if ratio <= factor else 'NOT reached'}, {got}")


def main() -> int:
    options = arguments()
    if options.memory == "kept" and options.device == "cpu":
        keep_freed()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("bench: --device cuda: torch finds no CUDA device", file=sys.stderr)
        return 2
    torch.set_num_threads(options.threads)
    device = torch.device(options.device, 0) if options.device == "cuda" else torch.device("cpu")
    facts = machine(device, options.threads)
    print(" | ".join(f"{k}: {v}" for k, v in facts.items() if v is not None), flush=True)
    for name, reason in missing().items():
        print(f"{name}: not timed, {reason}")
    results, rows, path = {}, [], None
    seconds = 0.4 if options.quick else 2.0
    for shape in [tuple(options.shape)] if options.shape else SHAPES[device.type]:
        for name in options.dtype:
            on = Setting(shape, getattr(torch, name), device)
            chosen = [c for c in cases(on) if options.only in c.name]
            chosen = [c for c in chosen if tested(c.tests, results)]
            roof = {"copy_gb_s": round(copy_bandwidth(device, seconds), 2),
                    "matrix_gflop_s": round(matrix_rate(device, seconds), 1)}  # fmt: skip
            for case in chosen:
                rows += timed(case, on, roof, options)
                # as they come: who is cut off keeps what was measured
                path = save(rows, facts, "-quick" if options.quick else "") if rows else None
    if path:
        print(f"\nwritten to {path.relative_to(ROOT)} and .csv")
        print(roofline_picture(path))
    return 1 if None in results.values() else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
