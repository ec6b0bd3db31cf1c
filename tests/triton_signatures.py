"""Compiles nothing: counts for how many signatures triton would compile each kernel, and prints them as JSON.

A process of its own, because triton in the test process may be the interpreter. What is varied are the arguments that a
kernel is not specialised on, over all numbers that they may be.
"""

import inspect
import json
import sys
from importlib import import_module
from itertools import product
from pkgutil import iter_modules

import torch
from triton.backends.compiler import GPUTarget
from triton.compiler import make_backend
from triton.runtime.jit import JITFunction, create_function_from_signature

from lowlight_ext import kernels_triton

NARROW = (0, 1, 5, 16, 2**31 - 1, -(2**31))
# places in a picture beyond all sizes; and float64 numbers by their bits
LONG = ("y0", "first", "plane")
WIDE = (*NARROW, 2**31, 2**32 - 1, -(2**40), 2**62)


def binder(kernel):
    """What triton calls to find the signature of a call; with a backend since 3.3."""
    arguments = [kernel.signature, kernel.params, make_backend(GPUTarget("cuda", 90, 32))]
    return create_function_from_signature(
        *arguments[: len(inspect.signature(create_function_from_signature).parameters)]
    )


def signatures(kernel):
    """Different ones that triton sees where one argument after the other takes every value."""
    bound, seen = binder(kernel), set()
    free = [p for p in kernel.params if p.do_not_specialize and not p.is_constexpr]
    plain = {p.name: torch.zeros(4) if p.name.endswith("_ptr") else 16 for p in kernel.params}
    for varied, value in product(free, WIDE):
        if value in NARROW or varied.name in LONG or varied.name.endswith("_bits"):
            seen.add(repr(bound(**plain | {varied.name: value})[1]))
    return seen


def main() -> None:
    for module in iter_modules(kernels_triton.__path__):
        names = vars(import_module(f"{kernels_triton.__name__}.{module.name}"))
        for name, kernel in names.items():
            own = isinstance(kernel, JITFunction) and kernel.fn.__module__.endswith(f".{module.name}")
            if own and any(p.do_not_specialize for p in kernel.params):
                print(json.dumps({"kernel": name, "signatures": len(signatures(kernel))}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
