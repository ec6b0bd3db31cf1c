"""Compiles csrc/ into the module _C with CMake and ninja, or takes what the same tools made of the same sources before.

setup.py's half that knows nothing of setuptools. CMAKE_ARGS goes to CMake; ccache is used where it is there.
"""

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from importlib import import_module
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
# what a build depends on beside the sources and the tools' versions
VARIABLES = (
    *("CC", "CXX", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "CUDACXX", "CUDAHOSTCXX", "CUDAFLAGS", "CUDAARCHS"),
    *("TORCH_CUDA_ARCH_LIST", "CUDAToolkit_ROOT", "CUDA_PATH", "CMAKE_ARGS", "CMAKE_PREFIX_PATH"),
)


class BuildFailed(RuntimeError):
    """One sentence about what could not be built, and why."""


def built_module(mode: str, cache: Path) -> tuple[Path, dict]:
    """The module _C in a folder of `cache` of its own, and what CMake says was built; mode: auto, cpu or cuda."""
    place = cache / f"lowlight_ext-{fingerprint(mode)}"
    record = place / "build_info.json"
    if record.exists():
        print(f"lowlight_ext: {place} holds what was built of the same sources", flush=True)
    else:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="lowlight_ext") as work:
            compile_into(place, Path(work), mode)
    return next(path for path in place.glob("_C*")), json.loads(record.read_text())


def fingerprint(mode: str) -> str:
    """Of everything that the module depends on."""
    facts = [mode, sys.version, sysconfig.get_config_var("EXT_SUFFIX"), *map(os.environ.get, VARIABLES)]
    compilers = (os.environ.get("CXX") or "c++", os.environ.get("CUDACXX") or "nvcc", "/usr/local/cuda/bin/nvcc")
    facts += [said([*shlex.split(compiler), "--version"]) for compiler in compilers]
    # the GPUs that CUDA code is built for where nobody says another
    facts.append(said(["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]))
    digest = hashlib.sha256(repr(facts).encode())
    for path in sorted(SOURCE.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(f"{path.relative_to(SOURCE)} {path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def compile_into(place: Path, work: Path, mode: str) -> None:
    """Leaves _C and, last, build_info.json in `place`; BuildFailed names the first error."""
    options = {
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_MAKE_PROGRAM": tool("ninja", "BIN_DIR"),
        "Python_EXECUTABLE": sys.executable,
        "LOWLIGHT_EXT_BUILD": mode,
    }
    if shutil.which("ccache"):
        options |= dict.fromkeys(("CMAKE_CXX_COMPILER_LAUNCHER", "CMAKE_CUDA_COMPILER_LAUNCHER"), "ccache")
    cmake = tool("cmake", "CMAKE_BIN_DIR")
    defines = [f"-D{name}={value}" for name, value in options.items()]
    defines += shlex.split(os.environ.get("CMAKE_ARGS", ""))
    run([cmake, "-G", "Ninja", "-S", str(SOURCE), "-B", str(work), *defines])
    run([cmake, "--build", str(work)])
    modules = [path for path in work.glob("_C*") if path.suffix in (".so", ".pyd")]
    if not modules:
        raise BuildFailed("cmake built no module _C")
    for path in (modules[0], work / "build_info.json"):
        # renamed, so that a build beside this one sees it whole or not at all
        half = place / f"half-{os.getpid()}"
        shutil.copy2(path, half)
        half.replace(place / path.name)


def tool(name: str, directory: str) -> str:
    """Path of cmake or ninja: the Python package of that name where it is installed, else the one on PATH."""
    try:
        found = shutil.which(name, path=getattr(import_module(name), directory))
    except (ImportError, AttributeError):
        found = None
    found = found or shutil.which(name)
    if found is None:
        raise BuildFailed(f"{name} was not found (pip install {name})")
    return found


def said(command: list[str]) -> str:
    """What a tool prints; nothing where it is missing."""
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout
    except OSError:
        return ""


def run(command: list[str]) -> None:
    """Runs one step; its output goes to the terminal, its first error into the exception."""
    print(" ".join(command), flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    print(done.stdout, flush=True)
    if done.returncode:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        marks = [i for i, line in enumerate(lines) if "error" in line.lower()]
        told = " ".join(lines[marks[0] : marks[0] + 4]) if marks else " ".join(lines[-3:])
        raise BuildFailed(f"{Path(command[0]).name} failed: {told[:600]}")
