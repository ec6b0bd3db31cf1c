"""A .cu file -> its PTX, and a Python module that launches its kernels on the machine of this folder."""

import ctypes
import importlib.util
import os
import re
import shutil
import subprocess
import sysconfig
from importlib.machinery import ExtensionFileLoader
from pathlib import Path
from types import ModuleType

from ptx_on_cpu import reading, translation

HERE = Path(__file__).resolve().parent
CUDA = HERE.parents[1] / "csrc" / "cuda"
# strict aliasing is no rule of PTX's memory; no contraction, as in PTX
TRANSLATED = ("-std=c++17", "-O1", "-ffp-contract=off", "-fno-math-errno", "-fno-strict-aliasing", "-w")
ASK = ctypes.CFUNCTYPE(None, ctypes.c_char_p)


class NoCompiler(Exception):
    """What is missing here to run anything."""


def compiler() -> str:
    found = shutil.which(os.environ.get("CXX", "g++")) or shutil.which("c++")
    if found is None:
        raise NoCompiler("needs a C++ compiler")
    return found


def nvcc() -> str:
    found = shutil.which("nvcc")
    if found is None or not CUDA.is_dir():
        raise NoCompiler("needs nvcc and csrc/ beside the tests")
    return found


def build_flags() -> list[str]:
    """The flags of the build that concern rounding, from the build's own file."""
    flags = re.search(r"target_compile_options\(cuda_kernels PRIVATE (.*?)\)", (CUDA / "cuda.cmake").read_text())[1]
    assert "-fmad=false" in flags
    return ["-std=c++17", "-O3", *(flag for flag in flags.split() if "fma" in flag or "prec" in flag or "ftz" in flag)]


def run(*command: str | Path) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if "cuda_runtime" in done.stderr:
        raise NoCompiler("nvcc has no toolkit behind it")
    assert done.returncode == 0, done.stderr[-3000:]


def by_nvcc(source: Path, target: Path, *options: str) -> None:
    run(nvcc(), *options, "-Xcompiler=-O1,-fPIC,-fvisibility=hidden", "-c", source, "-o", target)


def machine(folder: Path) -> list[Path]:
    """The objects that every program shares, in `folder`."""
    objects = [folder / "machine.o", folder / "runtime.o"]
    for target in objects:
        if not target.exists():
            by_nvcc(HERE / f"{target.stem}.cpp", target, "-std=c++17")
    return objects


class Program:
    """A .cu file's host code, and its kernels as they are asked for."""

    def __init__(self, source: Path, folder: Path, architecture: int = 80) -> None:
        self.folder = folder / f"{source.stem}-{architecture}"
        self.folder.mkdir(parents=True)
        target = self.folder / f"{source.stem}.o"
        code = f"-gencode=arch=compute_{architecture},code=compute_{architecture}"
        by_nvcc(source, target, *build_flags(), code, "--keep", f"--keep-dir={self.folder}")
        self.text = (self.folder / f"{source.stem}.ptx").read_text()
        self.module, self.library = self.linked(source.read_text(), target, machine(folder))
        self.failure: BaseException | None = None
        self.loaded: dict[str, ctypes.CDLL] = {}
        # what C++ calls has to live as long as it may
        self._ask = ASK(self.add)
        self.library.machine_missing(self._ask)
        results = {"counts": ctypes.c_int64 * 6, "place": ctypes.c_int64 * 2, "grid": ctypes.c_uint * 6}
        for name, kind in results.items():
            getattr(self.library, f"machine_{name}").restype = ctypes.POINTER(kind)

    def linked(self, text: str, host: Path, shared: list[Path]) -> tuple[ModuleType, ctypes.CDLL]:
        rows = (re.findall(rf"\b{word}_(\w+)\(const (\w+)&", text) for word in ("launch", "size"))
        launchers, workspaces = (" ".join(f"ROW({name},{arguments})" for name, arguments in found) for found in rows)
        path = self.folder / f"program{sysconfig.get_config_var('EXT_SUFFIX')}"
        run(
            *(compiler(), "-std=c++17", "-O1", "-fPIC", "-shared", "-fvisibility=hidden"),
            *(f"-DPTX_LAUNCHERS(ROW)={launchers}", f"-DPTX_WORKSPACES(ROW)={workspaces}"),
            *(f"-I{sysconfig.get_path('include')}", HERE / "module.cpp", host, *shared, "-o", path),
        )
        loader = ExtensionFileLoader("program", str(path))
        module = importlib.util.module_from_spec(importlib.util.spec_from_loader("program", loader))
        loader.exec_module(module)
        return module, ctypes.CDLL(str(path))

    def add(self, name: bytes) -> None:
        """Translates, compiles and loads a kernel that is launched for the first time."""
        try:
            kernel = reading.kernel(self.text, name.decode())
            source = self.folder / f"kernel{len(self.loaded)}.cpp"
            source.write_text(translation.translated(kernel))
            run(compiler(), *TRANSLATED, "-fPIC", "-shared", f"-I{HERE}", source, "-o", source.with_suffix(".so"))
            loaded = self.loaded[kernel.name] = ctypes.CDLL(str(source.with_suffix(".so")))
            body = ctypes.cast(loaded.body, ctypes.c_void_p)
            size = ctypes.c_uint64(kernel.shared_bytes)
            self.library.machine_add(name, body, ctypes.c_int(kernel.most_threads), size)
        except BaseException as error:
            # C++ can not hand it on
            self.failure = error
