"""Instructions of the CUDA kernels' loops, counted in the machine code: `python bench/instructions.py`.

A count, not a run: nothing here has seen a GPU. A warp's loop takes at least as many clocks of its scheduler as it has
instructions (`issue`), and as many as its busiest pipe needs (`pipe`): an H100 and an H200 have, a scheduler and clock,
32 lanes for float32 (half of them multiply integers too), 16 for other integers, comparisons and conversions, 16 for
float64, 4 for roots and reciprocals, 8 for loads and stores (CUDA C++ Programming Guide, arithmetic throughput of 9.0).
The shares are of the bandwidth of a copy; 100 and above means that memory is what a kernel waits for. Latencies are
not in them, nor what a thread does before its loops.
"""

import argparse
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sass
from sass import Instruction, Loop, Wanted
from warps import WARP, turns

SCHEDULERS = 132 * 4
KINDS = {"float32": "f", "float16": "NS_4HalfE", "bfloat16": "NS_8BFloat16E", "float64": "d"}
SIZES = {"float32": 4, "float16": 2, "bfloat16": 2, "float64": 8}
# clocks of a pipe for a warp's instruction, by how its name begins; a name that is not here takes an issue slot alone
PIPES = {
    "fma": ("FFMA", "FADD", "FMUL", "HFMA2", "HADD2", "HMUL2"),
    "imad": ("IMAD",),
    "alu": (
        *("LOP3", "IADD3", "VIADD", "SHF", "SHL", "SHR", "ISETP", "FSETP", "FSEL", "SEL", "FMNMX", "IMNMX", "VIMNMX"),
        *("MOV", "LEA", "PRMT", "PLOP3", "I2FP", "F2FP", "P2R", "R2P", "FCHK", "IABS", "CS2R"),
    ),
    "fp64": ("DADD", "DMUL", "DFMA", "DSETP"),
    "xu": ("MUFU", "I2F.", "F2I", "F2F", "POPC", "FLO", "FRND"),
    "lsu": ("LDG", "STG", "LDS", "STS", "SHFL", "LDC"),
}
CLOCKS = {"fma": 1, "imad": 2, "alu": 2, "fp64": 2, "xu": 8, "lsu": 4}


@dataclass(frozen=True)
class Kernel:
    """Expression of the mangled name, in which KIND and WIDE stand for the dtype and the pixels of a group; the numbers
    that a thread's turn treats, by the bytes of one as it is computed; the way through the loop, as sass.run_of."""

    name: str
    numbers: dict[str, int]
    wanted: Wanted = field(default_factory=dict)
    # turns of the loops within it: the first here of whose instruction a loop has so many
    inner: dict[tuple[str, int], float] = field(default_factory=dict)
    # of an elementwise kernel: how many lines a thread's pieces lie on, 0 for those of a picture
    lines: int = 0


@dataclass(frozen=True)
class Case:
    """An operator's kernels, those of one file, and how many tensors it must read or write once."""

    name: str
    file: str
    kernels: tuple[Kernel, ...]
    tensors: int


# groups that a thread of a large tensor takes (grid_of in csrc/cuda/grid.h), and on how many lines of 2048 numbers
PIECES = 16
LINES = {"float32": 1, "float16": 2, "bfloat16": 2, "float64": 1}
# as many of an instruction as numbers
EACH = (-1, -1)
GROUP = {"float32": 4, "float16": 8, "bfloat16": 8, "float64": 4}
KEPT = {"float32": 32, "float16": 32, "bfloat16": 32, "float64": 16}


def body(name: str, flags: str = "", **more: Any) -> Kernel:
    return Kernel(rf"\d{name}BodyIKINDNS_5GroupILiWIDEELb1EEE{flags}", GROUP, **more)


def counts(mean: float) -> Kernel:
    """Poisson's: below a mean of 10 one call of Philox and inversion, above it two and rejection."""
    products = (0, 30) if mean < 10 else (30, 100)
    return body("Poisson", wanted={"IMAD.WIDE": products}, inner=turns(mean))


def sums(pairs: int, threads: float) -> dict[tuple[str, int], float]:
    """Loops of a block's sums: over pairs of lanes, over the sums (a share of the threads takes one), over its warps,
    four of the eight at once."""
    return {("SHFL", 1): pairs, ("STS", 1): threads, ("LDS", 4): 2, ("LDS", 1): 0}


def cases() -> list[Case]:
    normals = [
        Case("normal", "noise", (body("Noise", "Lb1E"),), 1),
        Case("uniform", "noise", (body("Noise", "Lb0E"),), 1),
        Case("posterior step, anchored, noise", "step", (body("Step", "Lb1E"),), 4),
        Case("anchored_q_sample, noise", "q_sample", (body("Forward", "Lb1E"),), 3),
        # of two parts that exclude each other the longer one: Tukey's lambda
        Case("raw_noise, p+G+r+u", "raw_noise", (body("RawNoise", "Lb0E"),), 2),
        Case("tukey_lambda", "poisson", (body("Tukey"),), 1),
    ]
    poisson = [Case(f"poisson, mean {mean:g}", "poisson", (counts(mean),), 2) for mean in (1, 5, 20, 1000)]
    columns = Kernel(r"ColumnMomentsIKINDLb1E", KEPT, {"BAR": (4, 4), "MUFU": None}, sums(2, 0.375))
    # SiLU divides once a number, as Mish does
    silu = body("Normalise", "Lb1E", wanted={"MUFU": EACH}, lines=PIECES)
    norms = [
        Case("group_norm_silu, channels_last", "norm", (columns, silu), 2),
        Case(
            "layer_norm2d",
            "layer_norm",
            (Kernel(r"LayerNormBodyIKINDLb1ELb0ELb1E", KEPT, {"BAR": (4, 4)}, sums(1, 0.75)),),
            2,
        ),
    ]
    return normals + poisson + norms


def pipe_of(each: Instruction) -> str:
    return next((pipe for pipe, names in PIPES.items() if each.name.startswith(names)), "")


def clocks(times: Counter[Instruction]) -> dict[str, float]:
    """Clocks that a warp's turn keeps each part of a scheduler busy."""
    spent: Counter[str] = Counter()
    for each, count in times.items():
        spent["issue"] += count
        if pipe := pipe_of(each):
            spent[pipe] += count * CLOCKS[pipe]
    # integer products lie in one half of the float32 lanes, the others take both
    spent["fma"] = max(spent["fma"] + spent["imad"] / 2, spent["imad"])
    return dict(spent)


def within(main: Loop, every: list[Loop], kernel: Kernel) -> Iterator[tuple[Loop, float]]:
    """The loops within a kernel's, and how often they turn: what is in them tells them apart."""
    for loop in (each for each in every if main.holds(each)):
        kinds = (times for (kind, least), times in kernel.inner.items() if loop.count(kind) >= least)
        times = next(kinds, None)
        if times is None:
            raise LookupError(f"{kernel.name}: a loop of which nothing is known, at {loop.first:#x}")
        yield loop, times


def counted(kernel: Kernel, dtype: str, code: dict[str, list[Instruction]]) -> tuple[Counter[Instruction], int]:
    """-> instructions of a turn of the loop over a thread's work, and how many numbers it treats."""
    pattern = kernel.name.replace("KIND", KINDS[dtype]).replace("WIDE", str(GROUP[dtype]))
    names = [name for name in code if re.search(pattern, name)]
    if len(names) != 1:
        raise LookupError(f"{len(names)} kernels are {pattern}")
    every = sass.loops(code[names[0]])
    main, *storing = [loop for loop in every if loop.count("STG")]
    if "crews" in names[0]:
        return sass.run_of(main, list(within(main, every, kernel)), kernel.wanted), kernel.numbers[dtype]
    numbers, lines = kernel.numbers[dtype], kernel.lines or LINES[dtype]
    # one warp of eight forms what a plane shares
    wanted = {kind: (numbers, numbers) if most == EACH else most for kind, most in kernel.wanted.items()}
    inner = [(storing[0], lines), (storing[1], PIECES / lines), *within(storing[1], every, kernel)]
    return sass.run_of(main, inner, wanted | {"STS": None}), PIECES * numbers


def row(case: Case, dtype: str, code: dict[str, list[Instruction]], bandwidth: float, clock: float) -> list[str]:
    spent: Counter[str] = Counter()
    for kernel in case.kernels:
        times, numbers = counted(kernel, dtype, code)
        spent.update({pipe: each / numbers for pipe, each in clocks(times).items()})
    memory = WARP * case.tensors * SIZES[dtype] * SCHEDULERS * clock / bandwidth
    issue = spent.pop("issue")
    busiest, most = max(spent.items(), key=lambda pair: pair[1])
    shares = [f"{min(100 * memory / each, 999):.0f} %" for each in (issue, most)]
    return [case.name, dtype, f"{issue:.1f}", shares[0], f"{busiest} {most:.1f}", shares[1]]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"], choices=tuple(KINDS))
    parser.add_argument("--architecture", type=int, default=90)
    parser.add_argument("--copy", type=float, default=4.3, help="TB/s of a copy (H200 4.3, H100 about 3)")
    parser.add_argument("--clock", type=float, default=1.98, help="GHz")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    chosen = [case for case in cases() if options.only in case.name]
    print(f"counted, not run: sm_{options.architecture}, 132 multiprocessors at {options.clock} GHz, "
          f"copy {options.copy} TB/s")  # fmt: skip
    line = "{:<34}{:<10}{:>14}{:>9}{:>14}{:>9}".format
    print(line("", "", "instructions", "of copy", "busiest pipe", "of copy"))
    with tempfile.TemporaryDirectory() as folder:
        files = {case.file for case in chosen}
        code = {file: sass.kernels(sass.machine_code(file, Path(folder), options.architecture)) for file in files}
    for case in chosen:
        for dtype in options.dtypes:
            print(line(*row(case, dtype, code[case.file], options.copy * 1e12, options.clock * 1e9)))


if __name__ == "__main__":
    main()
