"""Builds lowlight_ext/_C from csrc/ with CMake and ninja; everything else is in pyproject.toml.

LOWLIGHT_EXT_BUILD=auto  (default) build what can be built; a missing compiler or nvcc is reported and recorded
                   cpu   the CPU kernels only; failing to build them fails the installation
                   cuda  CPU and CUDA kernels; failing to build either fails the installation
                   off   nothing: the package works on its reference backend
The outcome is recorded in lowlight_ext/_build_info.json, which lowlight_ext.build_info() reads.
"""

import json
import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
MODES = ("auto", "cpu", "cuda", "off")


class BuildFailed(RuntimeError):
    """One sentence about what could not be built, and why."""


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


def run(command: list[str], log: Path) -> None:
    """Runs one step; its output goes to the terminal and to `log`, its last error into the exception."""
    print(" ".join(command), flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    print(done.stdout, flush=True)
    log.write_text(done.stdout)
    if done.returncode:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        marks = [i for i, line in enumerate(lines) if "error" in line.lower()]
        told = " ".join(lines[marks[0] : marks[0] + 4]) if marks else " ".join(lines[-3:])
        raise BuildFailed(f"{Path(command[0]).name} failed: {told[:600]}")


class CMakeBuild(build_ext):
    """Replaces the compile step of the one extension module by CMake, and records how it went."""

    def build_extension(self, ext: Extension) -> None:
        target = Path(self.get_ext_fullpath(ext.name)).resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        for stale in ROOT.glob("lowlight_ext/_C*") if self.editable_mode else ():
            stale.unlink()
        mode = os.environ.get("LOWLIGHT_EXT_BUILD", "auto").lower()
        if mode not in MODES:
            raise SystemExit(f"LOWLIGHT_EXT_BUILD: takes one of {', '.join(MODES)}, got {mode!r}")
        info = {"requested": mode, "built": [], "reason": {}}
        if mode == "off":
            off = "switched off at build time by LOWLIGHT_EXT_BUILD=off"
            info["reason"] = {"cpu": off, "cuda": off}
        else:
            info.update(self.attempt(mode, target))
        for part, reason in info["reason"].items():
            print(f"\n*** WARNING: lowlight_ext: no {part} kernels: {reason}\n", file=sys.stderr, flush=True)
        self.record(info, target.parent)

    def attempt(self, mode: str, target: Path) -> dict:
        """What was built and why the rest was not; ends the installation where an explicit request fails."""
        try:
            return self.compile(mode, target)
        except BuildFailed as failure:
            if mode != "auto":
                raise SystemExit(f"LOWLIGHT_EXT_BUILD={mode}: {failure}") from None
            first = str(failure)
        # it may be nvcc alone that fails
        try:
            return self.compile("cpu", target) | {"reason": {"cuda": first}}
        except BuildFailed as failure:
            return {"reason": {"cpu": str(failure), "cuda": first}}

    def compile(self, mode: str, target: Path) -> dict:
        """Configures, builds and copies the module to `target`; returns what CMake says it built."""
        build = Path(self.build_temp).resolve() / "cmake"
        build.mkdir(parents=True, exist_ok=True)
        cmake = tool("cmake", "CMAKE_BIN_DIR")
        try:
            pybind11 = import_module("pybind11").get_cmake_dir()
        except ImportError:
            raise BuildFailed("pybind11 was not found (pip install pybind11)") from None
        options = {
            "CMAKE_BUILD_TYPE": "Release",
            "CMAKE_MAKE_PROGRAM": tool("ninja", "BIN_DIR"),
            "Python_EXECUTABLE": sys.executable,
            "pybind11_DIR": pybind11,
            "LOWLIGHT_EXT_BUILD": mode,
        }
        defines = [f"-D{name}={value}" for name, value in options.items()]
        # --fresh: the cache of an earlier isolated build names tools that are gone
        source = ["-S", str(ROOT / "csrc"), "-B", str(build)]
        run([cmake, "--fresh", "-G", "Ninja", *source, *defines], build / "configure.log")
        run([cmake, "--build", str(build)], build / "build.log")
        shutil.copy2(next(build.glob("_C*.so")), target)
        return json.loads((build / "build_info.json").read_text())

    def copy_extensions_to_source(self) -> None:
        """For `build_ext --inplace`, which builds elsewhere first: the record belongs beside the module."""
        super().copy_extensions_to_source()
        package = self.get_finalized_command("build_py").get_package_dir("lowlight_ext")
        built = Path(self.build_lib) / "lowlight_ext" / "_build_info.json"
        shutil.copy2(built, ROOT / package)

    def record(self, info: dict, directory: Path) -> None:
        places = [directory] + ([ROOT / "lowlight_ext"] if self.editable_mode else [])
        for place in places:
            (place / "_build_info.json").write_text(json.dumps(info, indent=2) + "\n")


# optional: setuptools accepts that the module is missing after a build that recorded why
setup(ext_modules=[Extension("lowlight_ext._C", sources=[], optional=True)], cmdclass={"build_ext": CMakeBuild})
