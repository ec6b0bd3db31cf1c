"""The programs of csrc/cuda in the place of `_C`: their cuda_* functions, on CPU tensors."""

import ctypes
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lowlight_ext.kernels_compiled import call
from ptx_on_cpu.building import CUDA, Program

COMPILED = call._C
# of a GPU and a stream that no test has otherwise: whether a launch went there is seen
PLACE = (3, 0x5EED0)


def bounds(x: torch.Tensor) -> tuple[int, int]:
    """The addresses from the first element of x to behind its last."""
    extent = 1 + sum((size - 1) * step for size, step in zip(x.shape, x.stride(), strict=True)) if x.numel() else 0
    return x.data_ptr(), x.data_ptr() + extent * x.element_size()


class Device:
    """Each program is built when a function of it is first asked for."""

    def __init__(self, folder: Path, architecture: int = 80) -> None:
        self.folder, self.architecture = folder, architecture
        self.programs: dict[str, Program] = {}
        self.limits = (2**32 - 1, False)
        self.last_program: Program | None = None
        # function -> the file that has it
        self.files = {
            f"cuda_{name}{'_workspace' * (word == 'size')}": path
            for path in CUDA.glob("*.cu")
            for word, name in re.findall(r"\b(launch|size)_(\w+)\(const ", path.read_text())
        }

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if not name.startswith("cuda_"):
            return getattr(COMPILED, name)
        if name not in self.files:
            raise AttributeError(name)
        program = self.program(self.files[name].stem)
        function = getattr(program.module, name)
        if name.endswith("_workspace"):
            return function
        return lambda *arguments: self.launched(program, function, arguments)

    def program(self, file: str) -> Program:
        if file not in self.programs:
            self.programs[file] = Program(CUDA / f"{file}.cu", self.folder, self.architecture)
        return self.programs[file]

    def launched(self, program: Program, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        """Calls a launcher, with the memory of its tensors open to it."""
        spans = [at for v in arguments if isinstance(v, torch.Tensor) for at in bounds(v)]
        program.library.machine_allow((ctypes.c_uint64 * len(spans))(*spans), len(spans) // 2)
        program.library.machine_limit(ctypes.c_uint(self.limits[0]), ctypes.c_bool(self.limits[1]))
        self.last_program, program.failure = program, None
        try:
            function(*arguments)
        finally:
            if program.failure is not None:
                raise program.failure
        assert tuple(program.library.machine_place().contents) == arguments[-2:]

    def limit(self, blocks: int = 2**32 - 1, backwards: bool = False) -> None:
        """Blocks on an axis of a grid at most; blocks, warps and threads from the last to the first."""
        self.limits = blocks, backwards

    def last(self) -> list[int]:
        """Of the last launch: blocks x, y, z, threads x, y, z."""
        assert self.last_program is not None
        return list(self.last_program.library.machine_grid().contents)

    def counts(self) -> Counter[str]:
        """Over all programs: launches, threads, barriers, shuffles, accesses of both memories, kernels translated."""
        names = ("launches", "threads", "barriers", "shuffles", "global accesses", "shared accesses")
        total: Counter[str] = Counter()
        for program in self.programs.values():
            total.update(dict(zip(names, program.library.machine_counts().contents, strict=True)))
            total["kernels"] += len(program.loaded)
        return total
