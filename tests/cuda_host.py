"""The CUDA half without a GPU, for tests: compiled for the host and run over all blocks and threads of a grid.

What csrc/cuda/*.cu hands to a launch (choice of variant, grid, per-thread body) is plain C++; cuda_host.cpp runs it in
loops. It reads the fields of an argument struct as _C does, so the Python that launches on a GPU launches here.
"""

import ctypes
import importlib
import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lowlight_ext.kernels_compiled import call

# the package's name `backends` is the function
backends = importlib.import_module("lowlight_ext.backends")
SOURCE = Path(__file__).with_name("cuda_host.cpp")


def number(value: Any) -> int:
    """An argument of _C as 64 bits."""
    if isinstance(value, torch.Tensor):
        return value.data_ptr()
    return struct.unpack("q", struct.pack("d", value))[0] if isinstance(value, float) else int(value or 0)


class Host:
    """Stands in for _C: its cuda_* functions, served by loops on the host; everything else is _C's own."""

    def __init__(self, library: Path) -> None:
        self.library = ctypes.CDLL(str(library))
        self.library.host_call.restype = self.library.host_sum.restype = ctypes.c_char_p
        self.library.host_workspace.restype = ctypes.c_int64
        for name, count in (("host_last", 7), ("host_grid", 5), ("host_last_crew", 2)):
            getattr(self.library, name).restype = ctypes.POINTER(ctypes.c_int64 * count)

    def __getattr__(self, name: str) -> Callable:
        if not name.startswith("cuda_"):
            return getattr(COMPILED, name)
        kernel = name.removeprefix("cuda_")
        if not kernel.endswith("_workspace"):
            return lambda *numbers: self.run(kernel, numbers)
        if kernel.removesuffix("_workspace") not in ("norm", "norm_backward", "layer_norm_backward"):
            raise AttributeError(name)
        return lambda *numbers: self.library.host_workspace(kernel.removesuffix("_workspace").encode(), many(numbers))

    def run(self, kernel: str, numbers: tuple) -> None:
        problem = self.library.host_call(kernel.encode(), many(numbers))
        assert problem is None, problem

    def limit(self, blocks: int = 2**32 - 1, backwards: bool = False) -> None:
        self.library.host_limit(ctypes.c_uint(blocks), ctypes.c_bool(backwards))

    def last(self) -> list[int]:
        """Of the last launch: blocks x, y, z, threads x, y, pixels of a group, whether they were aligned."""
        return list(self.library.host_last().contents)

    def last_crew(self) -> list[int]:
        """Of the last launch of blocks whose threads work together: blocks, threads of each."""
        return list(self.library.host_last_crew().contents)

    def grid(self, planes: int, lines: int, groups: int) -> list[int]:
        return list(self.library.host_grid(*(ctypes.c_int64(n) for n in (planes, lines, groups))).contents)

    def sum(self, values: torch.Tensor, low: int, high: int) -> torch.Tensor:
        values = values.double()
        address = ctypes.c_void_p(values.data_ptr())
        problem = self.library.host_sum(address, values.numel(), low, high)
        assert problem is None, problem
        return values


def many(numbers: tuple) -> ctypes.Array:
    return (ctypes.c_int64 * len(numbers))(*(ctypes.c_int64(number(n)).value for n in numbers))


COMPILED = call._C


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    compiler = shutil.which(os.environ.get("CXX", "g++")) or shutil.which("c++")
    if compiler is None or not (SOURCE.parents[1] / "csrc").is_dir():
        pytest.skip("needs a C++ compiler and csrc/ beside the tests")
    # once a process, whichever files of tests ask for it
    library = tmp_path_factory.getbasetemp() / "cuda_host.so"
    if library.exists():
        return Host(library)
    # no contraction, as nvcc -fmad=false; but multiply_add is one instruction where there is one, as on a GPU
    flags = ["-std=c++17", "-O0", "-ffp-contract=off", "-fPIC", "-shared"]
    flags += ["-mfma"] if torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512") else []
    done = subprocess.run([compiler, *flags, str(SOURCE), "-o", str(library)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return Host(library)


def stand_in(monkeypatch, module, place=(0, 0)):
    """`use_backend("cuda")` on CPU tensors calls `module` in the place of _C, for a device and a stream."""
    choose = backends.select

    def select(op, device_type):
        return "cuda" if backends._forced == "cuda" else choose(op, device_type)

    monkeypatch.setattr(backends, "select", select)
    monkeypatch.setattr(call, "_C", module)
    monkeypatch.setattr(call, "on_gpu", lambda x: backends._forced == "cuda")
    monkeypatch.setattr(call, "launch", lambda kernel, device, arguments: kernel(*arguments, *place))
    module.limit()


@pytest.fixture
def host(compiled, monkeypatch):
    """`use_backend("cuda")` on CPU tensors runs the CUDA half here."""
    stand_in(monkeypatch, compiled)
    return compiled
