"""Without a GPU: roundings and accesses in what nvcc makes of the kernels, the bindings, the script for a GPU."""

import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from ptx_on_cpu.building import CUDA, build_flags

from lowlight_ext import kernels_compiled, testing
from lowlight_ext.common import Source
from lowlight_ext.kernels_compiled import call

ARITHMETIC = re.compile(r"\b((?:add|sub|mul|mad|fma|div|sqrt|rcp|rsqrt|ex2|lg2|sin|cos)[.\w]*\.f(?:32|64))\b")
SEEDS = ("rsqrt.approx.ftz.f32", "rcp.approx.ftz.f32")
FILES = ("noise", "haar", "step", "q_sample", "poisson", "raw_noise", "exposure", "tone")
# float64 with exp and log of CUDA's own library, which estimates a quotient and fuses
LIBRARY = "ToneBodyId"
# kernels whose threads leave words in local memory, by CUDA 13.0 for sm_90: ptxas goes down to the registers of more
# blocks a multiprocessor. They are words of a plane or of a block's work, stored once and read back once a line or a
# plane, and never in the loop over a line
SPILLING = (
    *("StepBodyIdGroup4", "NormaliseBodyIdGroup4", "NormGradientBodyBFloat16Group8", "GateBodyIfGroup4"),
    *("ToneBodyIfGroup4", "ToneBodyHalfGroup4", "ToneBodyIdGroup1"),
    # around its loops over attempts
    "RawNoiseBodyIdGroup4",
)
# words that a thread may leave there for any GPU, by any version; six calls of a library's exp and log a pixel
MOST_SPILLED, MOST_OF_LIBRARY = 7 * 4, 18 * 4
# scalars that the threads of a plane share, each read once a plane: a row of 8, a time, a seed
SHARED_LOADS = 10


class Code(dict):
    """Kernel -> its PTX, of the file `path`."""

    path: Path


@pytest.fixture(scope="module")
def ptx(tmp_path_factory):
    """-> function: name of a .cu file -> {kernel: its PTX}."""
    nvcc = shutil.which("nvcc")
    if nvcc is None or not CUDA.is_dir():
        pytest.skip("needs nvcc and csrc/ beside the tests")
    folder, done = tmp_path_factory.mktemp("ptx"), {}

    def compiled(file):
        if file not in done:
            target = folder / f"{file}.ptx"
            options = [*build_flags(), "-arch=compute_90", "--ptx", "-o", str(target)]
            result = subprocess.run([nvcc, *options, str(CUDA / f"{file}.cu")], capture_output=True, text=True)
            if "cuda_runtime.h" in result.stderr:
                pytest.skip("nvcc has no toolkit behind it")
            assert result.returncode == 0, result.stderr[-3000:]
            parts = re.split(r"\.entry (\w+)\(", target.read_text())
            done[file] = Code(zip(parts[1::2], parts[2::2], strict=True))
            done[file].path = target
            assert done[file], f"{file}.cu has no kernel"
        return done[file]

    return compiled


@pytest.mark.parametrize("file", FILES)
def test_every_rounding_is_written_down(ptx, file):
    """No instruction that ptxas may contract (a product or sum without .rn), approximate or flush to zero, but for what
    roots and reciprocals begin with (test_roots_are_nvccs_own)."""
    for kernel, code in ptx(file).items():
        floats = set(ARITHMETIC.findall(code)) - set(SEEDS)
        assert floats or "Philox" in kernel, kernel
        loose = {op for op in floats if ".rn" not in op or "approx" in op or "ftz" in op or op.startswith("mad")}
        loose -= {"rcp.approx.ftz.f64"} if LIBRARY in kernel else set()
        assert not loose, f"{kernel}: {loose}"


def multiply_adds(kernel):
    """Multiply-adds of one kernel: each formula's in its header, times how often a group of pixels wants it."""

    def fused(header, function=""):
        text = (CUDA.parent / "core" / f"{header}.h").read_text()
        return len(re.findall(r"\bfused\(", text.split(function + "(")[1].split("\n}\n")[0] if function else text))

    # one of two is each multiple's
    log, power = fused("normal", "float log_uniform") - 1, fused("exponential")
    root, reciprocal = fused("real", "float root"), fused("real", "float reciprocal")
    pair = log + root + fused("normal", "Turn turn")
    body, pixels, flag = re.search(r"\d([A-Z]\w*?)Body.*?(?:GroupILi(\d)ELb\dEE(?:ELb(\d)E)?|$)", kernel).groups()
    counters, flag = int(pixels or 0) // 4, flag == "1"
    if body == "Tone":
        if LIBRARY in kernel:
            return 0
        # what white becomes, in three channels; then every number, and e^t of each again
        return 3 * ((int(pixels) + 1) * (log + power + fused("tukey")) + int(pixels) * (power + fused("tone")))
    normals, quantiles = 2 * pair * counters, 8 * (log + power + fused("tukey")) * counters
    # inversion of four pixels, and the rejection's test, whose code stands twice: for first attempts, and later ones
    counts = 4 * (power + fused("poisson")) + reciprocal + 2 * (2 * log + root + reciprocal)
    return {
        "Noise": normals if flag else 0,
        "Step": normals if flag else 0,
        "Forward": normals if flag else 0,
        "Poisson": counts,
        "Tukey": quantiles,
        "Exposure": counts if flag else 0,
        # the row's normal, p or P, g, G
        "RawNoise": pair + (counts if flag else normals) + normals + quantiles,
    }.get(body, 0)


@pytest.mark.parametrize("file", FILES)
def test_fused_where_the_formula_says_so(ptx, file):
    """Multiply-adds belong to ln, cos, sin and exp; everything else rounds twice, as on the CPU."""
    drawing = 0
    for kernel, code in ptx(file).items():
        fused, expected = len(re.findall(r"\bfma\.rn\.f32\b", code)), multiply_adds(kernel)
        assert fused == expected, f"{kernel}: {fused} multiply-adds, not {expected}"
        assert LIBRARY in kernel or not re.search(r"\bfma\.rn\.f64\b", code), kernel
        drawing += fused > 0
    assert (drawing > 0) == (file != "haar")


@pytest.mark.parametrize("file", FILES)
def test_aligned_groups_move_16_bytes(ptx, file):
    """Nothing but what a plane shares is read or written piecemeal by the kernels of aligned groups."""
    seen = defaultdict(int)
    for kernel, code in ptx(file).items():
        group = re.search(r"GroupILi(\d)ELb1E", kernel)
        if not group:
            continue
        stores = re.findall(r"\bst\.global[.\w]*", code)
        loads = re.findall(r"\bld\.global[.\w]*", code)
        assert stores, kernel
        assert all(".v2" in s or ".v4" in s for s in stores), f"{kernel}: {set(stores)}"
        assert sum(".v2" not in s and ".v4" not in s for s in loads) <= SHARED_LOADS, f"{kernel}: {loads}"
        seen[group[1]] += 1
    assert set(seen) == {"4", "8"}


@pytest.mark.parametrize("file", FILES)
def test_no_thread_needs_local_memory(ptx, file):
    for kernel, code in ptx(file).items():
        assert not re.search(r"\b(ld|st)\.local", code), kernel


def spilled(path, architecture):
    """Kernel -> bytes that a thread stores to local memory for want of registers, where there are any; and the tool's
    version."""
    target = path.with_suffix(f".{architecture}.cubin")
    command = ["nvcc", f"-arch=sm_{architecture}", "-cubin", "-Xptxas=-v", str(path), "-o", str(target)]
    if path.suffix == ".cu":
        command[1:1] = build_flags()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = re.findall(r"properties for (\w+)\n.*?(\d+) bytes spill stores", done.stderr)
    assert found, done.stderr
    return {kernel: int(count) for kernel, count in found if int(count)}


def most_spilled(kernel):
    return MOST_OF_LIBRARY if LIBRARY in kernel else MOST_SPILLED


def short(kernel):
    """NormaliseBodyIdGroup4 and the like, of a mangled name."""
    body, kind = re.search(r"\d([A-Z]\w*?)I(f|d|NS_4Half|NS_8BFloat16)E?", kernel).groups()
    group = re.search(r"GroupILi(\d)", kernel)
    kind = {"f": "If", "d": "Id", "NS_4Half": "Half", "NS_8BFloat16": "BFloat16"}[kind]
    return f"{body}{kind}{f'Group{group[1]}' if group else ''}"


@pytest.mark.parametrize("file", FILES)
def test_spills_are_named(ptx, file):
    """Of sm_90, by name where it is the compiler that they were named for."""
    found = spilled(ptx(file).path, 90)
    assert all(count <= most_spilled(kernel) for kernel, count in found.items()), found
    if "release 13.0" in subprocess.check_output(["nvcc", "--version"], text=True):
        assert {short(kernel) for kernel in found} <= set(SPILLING), found


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [75, 80, 100, 120])
@pytest.mark.parametrize("file", FILES)
def test_spills_are_few(ptx, file, architecture, tmp_path):
    ptx(file)
    source = tmp_path / f"{file}.cu"
    source.write_text(f'#include "{CUDA}/{file}.cu"\n')
    found = spilled(source, architecture)
    assert all(count <= most_spilled(kernel) for kernel, count in found.items()), found


def test_sass_contracts_nothing():
    """In the machine code of the Haar kernels, which have products and sums and no fused formula: no FFMA, no DFMA."""
    cuobjdump = shutil.which("cuobjdump")
    if call._C is None or not hasattr(call._C, "cuda_step"):
        pytest.skip("built without CUDA")
    if cuobjdump is None:
        pytest.skip("needs cuobjdump")
    command = [cuobjdump, "-sass", call._C.__file__]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    parts = re.split(r"Function : (\w+)", done.stdout)
    kernels = [(name, code) for name, code in zip(parts[1::2], parts[2::2], strict=True) if "HaarBody" in name]
    assert kernels
    for name, code in kernels:
        assert re.search(r"\b[FD]ADD\b", code)
        assert not re.search(r"\b[FD]FMA\b", code), name


def test_bindings_take_what_python_gives(monkeypatch):
    """Where CUDA is compiled and no device is there, every call arrives at the runtime, and its word at the caller."""
    module = call._C
    if not hasattr(module, "cuda_step"):
        pytest.skip("built without CUDA")
    if module.cuda_device_count():
        pytest.skip("there is a device: test_cuda.py runs the kernels")
    monkeypatch.setattr(call, "on_gpu", lambda x: True)
    monkeypatch.setattr(call, "launch", lambda kernel, device, arguments: kernel(*arguments, 0, 0))
    x, t, seeds = torch.rand(2, 1, 4, 8), torch.tensor([0, 1]), torch.tensor([3, 4])
    rows, table, source = testing._rows(2, "cpu"), torch.tensor([0.9, 0.5]), Source(seeds, 1, 2, 3, 4)
    words = torch.arange(6)
    calls = (
        lambda: kernels_compiled.normal(x.shape, source, torch.float16, x.device),
        lambda: kernels_compiled.philox(words[:4], words[4:]),
        lambda: kernels_compiled.haar_dwt2d(x),
        lambda: kernels_compiled.haar_idwt2d(torch.rand(4, 2, 3)),
        lambda: kernels_compiled.diffusion_step(x, x, rows, t, x, x, None, source, -1.0, 1.0, True),
        lambda: kernels_compiled.diffusion_step(x, x, rows[:1], None, None, None, x, None, None, None, False),
        lambda: kernels_compiled.diffusion_step_backward(x, x, x, x, rows, t, -1.0, 1.0),
        lambda: kernels_compiled.anchored_q_sample(x, t, table, x, None, source, True),
        lambda: kernels_compiled.anchored_q_sample_backward(x, x, t, table),
        lambda: kernels_compiled.poisson(x, source),
        lambda: kernels_compiled.tukey_lambda(x.shape, source, 0.1, torch.float16, x.device),
        lambda: kernels_compiled.raw_noise(x, torch.ones(2, 6), 11, 15583.0, True, Source(7, 1, 2, 3, 4)),
        lambda: kernels_compiled.exposure_step(x, x, torch.ones(1, 3), None, source),
        lambda: kernels_compiled.exposure_step(x, x, torch.ones(1, 3), x, None),
        lambda: kernels_compiled.exposure_step_backward(x, x, x, torch.ones(2, 3)),
        lambda: kernels_compiled.tone_curve(torch.rand(2, 3, 4, 8), *(torch.ones(2, n) for n in (3, 3, 1)), 0.1, 0.6),
    )
    for each in calls:
        with pytest.raises(RuntimeError, match=r" on CUDA: .*(driver|device)"):
            each()


def test_the_one_command_for_a_gpu_is_ready():
    """bench/on_gpu.sh parses, lists its steps anywhere, and claims nothing where there is no GPU."""
    script = CUDA.parents[1] / "bench" / "on_gpu.sh"
    if shutil.which("bash") is None or not script.exists():
        pytest.skip("needs bash and bench/ beside the tests")
    environment = os.environ | {"PYTHON": sys.executable}
    subprocess.run(["bash", "-n", script], check=True)
    dry = subprocess.run(["bash", script, "--dry-run"], capture_output=True, text=True, env=environment)
    assert dry.returncode == 0, dry.stderr
    for step in ("build", "kernels", "bits", "tests", "memcheck", "racecheck", "bench"):
        assert re.search(rf"^{step}: (would run|SKIPPED, no )", dry.stdout, re.MULTILINE), step
    one = subprocess.run(["bash", script, "--dry-run", "bench"], capture_output=True, text=True, env=environment)
    assert re.findall(r"^(\w+): (?:would run|SKIPPED)", one.stdout, re.MULTILINE) == ["bench"]
    unknown = subprocess.run(["bash", script, "haste"], capture_output=True, text=True, env=environment)
    assert unknown.returncode == 2
    assert "STEP must be one of" in unknown.stderr
    if not torch.cuda.is_available():
        real = subprocess.run(["bash", script], capture_output=True, text=True, env=environment)
        assert real.returncode == 2
        assert "no CUDA device" in real.stderr
