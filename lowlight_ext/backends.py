"""Which implementation serves which call, and why one is missing."""

from types import ModuleType

import torch

from lowlight_ext import kernels_cpp, kernels_cpp_raw, reference

NAMES = ("reference", "cpp", "cuda", "triton")
CHOICES = ("auto", *NAMES)
# the first is the one that every backend begins with
OPERATORS = (
    *("haar_dwt2d", "haar_idwt2d", "normal", "uniform", "philox", "diffusion_step", "anchored_q_sample"),
    *("poisson", "tukey_lambda", "raw_noise", "exposure_step"),
)
# modules of compiled kernels, one for several families of operators
COMPILED = (kernels_cpp, kernels_cpp_raw)

# one word for the whole process: autograd runs the backward pass in other threads, which must choose as the forward did
_forced = "auto"


def why_not(backend: str, op: str, device_type: str) -> str | None:
    """None where `backend` has a kernel of `op` for tensors on this kind of device, or the reason why it has not."""
    if backend == "reference":
        return None
    if backend == "triton":
        return "lowlight_ext has no Triton kernels yet"
    kind = "cpu" if backend == "cpp" else "cuda"
    if device_type != kind:
        return f"it takes tensors on {kind}, not on {device_type}"
    return kernels_cpp.available(kind, op)


def select(op: str, device_type: str) -> str:
    """The name of the backend that serves `op` now; RuntimeError where a forced one can not."""
    if _forced != "auto":
        reason = why_not(_forced, op, device_type)
        if reason:
            raise RuntimeError(f"{op}: backend {_forced!r} was asked for but is not available: {reason}")
        return _forced
    preferred = "cpp" if device_type == "cpu" else "cuda"
    return "reference" if why_not(preferred, op, device_type) else preferred


def implementation(op: str, device_type: str) -> ModuleType:
    """The module whose function of the operator's name serves the call."""
    if select(op, device_type) == "reference":
        return reference
    return next(module for module in COMPILED if hasattr(module, op))


class use_backend:
    """Force a backend: `use_backend("reference")` for the process, `with use_backend("cpp"): ...` for a block.

    name: "auto" (cpp on CPU tensors, cuda on GPU tensors where compiled, else reference), "reference", "cpp", "cuda",
    "triton". A forced backend that lacks an operator raises RuntimeError with the reason when the operator is called;
    nothing falls back silently. The choice holds for all threads. Not to be called inside a compiled function.
    """

    @torch.compiler.disable
    def __init__(self, name: str) -> None:
        global _forced
        if name not in CHOICES:
            raise ValueError(f"use_backend: name must be one of {', '.join(CHOICES)}, got {name!r}")
        self.previous, _forced = _forced, name

    def __enter__(self) -> "use_backend":
        return self

    @torch.compiler.disable
    def __exit__(self, *exception: object) -> None:
        global _forced
        _forced = self.previous


def backends(op: str | None = None) -> dict[str, str | None]:
    """Backend name -> None where available on this machine, or the reason why not; for `op`, or for any operator."""
    if op is not None and op not in OPERATORS:
        raise ValueError(f"backends: op must be one of {', '.join(OPERATORS)}, got {op!r}")
    result = {}
    for name in NAMES:
        kind = "cuda" if name in ("cuda", "triton") else "cpu"
        reasons = [why_not(name, each, kind) for each in ([op] if op else OPERATORS)]
        result[name] = None if None in reasons else reasons[0]
    return result
