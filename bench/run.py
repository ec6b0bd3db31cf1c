"""Time every operator beside the floor and the rivals: `python bench/run.py [--quick] [--device cuda]`.

An operator's tests run first; where they fail its rows are refused and the exit status is 1.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator

import torch
from cases import Case, available, cases, forced
from records import ROOT, machine, save
from rivals import compiled, missing
from timing import Contender, copy_bandwidth, keep_memory, race, rotations

SHAPES = {"cpu": ((1, 3, 400, 600), (8, 3, 1024, 1024)), "cuda": ((1, 3, 400, 600), (16, 3, 2048, 2048))}
HEADER = f"{'implementation':<18}{'median ms':>10}{'p20':>9}{'p80':>9}{'GB/s':>8}{'x floor':>9}{'vs PyTorch':>12}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a fifth of the time a row")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="threads of torch and OpenMP")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--shape", type=int, nargs=4, metavar=("B", "C", "H", "W"), help="instead of the usual two")
    parser.add_argument("--memory", default="kept", choices=("kept", "fresh"),
                        help="kept: freed memory is used again without new pages; fresh: malloc as it is")  # fmt: skip
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    return parser.parse_args()


def tested(file: str, results: dict[str, str | None]) -> bool:
    """Run tests/FILE once; its summary goes into `results`, None where it failed."""
    if file not in results:
        environment = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
        command = [sys.executable, "-m", "pytest", "-q", "-x", str(ROOT / "tests" / file)]
        # not from ROOT: `python -m` would import the sources there, without what was compiled and installed
        done = subprocess.run(command, cwd=ROOT / "tests", capture_output=True, text=True, env=environment)
        summary = re.search(r"(\d+ passed.*) in ", done.stdout)
        results[file] = summary[1] if done.returncode == 0 and summary else None
        print(f"tests/{file}: {results[file] or 'FAILED, its rows are refused'}", flush=True)
        if results[file] is None:
            print(done.stdout[-2000:])
    return results[file] is not None


def contenders(case: Case, device: torch.device, compile_too: bool) -> Iterator[tuple[str, Contender]]:
    first = case.make()
    sets = [first]
    size = sum(x.nbytes for x in first)
    sets += [case.make() for _ in range(rotations(size, device) - 1 if size else 0)]
    for backend, reason in available(case.operator, device).items():
        if reason:
            print(f"  {backend}: not timed, {reason}")
        else:
            yield backend, Contender(forced(backend, case.ours), sets, device)
    if case.plain:
        yield "PyTorch", Contender(case.plain, sets, device)
        if compile_too:
            yield "torch.compile", Contender(compiled(case.plain), sets, device)
    for name, (call, prepare) in case.others.items():
        yield name, Contender(call, [prepare(*inputs) for inputs in sets], device)


def timed(case: Case, shape: tuple, device: torch.device, bandwidth: float, options) -> list[dict]:
    """Race the contenders of one case, print its block of the table and return its records."""
    moved = case.pictures_moved * 4 * torch.Size(shape).numel()
    floor = 1e-6 * moved / bandwidth
    named = dict(contenders(case, device, not options.no_compile))
    with torch.inference_mode():
        results = dict(zip(named, race(list(named.values()), 0.4 if options.quick else 2.0), strict=True))
    print(f"\n{case.name}  {'x'.join(map(str, shape))} float32\n{HEADER}")
    print(f"{'floor':<18}{floor:>10.3f}{'':>18}{bandwidth:>8.1f}{1:>9.2f}")
    rows = []
    for name, timing in results.items():
        over_floor = timing.median_ms / floor
        gain = results["PyTorch"].median_ms / timing.median_ms if "PyTorch" in results else None
        print(f"{name:<18}{timing.median_ms:>10.3f}{timing.p20_ms:>9.3f}{timing.p80_ms:>9.3f}"
              f"{1e-6 * moved / timing.median_ms:>8.1f}{over_floor:>9.2f}"
              + (f"{gain:>11.2f}x" if gain else ""))  # fmt: skip
        rows.append({"op": case.name, "implementation": name, "shape": "x".join(map(str, shape)), "dtype": "float32",
                     "median_ms": round(timing.median_ms, 4), "p20_ms": round(timing.p20_ms, 4),
                     "p80_ms": round(timing.p80_ms, 4), "runs": timing.runs, "floor_ms": round(floor, 4),
                     "copy_gb_s": round(bandwidth, 2), "memory": options.memory})  # fmt: skip
    if case.goal and case.goal[0] in results:
        judge(case, results)
    return rows


def judge(case: Case, results: dict) -> None:
    rival, factor = case.goal
    for backend in ("cpp", "cuda", "triton"):
        if backend in results:
            ratio = results[backend].median_ms / results[rival].median_ms
            wanted = f"{factor:.2f} of {rival}" if factor >= 1 else f"1/{1 / factor:.0f} of {rival}"
            got = f"{ratio:.2f}" if factor >= 1 else f"1/{1 / ratio:.1f}"
            print(f"goal: {backend} within {wanted}: {'reached' if ratio <= factor else 'NOT reached'}, {got}")


def main() -> int:
    options = arguments()
    if options.memory == "kept" and options.device == "cpu":
        keep_memory()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("bench: --device cuda: torch finds no CUDA device", file=sys.stderr)
        return 2
    torch.set_num_threads(options.threads)
    device = torch.device(options.device, 0) if options.device == "cuda" else torch.device("cpu")
    facts = machine(device, options.threads)
    print(" | ".join(f"{k}: {v}" for k, v in facts.items() if v is not None), flush=True)
    for name, reason in missing().items():
        print(f"{name}: not timed, {reason}")
    results, rows = {}, []
    for shape in [tuple(options.shape)] if options.shape else SHAPES[device.type]:
        chosen = [c for c in cases(shape, device) if options.only in c.name]
        chosen = [c for c in chosen if tested(c.tests, results)]
        bandwidth = copy_bandwidth(device, 0.4 if options.quick else 2.0)
        for case in chosen:
            rows += timed(case, shape, device, bandwidth, options)
    if rows:
        print(f"\nwritten to {save(rows, facts, options.quick).relative_to(ROOT)} and .csv")
    return 1 if None in results.values() else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
