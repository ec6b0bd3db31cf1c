"""In the machine code, without a GPU: roots and reciprocals are nvcc's own, and the loops are as short as they were."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from ptx_on_cpu.building import CUDA, build_flags

BENCH = Path(__file__).resolve().parents[1] / "bench"
sys.path.insert(0, str(BENCH))
SOURCE = """
#include "{core}/real.h"
#define KERNEL(name, value) extern "C" __global__ void name(float* x) {{ *x = value; }}
KERNEL(their_root, __fsqrt_rn(*x))
KERNEL(our_root, lowlight::root(*x))
KERNEL(their_reciprocal, __frcp_rn(*x))
KERNEL(our_reciprocal, lowlight::reciprocal(*x))
"""
# by CUDA 13.0: instructions a number, a few more than `python bench/instructions.py` prints
MOST = {
    ("normal", "float32"): 39,
    ("normal", "bfloat16"): 40,
    ("uniform", "bfloat16"): 15,
    ("posterior step, anchored, noise", "bfloat16"): 74,
    ("poisson, mean 5", "float32"): 175,
    ("layer_norm2d", "bfloat16"): 45,
}


@pytest.fixture(scope="module")
def sass():
    if not BENCH.is_dir():
        pytest.skip("needs bench/ beside the tests")
    import sass

    try:
        sass.found("nvcc"), sass.found("cuobjdump")
    except sass.NoTool as missing:
        pytest.skip(str(missing))
    return sass


def stored(code, sass):
    """What a kernel stores, as a formula of x, on the way that it takes for usual numbers."""
    values = {}

    def operand(text):
        text = text.removesuffix(".reuse")
        if text.startswith("-"):
            return f"-({operand(text[1:])})"
        return values.get(text, text)

    whole = sass.Loop(code[0].at, code[-1].at, tuple(code))
    for each in (each for block in sass.blocks(whole) if not sass.is_rare(block) for each in block):
        name, target, *rest = re.split(r"[ ,]+", each.text.strip())
        name = re.sub(r"\.FTZ|\.E|\.SYS", "", name)
        if name == "LDG":
            values[target] = "x"
        elif name == "STG":
            return operand(rest[-1])
        elif name == "FADD" and rest[-1] == "-RZ":
            values[target] = operand(rest[0])
        elif name in ("MUFU.RSQ", "MUFU.RCP", "FMUL", "FFMA"):
            values[target] = f"{name}({', '.join(map(operand, rest))})"
    raise AssertionError("nothing is stored")


@pytest.mark.parametrize("architecture", [75, 80, 90, 100, 120])
def test_roots_are_nvccs_own(sass, architecture, tmp_path):
    """root and reciprocal take the steps of sqrt.rn and rcp.rn, to the sign and the order of factors: so they round
    as these do, whatever the device's approximation is."""
    source, target = tmp_path / "roots.cu", tmp_path / "roots.cubin"
    source.write_text(SOURCE.format(core=CUDA.parent / "core"))
    command = [sass.found("nvcc"), *build_flags(), f"-arch=sm_{architecture}", "-cubin", str(source), "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    dump = subprocess.run([sass.found("cuobjdump"), "-sass", str(target)], capture_output=True, text=True, check=True)
    code = sass.kernels(dump.stdout)
    formulas = {name: stored(each, sass) for name, each in code.items()}
    assert "MUFU.RSQ(x)" in formulas["our_root"]
    assert formulas["our_root"] == formulas["their_root"]
    assert "MUFU.RCP(x)" in formulas["our_reciprocal"]
    assert formulas["our_reciprocal"] == formulas["their_reciprocal"]


def test_loops_are_short(sass, tmp_path):
    import instructions

    if "release 13.0" not in subprocess.check_output([sass.found("nvcc"), "--version"], text=True):
        pytest.skip("counted by CUDA 13.0")
    code, seen = {}, set()
    for case in instructions.cases():
        for dtype in instructions.KINDS:
            if (most := MOST.get((case.name, dtype))) is None:
                continue
            if case.file not in code:
                code[case.file] = sass.kernels(sass.machine_code(case.file, tmp_path, 90))
            count = float(instructions.row(case, dtype, code[case.file], 4.3e12, 1.98e9)[2])
            assert most / 2 < count <= most, f"{case.name}, {dtype}: {count} instructions a number"
            seen.add((case.name, dtype))
    assert seen == set(MOST)
