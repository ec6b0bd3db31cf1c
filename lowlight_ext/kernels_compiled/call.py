"""Calls of the compiled module `_C`, for the CPU and for CUDA: allocation, where seeds live, and the launch.

`_C` takes the fields of a C++ argument struct one after the other (csrc/core/*arguments.h), a tensor for its address
and None for none. Nothing is checked here: the operators have done so. Inputs are made contiguous, outputs are fresh.

On CUDA a call runs on the device of its tensors and on torch's current stream there. Between the launch and the caller
there is no copy to the host and no waiting: rows, times and seeds that lie on the device are read there, one seed from
the CPU goes along by value. So a CUDA graph can record every call, after one call outside the graph has loaded the
kernel.
"""

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lowlight_ext.common import Source, accumulator
from lowlight_ext.graphs import brought
from lowlight_ext.unbuilt import warn_of_unbuilt_sources

_C: Any
try:
    from lowlight_ext import _C  # type: ignore[attr-defined, no-redef]

    _import_error = ""
except ImportError as error:
    # not built (then the record below says why), or built for another Python or machine
    _C, _import_error = None, str(error)
    warn_of_unbuilt_sources(Path(__file__).parents[1])

CODES = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 3}
# from this size on an output asks for huge pages: 512 times fewer page faults when it is first written
HUGE_BYTES = 1 << 22


@functools.cache
def recorded() -> dict[str, Any]:
    """What setup.py wrote down: the requested build, what was built, and for each part missing the reason."""
    path = Path(__file__).parents[1] / "_build_info.json"
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        reason = "lowlight_ext was not installed by its setup.py, no build is recorded"
        return {"requested": None, "built": [], "reason": {"cpu": reason, "cuda": reason}}


@functools.cache
def missing(device_type: str) -> str | None:
    """None where there are compiled kernels for tensors on this kind of device, or the reason why there are none."""
    if device_type not in ("cpu", "cuda"):
        return f"there are no compiled kernels for {device_type} tensors"
    if _C is None:
        return recorded()["reason"].get("cpu", f"the compiled module could not be imported: {_import_error}")
    if device_type == "cuda":
        if not hasattr(_C, "cuda_noise"):
            return "built without CUDA: " + recorded()["reason"].get("cuda", "no reason was recorded")
        if not torch.cuda.is_available():
            return "compiled, but torch finds no CUDA device"
        return next((reason for reason in map(_not_on, range(torch.cuda.device_count())) if reason), None)
    return None


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _not_on(device: int) -> str | None:
    """None where the CUDA kernels run on this GPU, or why not."""
    problem = _C.cuda_problem(device)
    if problem is None:
        return None
    name, capability = torch.cuda.get_device_name(device), ".".join(map(str, torch.cuda.get_device_capability(device)))
    versions = f"runtime {_version(_C.cuda_runtime_version())}, driver {_version(_C.cuda_driver_version())}"
    return f"compiled, but does not run on {name}, compute capability {capability} (CUDA {versions}): {problem}"


def build_info() -> dict[str, Any]:
    """What was asked for and built, by which compiler, for which CPU levels, and which level is in use."""
    info = dict(recorded())
    if _C is None:
        return info | {"loaded": False, "import_error": _import_error}
    info |= {"loaded": True, **_C.build_info()}
    if hasattr(_C, "cuda_driver_version"):
        info["cuda_runtime"] = _version(_C.cuda_runtime_version())
        info["cuda_driver"] = _version(_C.cuda_driver_version())
    return info


def on_gpu(x: Tensor) -> bool:
    return x.is_cuda


def launch(kernel: Callable[..., Any], device: torch.device, arguments: tuple[Any, ...]) -> None:
    """Call `kernel` with torch's current stream of `device`, and leave the device current that was."""
    if device.index == torch.cuda.current_device():
        kernel(*arguments, device.index, torch.cuda.current_stream().cuda_stream)
        return
    with torch.cuda.device(device):
        kernel(*arguments, torch.cuda.current_device(), torch.cuda.current_stream().cuda_stream)


def call(name: str, like: Tensor, *arguments: Any) -> None:
    """Run the kernel `name` of the table (csrc/table.h) where the tensor `like` is, on the fields of its struct."""
    if on_gpu(like):
        launch(getattr(_C, f"cuda_{name}"), like.device, arguments)
    else:
        getattr(_C, name)(*arguments)


def workspace(name: str, like: Tensor, *arguments: Any) -> Tensor | None:
    """The memory that a kernel needs beside these arguments; the stream keeps it until the kernel has run."""
    numbers = getattr(_C, f"cuda_{name}_workspace", None) if on_gpu(like) else None
    return None if numbers is None else like.new_empty(numbers(*arguments, None), dtype=accumulator(like.dtype))


def _advised(out: Tensor) -> Tensor:
    if out.nbytes >= HUGE_BYTES and out.is_cpu:
        _C.advise_huge_pages(out.data_ptr(), out.nbytes)
    return out


def empty(
    shape: Sequence[int],
    dtype: torch.dtype,
    device: torch.device,
    layout: torch.memory_format = torch.contiguous_format,
) -> Tensor:
    return _advised(torch.empty(shape, dtype=dtype, device=device, memory_format=layout))


def like(x: Tensor, layout: torch.memory_format = torch.contiguous_format) -> Tensor:
    return _advised(torch.empty_like(x, memory_format=layout))


def results(x: Tensor, wanted: Sequence[bool]) -> tuple[Tensor | None, ...]:
    return tuple(like(x) if each else None for each in wanted)


def table(rows: Tensor, dtype: torch.dtype) -> Tensor:
    return (rows if rows.dtype == dtype else rows.to(dtype)).contiguous()


# no noise: see fields()
NO_SOURCE = (None, 0, 0, 0, 0, 0, 0, 0)


def fields(source: Source | None, x: Tensor) -> tuple[Any, ...]:
    """The fields of NoiseSource for x [B, C, H, W]."""
    if source is None:
        return NO_SOURCE
    seeds, stream, y0, x0, plane = source
    if isinstance(seeds, int):
        return None, 0, stream, y0, x0, plane, x.shape[1], seeds
    one = seeds.numel() == 1
    step, plane_step = (0, x.shape[1]) if one else (1, 0)
    if one and not seeds.is_cuda:
        return None, step, stream, y0, x0, plane, plane_step, seeds.item()
    if not one and seeds.numel() != x.shape[0]:
        raise ValueError(f"seeds: takes 1 or {x.shape[0]}, one a sample, got {seeds.numel()}")
    return brought(seeds, x.device).contiguous(), step, stream, y0, x0, plane, plane_step, 0
