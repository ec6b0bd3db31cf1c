"""Which implementation serves which call, and why one is missing."""

import functools
from importlib import import_module
from types import ModuleType

import torch

from lowlight_ext import kernels_compiled, reference

NAMES = ("reference", "cpp", "cuda", "triton")
CHOICES = ("auto", *NAMES)
# the first is the one that every backend begins with
OPERATORS = (
    *("haar_dwt2d", "haar_idwt2d", "normal", "uniform", "philox", "diffusion_step", "anchored_q_sample"),
    *("poisson", "tukey_lambda", "raw_noise", "exposure_step"),
    *("group_norm_silu", "mish_instance_norm", "layer_norm2d", "simple_gate"),
    "tone_curve",
)
# on GPU tensors `auto` takes the faster of the two where there are both, else the one there is: operator ->
# (backend, reason); a benchmark on a GPU decides, and none has been run yet
GPU_CHOICE = dict.fromkeys(OPERATORS, ("cuda", "not measured yet"))
TRITON_NEEDED = (3, 2)

# one word for the whole process: autograd runs the backward pass in other threads, which must choose as the forward did
_forced = "auto"


@functools.cache
def _triton() -> ModuleType | str:
    """The Triton kernels, or the reason why they can not be imported."""
    try:
        version = import_module("triton").__version__
    except ImportError as error:
        return f"triton could not be imported: {error}"
    if tuple(int(part) for part in version.split(".")[:2]) < TRITON_NEEDED:
        return f"it needs triton {'.'.join(map(str, TRITON_NEEDED))} or newer, found {version}"
    return import_module("lowlight_ext.kernels_triton")


def why_not(backend: str, op: str, device_type: str) -> str | None:
    """None where `backend` has a kernel of `op` for tensors on this kind of device, or the reason why it has not."""
    if backend == "reference":
        return None
    if backend == "triton":
        kernels = _triton()
        return kernels if isinstance(kernels, str) else kernels.available(device_type, op)
    kind = "cpu" if backend == "cpp" else "cuda"
    if device_type != kind:
        return f"it takes tensors on {kind}, not on {device_type}"
    return kernels_compiled.available(kind, op)


def select(op: str, device_type: str) -> str:
    """The name of the backend that serves `op` now; RuntimeError where a forced one can not."""
    if _forced != "auto":
        reason = why_not(_forced, op, device_type)
        if reason:
            raise RuntimeError(f"{op}: backend {_forced!r} was asked for but is not available: {reason}")
        return _forced
    if device_type == "cpu":
        return "reference" if why_not("cpp", op, device_type) or kernels_compiled.slower(op) else "cpp"
    candidates = sorted(("cuda", "triton"), key=GPU_CHOICE[op][0].__ne__)
    return next((name for name in candidates if not why_not(name, op, device_type)), "reference")


def forced() -> str:
    """What `use_backend` asked for last."""
    return _forced


def implementation(op: str, device_type: str) -> ModuleType:
    """The module whose function of the operator's name serves the call."""
    name = select(op, device_type)
    if name == "triton":
        kernels = _triton()
        assert isinstance(kernels, ModuleType)
        return kernels
    return reference if name == "reference" else kernels_compiled


def _refuse_a_compiler() -> None:
    # what torch.compiler.disable is for, but that decorator imports torch._dynamo, two seconds of every start
    if torch.compiler.is_compiling():
        raise RuntimeError("use_backend: can not be called inside a compiled function")


class use_backend:
    """Force a backend: `use_backend("reference")` for the process, `with use_backend("cpp"): ...` for a block.

    name: "auto" (cpp on CPU tensors unless it is the slower one, cuda or triton on GPU tensors as `gpu_choice` says,
    reference where there is neither), "reference", "cpp", "cuda", "triton" (on GPU tensors; on CPU tensors only where
    TRITON_INTERPRET=1 was set before triton was imported: slow, for tests). A forced backend that lacks an operator
    raises RuntimeError with the reason when the operator is called; nothing falls back silently. The choice holds for
    all threads. Not to be called inside a compiled function.
    """

    def __init__(self, name: str) -> None:
        global _forced
        _refuse_a_compiler()
        if name not in CHOICES:
            raise ValueError(f"use_backend: name must be one of {', '.join(CHOICES)}, got {name!r}")
        self.previous, _forced = _forced, name

    def __enter__(self) -> "use_backend":
        return self

    def __exit__(self, *exception: object) -> None:
        global _forced
        _refuse_a_compiler()
        _forced = self.previous


def backends(op: str | None = None) -> dict[str, str | None]:
    """Backend name -> None where available on this machine, or the reason why not; for `op`, or for any operator.

    triton is available where it can run at all: on a GPU, or interpreted on CPU tensors.
    """
    if op is not None and op not in OPERATORS:
        raise ValueError(f"backends: op must be one of {', '.join(OPERATORS)}, got {op!r}")
    result = {}
    for name in NAMES:
        kinds = {"cuda": ["cuda"], "triton": ["cuda", "cpu"]}.get(name, ["cpu"])
        reasons = [why_not(name, each, kind) for kind in kinds for each in ([op] if op else OPERATORS)]
        result[name] = None if None in reasons else reasons[0]
    return result


def gpu_choice() -> dict[str, tuple[str, str]]:
    """Operator -> (backend that `auto` takes on GPU tensors where it is available, what it was chosen by)."""
    return dict(GPU_CHOICE)
