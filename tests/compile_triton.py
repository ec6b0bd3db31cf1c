"""Compiles every Triton kernel ahead of time for sm_90, without a GPU: `python compile_triton.py` prints facts as JSON.

A process of its own, because triton in the test process may be the interpreter. Each line: kernel, dtype, bytes of the
cubin, its PTX's floating-point instructions with counts, vector accesses, and the registers and memory of a thread.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import triton
from compile_triton_norm import EXPONENTIALS, NORM_CASES, TABLES, norm_runs
from triton.backends.compiler import GPUTarget

from lowlight_ext.kernels_triton import anchored, blocks, exposure, haar, noise, step, tone, tukey

# the package's name for it is the operator
poisson = sys.modules["lowlight_ext.kernels_triton.poisson"]

TYPES = {"float32": "fp32", "float64": "fp64", "float16": "fp16", "bfloat16": "bf16"}
VERSION = tuple(int(part) for part in triton.__version__.split(".")[:2])
# pointers to anything but pictures
POINTERS = {"t_ptr": "*i64", "seeds_ptr": "*i64", "alpha_bar_ptr": "*fp64", "counter_ptr": "*i64", "key_ptr": "*i64",
            "words_ptr": "*i64", "columns_ptr": "*fp64"}  # fmt: skip
# numbers of the format that is computed in
CURVE = ("gamma_ptr", "scale_ptr", "knee_ptr")
# a width divisible by 16 and 16-byte alignment, as a launch finds them out
DIVISIBLE = ("area", "width", "pitch", "band", "evens")
DRAWN = {"DRAW": True, "OWN": 1, "ALIGNED": True, "noise_ptr": None}
GIVEN = {"DRAW": False, "OWN": 0, "ALIGNED": True, "seeds_ptr": None}
PLAIN = {"OWN": 1, "ALIGNED": True}
# of a kernel that draws counts
COUNTING = {**PLAIN, "PIXELS": poisson.BLOCK, "num_warps": 1}
OPTIONAL = ("center_ptr", "previous_ptr", "t_ptr", "x0_ptr")
CASES = {
    "dwt": (haar.haar_dwt2d_kernel, {"NORMALISE": True, "PACK": 16, "PAIRS": 1024}),
    "dwt narrow": (haar.haar_dwt2d_kernel, {"NORMALISE": False, "PACK": 2, "PAIRS": 1024}),
    "idwt": (haar.haar_idwt2d_kernel, {"DENORMALISE": True, "PACK": 16, "PAIRS": 1024}),
    "normal": (noise.noise_kernel, {"NORMAL": True, "OWN": 1, "ALIGNED": True}),
    "normal one seed": (noise.noise_kernel, {"NORMAL": True, "OWN": 0, "ALIGNED": False, "seeds_ptr": None}),
    "uniform": (noise.noise_kernel, {"NORMAL": False, "OWN": 0, "ALIGNED": True, "seeds_ptr": None}),
    "step drawn": (step.step_kernel, {"CLIP": True, **DRAWN}),
    "step drawn plain": (step.step_kernel, {"CLIP": False, **DRAWN, **dict.fromkeys(OPTIONAL)}),
    "step given": (step.step_kernel, {"CLIP": True, **GIVEN}),
    "step backward": (step.step_backward_kernel, {"CLIP": True}),
    "q_sample drawn": (anchored.q_sample_kernel, DRAWN),
    "q_sample given": (anchored.q_sample_kernel, GIVEN),
    "q_sample backward": (anchored.q_sample_backward_kernel, {}),
    "rows": (anchored.rows_kernel, {"BLOCK": 32}),
    "tukey": (tukey.tukey_kernel, PLAIN),
    "raw p+g": (exposure.raw_noise_kernel, {"PARTS": 4 + 16, "CLIP": True, **PLAIN}),
    "exposure given": (exposure.exposure_kernel, {**PLAIN, "DRAW": False}),
    "exposure backward": (exposure.exposure_backward_kernel, {}),
    "tone": (tone.tone_kernel, {"LAST": False, "PIXELS": tone.MOST_PIXELS, "ALIGNED": True}),
    "tone last": (tone.tone_kernel, {"LAST": True, "PIXELS": tone.MOST_PIXELS}),
}
# exponentials of a program: two of each number
TONES = dict.fromkeys(("tone", "tone last"), 2 * 3 * tone.MOST_PIXELS)
# seconds each, so not of every dtype; the last with offsets beyond 32 bits
LONG_CASES = {
    "poisson": (poisson.poisson_kernel, COUNTING, ("float32", "bfloat16")),
    "raw u+P+r+G": (
        exposure.raw_noise_kernel,
        {"PARTS": 1 + 2 + 8 + 32, "CLIP": True, **COUNTING},
        ("float32", "float64"),
    ),
    "exposure drawn": (exposure.exposure_kernel, {"DRAW": True, "counts_ptr": None, **COUNTING}, ("float64",)),
}


def source(kernel, constants, dtype, wide=False):
    """The kernel as a launch on pictures of `dtype` with all arguments present would compile it."""
    defaults = {"PIXELS": 1024, "WIDE": wide, "BLOCK": 1024}
    pictures, table = f"*{TYPES[dtype]}", "*fp64" if dtype == "float64" else "*fp32"
    signature, fixed, attributes = {}, {}, {}
    for index, name in enumerate(kernel.arg_names):
        if name in constants or name in defaults:
            fixed[name] = constants.get(name, defaults.get(name))
            signature[name] = "constexpr"
        elif name.endswith("_ptr"):
            signature[name] = POINTERS.get(name, table if name in (*TABLES, *CURVE) else pictures)
            attributes[(index,)] = [["tt.divisibility", 16]]
        else:
            signature[name] = kernel.params[index].annotation_type or "i32"
            if name in DIVISIBLE:
                attributes[(index,)] = [["tt.divisibility", 16]]
    if VERSION < (3, 3):
        return triton.compiler.ASTSource(kernel, {k: v for k, v in signature.items() if v != "constexpr"}, fixed)
    return triton.compiler.ASTSource(kernel, signature, fixed, attributes)


def facts(name, dtype, kernel, constants, arch, wide):
    target = GPUTarget("cuda", arch, 32)
    options = {name: constants.get(name, default) for name, default in blocks.OPTIONS.items()}
    compiled = triton.compile(source(kernel, constants, dtype, wide), target=target, options=options)
    ptx = compiled.asm["ptx"]
    instructions = Counter(re.findall(r"\b((?:fma|mul|add|sub|sqrt|div|rcp)\.[\w.]*f(?:32|64))\b", ptx))
    # kernels that merge a few entries a group give a thread no two of them
    packed = constants.get("PACK") == 16 and "ENTRIES" not in constants
    vectors = VERSION >= (3, 3) and (constants.get("ALIGNED") or packed)
    found = {"kernel": name, "function": kernel.fn.__name__, "dtype": dtype, "arch": arch, "wide": wide}
    found |= {"draws": constants.get("DRAW", constants.get("NORMAL", False)), "aligned": vectors}
    found |= {"cubin": len(compiled.asm["cubin"]), "warps": options["num_warps"]}
    # a thread's, of four warps
    found["exponentials"] = (EXPONENTIALS | TONES).get(name, 0) // 128
    # before triton 3.6 these two flush subnormals: no square root is of one, and a quotient may be 0 instead
    found |= {"instructions": instructions, "ftz": ".ftz" in re.sub(r"\b(sqrt|div)\.rn\.ftz\.f32", "", ptx)}
    found["vectors"] = Counter(re.findall(r"\b((?:ld|st)\.global[\w.:]*v[24][\w.]*)", ptx))
    return found | resources(compiled.asm["cubin"])


def resources(cubin):
    """Registers of a thread, and bytes of its stack, where spilled registers go, and of shared memory."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "kernel.cubin").write_bytes(cubin)
        said = subprocess.check_output([tool, "-res-usage", "kernel.cubin"], cwd=folder, text=True)
    found = dict(re.findall(r"\b(REG|STACK|SHARED|LOCAL):(\d+)", said))
    return {name.lower(): int(found[name]) for name in ("REG", "STACK", "SHARED", "LOCAL")}


def main() -> None:
    cases = [(name, dtype, *case, 90, False) for name, case in CASES.items() for dtype in TYPES]
    for name, (*case, dtypes) in LONG_CASES.items():
        cases += [(name, dtype, *case, 90, dtype == dtypes[-1]) for dtype in dtypes]
    cases += [("philox", "float32", noise.philox_kernel, {}, 90, False)]
    # the oldest that is served (bfloat16 there needs a triton newer than 3.2), and offsets beyond 32 bits
    old = ("float16", "bfloat16") if VERSION >= (3, 6) else ("float16",)
    cases += [(name, dtype, *CASES[name], 75, False) for name in ("idwt", "step drawn") for dtype in old]
    cases += [(name, "float16", *CASES[name], 90, True) for name in ("dwt", "normal one seed", "step drawn")]
    cases += [(name, dtype, *NORM_CASES[name], *rest) for name, dtype, *rest in norm_runs(TYPES)]
    for case in cases:
        print(json.dumps(facts(*case)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
