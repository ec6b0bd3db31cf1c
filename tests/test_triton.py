"""The Triton kernels: the bits of C++, in small programs too; compilation for GPUs without one; why they are missing.

Without a GPU they run in triton's interpreter (conftest.py), and the operators' own tests run on them as well.
"""

import json
import os
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lowlight_ext import (
    anchored_q_sample,
    backends,
    diffusion_step,
    gpu_choice,
    normal,
    poisson,
    testing,
    uniform,
    use_backend,
)
from lowlight_ext.backends import OPERATORS, select
from lowlight_ext.checks import DTYPES
from lowlight_ext.common import Source
from lowlight_ext.reference.poisson import inversion
from lowlight_ext.testing_norm import NORMS

choice = sys.modules["lowlight_ext.backends"]
DEVICE = testing.DEVICES["triton"]
HERE = Path(__file__).parent
missing = next((f"{name}: {why}" for name in ("triton", "cpp") if (why := backends("normal")[name])), None)
both = pytest.mark.skipif(missing is not None, reason=f"compares triton with cpp; {missing}")
triton = pytest.importorskip("triton", reason="triton is not installed")
import triton.language as tl  # noqa: E402

from lowlight_ext.kernels_triton import (  # noqa: E402
    activation,
    anchored,
    blocks,
    exposure,
    gate,
    haar,
    layer_norm,
    noise,
    norm,
    slabs,
    step,
    tiles,
    tone,
    tukey,
)

# the package's name for it is the operator
counts = sys.modules["lowlight_ext.kernels_triton.poisson"]
MODULES = (anchored, blocks, counts, exposure, haar, noise, step, tone, tukey)
MODULES += (activation, gate, layer_norm, norm, slabs, tiles)
# operators that have a Triton kernel so far
WRITTEN = [op for op in OPERATORS if "has no Triton kernel" not in (choice.why_not("triton", op, DEVICE) or "")]


# a program that draws counts takes the interpreter a tenth of a second: smaller pictures and fewer samples
LONG = ("poisson", "tukey_lambda", "raw_noise", "exposure_step") if testing.interpreted("triton") else ()


def same_numbers(op, shape, dtype, layout="contiguous", last=0):
    """Every sample of the operator, or the last ones, is equal on C++ and Triton, of a normalisation near."""
    samples = (list(testing.sample_inputs(op, shape, dtype, device, layout))[-last:] for device in ("cpu", DEVICE))
    for ours, theirs in zip(*samples, strict=True):
        with use_backend("cpp"):
            expected = ours()
        with use_backend("triton"):
            results = theirs()
        allowed = testing.tolerance(ours, dtype)
        for result, wanted in zip(results, expected, strict=True):
            assert result.is_contiguous()
            # float64 has each library's own exp and log there
            if op in NORMS or (op == "tone_curve" and dtype == torch.float64):
                torch.testing.assert_close(result.cpu(), wanted, rtol=allowed.rtol, atol=allowed.atol)
                continue
            assert torch.equal(result.cpu(), wanted), f"{op} ({ours.name}) {dtype} {shape}"


def small_programs(monkeypatch, wide, count=16):
    """`count` pixels, channels or partial sums a program, with offsets of 64 bits where `wide`."""
    sizes = dict.fromkeys(("BLOCK", "INTERPRETED_BLOCK", "SLAB", "KEPT", "ENTRIES", "INNER"), count)
    for name, value in {**sizes, "NARROW": 0 if wide else blocks.NARROW}.items():
        for module in MODULES:
            if hasattr(module, name):
                monkeypatch.setattr(module, name, value)


def quick(dtypes):
    """float32, and the others where they are quick or asked for with --slow."""
    slow = pytest.mark.slow if testing.interpreted("triton") else ()
    return [pytest.param(d, marks=() if d == torch.float32 else slow) for d in dtypes]


@both
@pytest.mark.parametrize("dtype", quick(DTYPES))
@pytest.mark.parametrize("op", WRITTEN)
def test_bits_of_cpp(op, dtype):
    if op in LONG:
        for shape in ((2, 1, 6, 10), (0, 3, 4, 6)):
            same_numbers(op, shape, dtype, last=0 if dtype.itemsize > 2 else 2)
        return
    for shape in ((2, 3, 6, 10), (1, 1, 34, 62), (0, 3, 4, 6)):
        same_numbers(op, shape, dtype)


@both
def test_a_hundred_thousand_normals_have_the_bits_of_cpp():
    place = {"stream": 7, "origin": (2**31, 2**33 + 3), "plane": 2**32 - 1}
    for seed in (0, -1, 2**31, 2**63 + 5):
        with use_backend("cpp"):
            expected = normal((1, 1, 25, 4001), seed, **place)
        with use_backend("triton"):
            assert torch.equal(normal((1, 1, 25, 4001), seed, device=DEVICE, **place).cpu(), expected)


@pytest.mark.parametrize("seed", [0, -1, 2**31, 2**63 - 1])
def test_one_compiled_kernel_serves_every_seed(seed):
    at = noise.Place((1, 1, 4, 8), Source(seed, 7, 0, 0, 0), torch.device("cpu"))
    # what triton takes for an int32; beyond it is an int64, and that another kernel
    assert all(-(2**31) <= value < 2**31 for value in at.arguments)


@both
def test_a_hundred_thousand_counts_have_the_bits_of_cpp():
    """Means from 0.01 to a million; a hundred lie in the tail, and some take five attempts."""
    place = {"stream": 7, "origin": (2**31, 2**33 + 3), "plane": 2**32 - 1}
    generator = torch.Generator().manual_seed(2)
    means = 10 ** (torch.rand((1, 1, 25, 4001), generator=generator) * 8 - 2)
    with use_backend("cpp"):
        expected = poisson(means, -1, **place)
    with use_backend("triton"):
        assert torch.equal(poisson(means.to(DEVICE), -1, **place).cpu(), expected)


@triton.jit
def tails_kernel(mean_ptr, word_ptr, out_ptr, COUNT: tl.constexpr):
    at = tl.arange(0, COUNT)
    mean, word = tl.load(mean_ptr + at), tl.load(word_ptr + at).to(tl.uint32)
    none = tl.zeros([COUNT], tl.float32) - 1.0
    tl.store(out_ptr + at, counts.with_tails(none, mean, word, word < (1 << 22), COUNT))


@pytest.mark.skipif(bool(backends("poisson")["triton"]), reason=str(backends("poisson")["triton"]))
def test_neighbours_in_the_tail():
    """Where all pixels lie in the tail, or some, and one word is drawn twice."""
    means = torch.linspace(1e-6, 9.999, 256)
    words = torch.arange(256) * 9973 % (1 << 22)
    words[::5] = words[1]
    words[3::7] += 1 << 22
    out = torch.empty(256, device=DEVICE)
    tails_kernel[(1,)](means.to(DEVICE), words.to(DEVICE), out, COUNT=256, num_warps=1)
    expected = inversion(means, words).where(words < 1 << 22, -1)
    assert torch.equal(out.cpu(), expected)


# all take their offsets from blocks.py: of those that the interpreter takes long for, one has them wide by default
WIDE = [
    op for op in WRITTEN if op in ("haar_dwt2d", "haar_idwt2d", "uniform", "anchored_q_sample", *NORMS, "tone_curve")
]
PROGRAMS = [pytest.param(op, False) for op in WRITTEN] + [
    pytest.param(op, True, marks=() if op in WIDE or not testing.interpreted("triton") else pytest.mark.slow)
    for op in WRITTEN
]


@both
@pytest.mark.parametrize(("op", "wide"), PROGRAMS)
def test_many_small_programs(monkeypatch, op, wide):
    """16 pixels a program: blocks that end within rows, planes and pictures; and offsets of 64 bits."""
    small_programs(monkeypatch, wide)
    if op in LONG:
        same_numbers(op, (2, 1, 2, 10), torch.float32, last=2)
        return
    # aligned rows and others, one that ends in the middle of a program, more planes than pixels
    for shape in ((1, 2, 4, 16), (2, 1, 6, 10), (3, 3, 2, 2)):
        same_numbers(op, shape, torch.float32)


@both
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_half_number_passes(dtype):
    """Loaded, widened and stored: all 65536, infinities and subnormals too."""
    x = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(dtype).reshape(1, 1, 256, 256).to(DEVICE)
    t, table = torch.tensor([-1], device=DEVICE), torch.tensor([0.5], device=DEVICE)
    with use_backend("triton"):
        result = anchored_q_sample(x, t, table, noise=torch.zeros_like(x))
    assert torch.equal(result.isnan(), x.isnan())
    finite = ~x.isnan()
    assert torch.equal(result.view(torch.int16)[finite], x.view(torch.int16)[finite])


@both
def test_half_results_are_rounded_to_even_once():
    # 1 + k 2^-12 in steps that hit every tie of bfloat16 and float16
    wide = (1 + torch.arange(4096) / 4096).reshape(1, 1, 64, 64)
    row = torch.tensor([0, 0, 0, 1, 0, 0, 0, 1.0])
    for dtype in (torch.float16, torch.bfloat16):
        high = wide.to(dtype)
        # what is left of the value in the format fits into it
        rest = (wide - high.float()).to(dtype)
        assert torch.equal(high.float() + rest.float(), wide)
        with use_backend("triton"):
            out = diffusion_step(high.to(DEVICE), high.to(DEVICE), row.to(DEVICE), noise=rest.to(DEVICE))
        assert torch.equal(out.cpu(), wide.to(dtype))


def test_bounds_are_float64_for_float64(implementation):
    backend, device = implementation
    x = torch.linspace(-1, 1, 24, dtype=torch.float64, device=device).reshape(1, 1, 4, 6)
    row = torch.tensor([1, 0, 1, 0, 0, 0, 0, 0.0], dtype=torch.float64, device=device)
    with use_backend(backend):
        out = diffusion_step(x, x, row, clip=(-0.1, 1 / 3))
    assert out.min().item() == -0.1
    assert out.max().item() == 1 / 3


@triton.jit
def fused_kernel(a_ptr, b_ptr, c_ptr, out_ptr, DOUBLE: tl.constexpr, COUNT: tl.constexpr):
    at = tl.arange(0, COUNT)
    a, b, c = tl.load(a_ptr + at), tl.load(b_ptr + at), tl.load(c_ptr + at)
    if DOUBLE:
        value = blocks.fused_in_double(a, b, c)
    else:
        value = blocks.fused(a, b, c)
    tl.store(out_ptr + at, value)


def rounded(exact: Fraction) -> np.float32:
    """To the nearest float32, of two the even one; by comparing exact distances."""
    near = np.float32(float(exact))
    around = (near, np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf)))
    return min(around, key=lambda v: (abs(Fraction(float(v)) - exact), int(v.view(np.uint32)) & 1))


@pytest.mark.skipif(bool(backends("normal")["triton"]), reason=str(backends("normal")["triton"]))
@pytest.mark.parametrize("double", [False, True])
def test_multiply_adds_round_once(double):
    random = np.random.default_rng(5)
    a, b, c = (random.standard_normal(2048).astype(np.float32) for _ in range(3))
    # products of half a unit of c, less 2^-46 or more 2^-36 of it: float64 alone rounds them to the tie, then to even
    which = np.arange(1024)
    c[:1024] = 1 + which * 2.0**-23
    a[:1024] = np.where(which % 4 < 2, 2.0**-24, -(2.0**-24)) * np.where(which % 8 < 4, 1 + 2.0**-23, 1 + 2.0**-12)
    b[:1024] = np.where(which % 8 < 4, 1 - 2.0**-23, 1 - 4095 * 2.0**-24)
    c[:1024] *= np.where(which % 16 < 8, 1, -1)
    # and cancellation
    c[1024:1100] = -(a * b)[1024:1100]
    out = torch.empty(2048, device=DEVICE)
    inputs = [torch.from_numpy(v).to(DEVICE) for v in (a, b, c)]
    fused_kernel[(1,)](*inputs, out, DOUBLE=double, COUNT=2048)
    exact = [Fraction(float(p)) * Fraction(float(q)) + Fraction(float(r)) for p, q, r in zip(a, b, c, strict=True)]
    assert out.tolist() == [float(rounded(v)) for v in exact]
    assert (a * b + c != out.cpu().numpy()).sum() > 100


def run_python(source, **environment):
    """A fresh process in which triton is not imported yet; a value None takes the variable away."""
    env = {k: v for k, v in {**os.environ, "TRITON_INTERPRET": None, **environment}.items() if v is not None}
    done = subprocess.run([sys.executable, "-c", source], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# multiply-adds and float32 square roots of a thread: a logarithm has 10 multiply-adds, e^t 8, a pair of normals 18; one
# pair of the sensor's rows a counter
ARITHMETIC = {
    "poisson": (4 * (8 + 1 + 2 * 10), 4),
    "exposure drawn": (4 * (8 + 1 + 2 * 10), 4),
    "tukey": (8 * 2 * (10 + 8 + 1), 0),
    "raw u+P+r+G": (4 * (8 + 1 + 2 * 10) + 18 + 4 * 2 * (10 + 8 + 1), 4 + 1),
    "raw p+g": (2 * 2 * 2 * 18, 8 + 2 * 2 * 2),
    # beside the exponentials of four pixels: their logarithms, then white's powers, of one logarithm
    **dict.fromkeys(("tone", "tone last"), (3 * 4 * (10 + 1 + 1) + 10 + 3 * (8 + 1), 0)),
}


@pytest.mark.skipif(sys.platform != "linux", reason="triton brings its GPU compiler on Linux only")
def test_no_number_makes_a_kernel_anew():
    """A place beyond 2^31, or a bound of 0, whose bits are few, is served by what was compiled for others."""
    out = run_python(f"import runpy; runpy.run_path({str(HERE / 'triton_signatures.py')!r}, run_name='__main__')",
                     PYTHONPATH=os.pathsep.join(sys.path))  # fmt: skip
    found = {fact["kernel"]: fact["signatures"] for fact in map(json.loads, out.splitlines())}
    assert {"noise_kernel", "step_kernel", "tukey_kernel", "raw_noise_kernel", "layer_kernel"} <= set(found)
    assert set(found.values()) == {1}, found


@pytest.mark.skipif(sys.platform != "linux", reason="triton brings its GPU compiler on Linux only")
def test_every_kernel_compiles_for_gpus(tmp_path):
    """To a cubin, without spilled registers, approximate or fused arithmetic that was not asked for."""
    out = run_python(f"import runpy; runpy.run_path({str(HERE / 'compile_triton.py')!r}, run_name='__main__')",
                     TRITON_CACHE_DIR=str(tmp_path), PYTHONPATH=os.pathsep.join(sys.path))  # fmt: skip
    found = [json.loads(line) for line in out.splitlines()]
    assert {fact["dtype"] for fact in found} == {str(dtype).removeprefix("torch.") for dtype in DTYPES}
    defined = {name for module in MODULES for name in vars(module) if name.endswith("_kernel")}
    assert {fact["function"] for fact in found} == defined
    for fact in found:
        assert fact["cubin"] > 5000, fact
        assert fact["stack"] == fact["local"] == 0, fact
        # float64's exponential is libdevice's
        library = fact["exponentials"] and fact["dtype"] == "float64"
        assert not fact["ftz"] or library, fact
        # triton 3.2 is told nothing of alignment, and moves numbers one by one; a program of one warp holds more
        most = 192 if library or triton.__version__.startswith("3.2.") else 128 if fact["warps"] > 1 else 144
        assert fact["reg"] <= most, fact
        estimates = {"rcp.approx.ftz.f64"} if library else set()
        assert all(".rn." in name for name in set(fact["instructions"]) - estimates), fact
        # those of Box-Muller's two pairs a counter, two counters a thread, unless told
        drawn = fact["function"] in ("noise_kernel", "step_kernel", "q_sample_kernel") and fact["draws"]
        fused, roots = ARITHMETIC.get(fact["kernel"], (72, 4) if drawn else (0, 0))
        fused = 0 if library else fused + activation.EXPONENTIAL_FMAS * fact["exponentials"]
        assert fact["instructions"].get("fma.rn.f32", 0) == fused, fact
        # p takes its roots in float64 there
        roots -= 8 if (fact["kernel"], fact["dtype"]) == ("raw p+g", "float64") else 0
        found_roots = sum(fact["instructions"].get(name, 0) for name in ("sqrt.rn.f32", "sqrt.rn.ftz.f32"))
        # one a pixel of those that a thread shares with others
        per_pixel = fact["function"].endswith("layer_kernel")
        assert found_roots == roots or per_pixel, fact
        assert not fact["instructions"].get("fma.rn.f64") or library, fact
        if fact["aligned"]:
            assert fact["vectors"], fact


STATE = "import lowlight_ext, json; print(json.dumps(lowlight_ext.backends()['triton']))"


@pytest.mark.skipif(torch.cuda.is_available(), reason="on a GPU it is available")
def test_reasons_are_true():
    assert backends("normal")["triton"] is None
    forced = "lowlight_ext.use_backend('triton'); lowlight_ext.normal((2, 2), 1)"
    plain = run_python(f"{STATE}\ntry:\n    {forced}\nexcept RuntimeError as error:\n    print(error)")
    reason, error = plain.splitlines()
    assert json.loads(reason) == "torch finds no CUDA device"
    assert error.startswith("normal: backend 'triton' was asked for but is not available: Triton runs on CPU tensors")
    late = "import os, triton; os.environ['TRITON_INTERPRET'] = '1'\n"
    assert "TRITON_INTERPRET changed" in json.loads(run_python(late + STATE))


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (None, "triton could not be imported: .*triton.*"),
        (SimpleNamespace(__version__="3.1.0"), "it needs triton 3.2 or newer, found 3.1.0"),
    ],
)
def test_a_triton_that_does_not_serve_is_named(monkeypatch, module, reason):
    monkeypatch.setitem(sys.modules, "triton", module)
    choice._triton.cache_clear()
    try:
        assert re.fullmatch(reason, backends("normal")["triton"])
        assert select("normal", "cpu") == ("reference" if backends("normal")["cpp"] else "cpp")
    finally:
        choice._triton.cache_clear()


def test_auto_takes_the_better_one_there_is(monkeypatch):
    there = {"cuda", "triton"}
    monkeypatch.setattr(choice, "why_not", lambda name, op, kind: None if name in there else "absent")
    assert {name for name, _ in gpu_choice().values()} <= {"cuda", "triton"}
    assert set(gpu_choice()) == set(OPERATORS)
    assert select("normal", "cuda") == gpu_choice()["normal"][0]
    for name, other in (("cuda", "triton"), ("triton", "cuda")):
        monkeypatch.setitem(choice.GPU_CHOICE, "normal", (name, "measured"))
        assert select("normal", "cuda") == name
        there.remove(name)
        assert select("normal", "cuda") == other
        there.add(name)
    there.clear()
    assert select("normal", "cuda") == "reference"


@both
def test_the_table_reaches_triton():
    """The implementation fixture runs these kernels, not another backend's."""
    with use_backend("triton"):
        assert choice.implementation("uniform", DEVICE).uniform is noise.uniform
        assert uniform((3,), 1, device=DEVICE).shape == (3,)
