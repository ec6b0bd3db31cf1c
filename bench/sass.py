"""The machine code that nvcc makes of a file of csrc/cuda, and what a thread runs of a loop of it."""

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

CUDA = Path(__file__).resolve().parents[1] / "csrc" / "cuda"
INSTRUCTION = re.compile(r"/\*([0-9a-f]{4,5})\*/\s+(.*?)\s*;")
# beginning of an instruction's name -> how many of it a way has, least and most; None: as few as any way
Wanted = dict[str, tuple[int, int] | None]
BRANCH = re.compile(r"\bBRA(?:\.\w+)* (?:!?U?P\w+, )*(0x[0-9a-f]+)")
END = -1


class NoTool(Exception):
    """What is missing here to compile or read anything."""


def found(tool: str) -> str:
    """A tool of CUDA: on PATH, or the one that triton brings."""
    if path := shutil.which(tool):
        return path
    try:
        from triton.backends import nvidia
    except ImportError:
        nvidia = None
    if nvidia is not None and (path := shutil.which(tool, path=str(Path(nvidia.__file__).parent / "bin"))):
        return path
    raise NoTool(f"needs {tool}, of the CUDA toolkit or of triton, on PATH")


def compile_options() -> list[str]:
    """The options of the build that concern code, from its own file."""
    flags = re.search(r"target_compile_options\(cuda_kernels PRIVATE (.*?)\)", (CUDA / "cuda.cmake").read_text())
    assert flags is not None
    return ["-std=c++17", "-O3", *(flag for flag in flags[1].split() if "fma" in flag)]


def machine_code(file: str, folder: Path, architecture: int) -> str:
    """What cuobjdump shows of FILE.cu as the build compiles it: PTX of 8.0, assembled for `architecture`."""
    target = folder / f"{file}.cubin"
    virtual = min(architecture, 80)
    command = [found("nvcc"), *compile_options(), f"-gencode=arch=compute_{virtual},code=sm_{architecture}", "-cubin"]
    done = subprocess.run([*command, str(CUDA / f"{file}.cu"), "-o", str(target)], capture_output=True, text=True)
    if done.returncode:
        raise NoTool(f"nvcc could not compile {file}.cu: {done.stderr.strip()[-500:]}")
    return subprocess.run([found("cuobjdump"), "-sass", str(target)], capture_output=True, text=True, check=True).stdout


@dataclass(frozen=True)
class Instruction:
    at: int
    text: str

    @property
    def name(self) -> str:
        return re.sub(r"^@!?U?P\w+ ", "", self.text).split(" ")[0]

    @property
    def target(self) -> int | None:
        """Where a branch goes."""
        match = BRANCH.search(self.text)
        return int(match[1], 16) if match else None

    @property
    def conditional(self) -> bool:
        return self.text.startswith("@") or bool(re.search(r"BRA(?:\.\w+)* !?U?P", self.text))

    @property
    def ends_a_block(self) -> bool:
        return self.target is not None or self.name.split(".")[0] in ("EXIT", "RET", "BRX")


def kernels(code: str) -> dict[str, list[Instruction]]:
    """Mangled name -> its instructions, in order."""
    parts = re.split(r"Function : (\w+)", code)
    return {
        name: [Instruction(int(at, 16), text) for at, text in INSTRUCTION.findall(body)]
        for name, body in zip(parts[1::2], parts[2::2], strict=True)
    }


@dataclass(frozen=True)
class Loop:
    first: int
    last: int
    code: tuple[Instruction, ...]

    def holds(self, other: "Loop") -> bool:
        return self is not other and self.first <= other.first and other.last <= self.last

    def count(self, *names: str) -> int:
        return sum(each.name.startswith(names) for each in self.code)


def loops(code: list[Instruction]) -> list[Loop]:
    """Those of a kernel, by where they begin."""
    ends: dict[int, int] = {}
    for each in code:
        if each.target is not None and each.target < each.at:
            ends[each.target] = max(ends.get(each.target, 0), each.at)
    return [
        Loop(first, last, tuple(each for each in code if first <= each.at <= last))
        for first, last in sorted(ends.items())
    ]


Way = tuple[float, "Counter[Instruction]"]


def blocks(loop: Loop) -> list[list[Instruction]]:
    """Runs of instructions that are entered and left at their ends alone."""
    starts = {each.target for each in loop.code if each.target is not None} | {loop.first}
    made: list[list[Instruction]] = []
    fresh = True
    for each in loop.code:
        if fresh or each.at in starts:
            made.append([])
        made[-1].append(each)
        fresh = each.ends_a_block
    return made


def is_rare(block: list[Instruction]) -> bool:
    """The way around a division's or a square root's own code, for what is subnormal or no number."""
    return any(each.name.startswith("CALL") for each in block)


def longest(ways: Iterable[Way], old: Way | None = None) -> Way:
    return max([*ways, *([old] if old else [])], key=lambda way: way[0])


def run_of(loop: Loop, inner: Iterable[tuple[Loop, float]], wanted: Wanted) -> Counter[Instruction]:
    """The longest way from a loop's first instruction to its last, and how often each instruction runs on it: those of
    an inner loop as many times as it turns (`wanted` counts them once)."""
    turns: dict[int, float] = {}
    for within, times in sorted(inner, key=lambda pair: pair[0].first):
        turns |= {each.at: turns.get(within.first, 1) * times for each in within.code}
    ways: dict[int, dict[tuple[int, ...], Way]] = {loop.first: {(0,) * len(wanted): (0.0, Counter())}}
    made = blocks(loop)
    starts = {block[0].at for block in made}
    for block, after in zip(made, [*(b[0].at for b in made[1:]), None], strict=True):
        here = ways.pop(block[0].at, {})
        if is_rare(block):
            continue
        times = Counter({each: turns.get(each.at, 1) for each in block})
        has = [sum(each.name.startswith(kind) for each in block) for kind in wanted]
        for counts, (spent, way) in here.items():
            key = tuple(a + b for a, b in zip(counts, has, strict=True))
            longer = (spent + sum(times.values()), way + times)
            for to in goes_to(block[-1], after, loop.last):
                if to in starts or to == END:
                    ways.setdefault(to, {})[key] = longest([longer], ways.get(to, {}).get(key))
    through = ways.get(END, {})
    for i, most in enumerate(wanted.values()):
        low, high = most or (0, min((counts[i] for counts in through), default=0))
        through = {counts: way for counts, way in through.items() if low <= counts[i] <= high}
    if not through:
        raise LookupError(f"no way through the loop has {wanted}; some have {sorted(ways.get(END, {}))}")
    return longest(through.values())[1]


def goes_to(last: Instruction, after: int | None, end: int) -> list[int]:
    """Where a block may go on, forwards."""
    if last.at == end:
        return [END]
    to = last.target
    goes = [after] if after is not None and (to is None or last.conditional) else []
    return goes + ([to] if to is not None and to > last.at else [])
