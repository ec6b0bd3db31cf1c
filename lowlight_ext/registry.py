"""Registration with torch's dispatcher, namespace `lowlight_ext`, and the short way past it."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._device import DeviceContext

from lowlight_ext import checks
from lowlight_ext.backends import forced, implementation
from lowlight_ext.common import Source, seed_tensor
from lowlight_ext.kernels_compiled import call as compiled

NAMESPACE = "lowlight_ext"
# a Source, or none, in an operator's schema
PLACE = "Tensor? seeds, SymInt stream, SymInt row, SymInt column, SymInt plane"
NOWHERE = (None, 0, 0, 0, 0)
_library = torch.library.Library(NAMESPACE, "DEF")

# The short way is for calls in which the dispatcher would do nothing but find the kernel: plain tensors, no mode of any
# kind, no compiler, no transform. A call through it costs 10 to 15 times x + x by itself. What the dispatcher would act
# on shows in the keys of the thread and of the tensors; where torch does not tell them the way is not taken, nor where
# there is no compiled module to ask for them (csrc/tensors.h).
_keys_of = getattr(torch._C, "_dispatch_keys", None)
_keys_of_thread = getattr(torch._C, "_dispatch_tls_local_include_set", None)
_excluded: Any = getattr(torch._C, "_dispatch_tls_is_dispatch_key_excluded", None)
_function_mode: Any = getattr(torch._C, "_is_torch_function_mode_enabled", None)
_profiled: Any = getattr(getattr(torch._C, "_autograd", None), "_profiler_enabled", None)
_AVAILABLE = None not in (_keys_of, _keys_of_thread, _excluded, _function_mode, _profiled, compiled._C)


def _raw(*names: str) -> int:
    keys = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, names[0]))
    for name in names[1:]:
        keys = keys | torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, name))
    return keys.raw_repr()


def _plain_keys() -> list[set[int]]:
    """-> keys of a thread in no mode, or in inference mode; those of dense tensors of the CPU; of CUDA."""
    sets = [{_raw("BackendSelect", "ADInplaceOrView"), _raw("BackendSelect")}]
    for kind in ("CPU", "CUDA"):
        own = _raw(kind, "ADInplaceOrView", f"Autograd{kind}", f"Autocast{kind}")
        sets.append({own, _raw(kind, f"Autocast{kind}")})
    return sets


_THREADS, _CPU, _CUDA = _plain_keys() if _AVAILABLE else [set(), set(), set()]
_WITNESSES = (_function_mode, _profiled, _keys_of_thread, _THREADS, _keys_of, _CPU, _CUDA, Source)
# signatures that an operator remembers to have checked, shapes of a network's layers for the most part
MOST_SIGNATURES = 1024
DISPATCHED, PLAIN, DIFFERENTIABLE = range(3)


def _without_tangents(name: str, arguments: Sequence[Any]) -> None:
    """Raises NotImplementedError for a tangent of forward-mode AD, which would be lost and the derivative be zero."""
    if torch.compiler.is_compiling() or forward_ad._current_level < 0:
        return
    for value in arguments:
        if isinstance(value, Tensor) and forward_ad.unpack_dual(value).tangent is not None:
            raise NotImplementedError(f"{name}: forward-mode derivatives (jvp) are not there; backward ones are")


def way(arguments: tuple[Any, ...]) -> tuple[int, Any]:
    """DISPATCHED where a call of them means more than itself, for somebody traces, transforms, watches or records it or
    a tensor among them is not dense, not of the CPU or of CUDA or of another class; else PLAIN, or DIFFERENTIABLE where
    one of them requires a gradient. And what a check can see of them: shapes, dtypes, devices, numbers, and of a Source
    its kind."""
    # first of all: a compiler that traces this function reads no further
    if torch.compiler.is_compiling() or not _AVAILABLE or forward_ad._current_level >= 0:
        return DISPATCHED, None
    return compiled._C.ordinary(arguments, _WITNESSES)


def loops_serve(dtype: torch.dtype) -> bool:
    """Whether the loops of C++ that are no operators (Conv3x3's, NAFBlock's) serve numbers of this type here."""
    # under autocast they would be of another type
    return forced() in ("auto", "cpp") and _has_loops(dtype) and not torch.is_autocast_enabled("cpu")


@functools.cache
def _has_loops(dtype: torch.dtype) -> bool:
    if dtype == torch.bfloat16:
        return compiled.build_info().get("cpu_bfloat16", False)
    # the baseline is other processors' level too, on which nothing was measured
    return dtype == torch.float32 and compiled.build_info().get("cpu_level") in ("avx2", "avx512")


def watched(*tensors: Tensor) -> bool:
    """Whether somebody traces, transforms or records the call; a default device, a mode of torch's, does not."""
    if way(tensors)[0] != DISPATCHED:
        return False
    modes = torch.overrides._get_current_function_mode_stack()
    if not modes or not all(isinstance(mode, DeviceContext) for mode in modes):
        return True
    with torch._C.DisableTorchFunction():
        return way(tensors)[0] == DISPATCHED


def plain_thread() -> bool:
    """Whether nobody traces, transforms, watches or records what this thread calls, as far as `way` can tell."""
    return way(())[0] == PLAIN


def filled(like: Tensor, results: Any) -> Any:
    """A schema's results are tensors: an empty one stands for a result that was not asked for."""
    if isinstance(results, tuple) and None in [r if r is None else 0 for r in results]:
        return tuple(like.new_empty(0) if r is None else r for r in results)
    return results


def asked(gradients: Sequence[Tensor | None], needed: Sequence[bool]) -> list[Tensor | None]:
    return [g if n else None for g, n in zip(gradients, needed, strict=True)]


def gradients_fake(grad: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    """Of a backward operator whose last argument says which gradients, all like `grad`, are needed."""
    return tuple(grad.new_empty(grad.shape if wanted else 0) for wanted in rest[-1])


def _function(name: str, kernel: Callable, backward: Callable, setup_context: Callable) -> type:
    """What torch.library's autograd formula does, without the dispatcher around it."""

    def forward(ctx: Any, *arguments: Any) -> Any:
        # unlike a schema's, its results may be None
        output = kernel(*arguments)
        setup_context(ctx, arguments, output)
        return output

    # not as a setup_context of the class: torch then binds the arguments to a signature, which takes 15 us
    return type(
        name, (torch.autograd.Function,), {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    )


def served(name: str, prepare: Callable | None) -> Callable:
    """The kernel that prepares checked arguments, and calls the function `name` of the backend in charge."""
    op = name.removesuffix("_backward")

    def kernel(*arguments: Any) -> Any:
        if prepare is not None:
            arguments = prepare(*arguments)
        first = arguments[0]
        # where there is no tensor the device comes last
        device = first.device if isinstance(first, Tensor) else arguments[-1]
        return getattr(implementation(op, device.type), name)(*arguments)

    return kernel


class _Flat:
    """Between the dispatcher's arguments and the kernels', which have one Source where the schema has PLACE."""

    def __init__(self, schema: str) -> None:
        self.at = schema.partition(" seeds,")[0].count(",") if " seeds," in schema else None

    def arguments(self, grouped: tuple[Any, ...]) -> tuple[Any, ...]:
        if self.at is None:
            return grouped
        place: tuple[Any, ...] = NOWHERE
        if grouped[self.at] is not None:
            seeds, *rest = grouped[self.at]
            place = (seed_tensor(seeds), *rest)
        return *grouped[: self.at], *place, *grouped[self.at + 1 :]

    def grouped(self, flat: tuple[Any, ...]) -> tuple[Any, ...]:
        if self.at is None:
            return flat
        end = self.at + len(NOWHERE)
        source = None if flat[self.at] is None else Source(*flat[self.at : end])
        return *flat[: self.at], source, *flat[end:]

    def gradients(self, grouped: tuple[Any, ...]) -> tuple[Any, ...]:
        if self.at is None:
            return grouped
        return *grouped[: self.at], *(None,) * len(NOWHERE), *grouped[self.at + 1 :]


def register(
    schema: str,
    check: Callable,
    fake: Callable,
    *,
    prepare: Callable | None = None,
    kernel: Callable | None = None,
    backward: Callable | None = None,
    context: Callable | None = None,
) -> Callable:
    """Define `schema`; returns a function that calls the operator.

    One kernel serves every device: it asks `backends` at run time, so a compiled graph obeys `use_backend` too, and
    everything works, on the reference, with nothing compiled. `check` looks at shapes, dtypes, devices and numbers,
    and at nothing else: what it has seen once it need not see again. `prepare` looks at values, and gives the
    arguments as kernels take them. `kernel`: in place of `served`; it may give None for a result that was not asked
    for. `fake` gives the results' shapes. All take, and `backward` gives, one Source where the schema has PLACE; that
    it lies within the counters is checked here. Neither a list of tensors nor a gradient of one goes the short way.
    """
    name, flat = schema.split("(")[0], _Flat(schema)
    qualified = f"{NAMESPACE}::{name}"
    run = kernel or served(name, prepare)
    known: set[Any] = set()

    def placed(arguments: tuple[Any, ...]) -> None:
        if flat.at is not None and arguments[flat.at] is not None:
            first = arguments[0]
            checks.place(name, first.shape if isinstance(first, Tensor) else first, arguments[flat.at])

    def checked(arguments: tuple[Any, ...]) -> None:
        check(*arguments)
        placed(arguments)

    def dispatched(*arguments: Any) -> Any:
        arguments = flat.grouped(arguments)
        checked(arguments)
        return filled(arguments[0], run(*arguments))

    def traced(*arguments: Any) -> Any:
        arguments = flat.grouped(arguments)
        checked(arguments)
        return fake(*arguments)

    _library.define(schema)
    _library.impl(name, dispatched, "CompositeExplicitAutograd")
    torch.library.register_fake(qualified, traced, lib=_library)
    function: Any = None
    if backward is not None and context is not None:
        gradient, remember = backward, context
        torch.library.register_autograd(
            qualified,
            lambda ctx, *grads: flat.gradients(gradient(ctx, *grads)),
            setup_context=lambda ctx, inputs, output: remember(ctx, flat.grouped(inputs), output),
            lib=_library,
        )
        function = _function(name, run, backward, context)
    operator = getattr(getattr(torch.ops, NAMESPACE), name).default
    if "Tensor[]" in schema:
        return operator

    def call(*arguments: Any) -> Any:
        kind, seen = way(arguments)
        differentiable = kind == DIFFERENTIABLE and torch.is_grad_enabled()
        # within another operator's kernel, whose gradient is that one's matter
        if kind == DISPATCHED:
            _without_tangents(name, arguments)
        if kind == DISPATCHED or (differentiable and (function is None or _excluded(torch._C.DispatchKey.AutogradCPU))):
            return operator(*flat.arguments(arguments))
        if seen in known:
            placed(arguments)
        else:
            checked(arguments)
            if len(known) >= MOST_SIGNATURES:
                known.clear()
            known.add(seen)
        return function.apply(*arguments) if differentiable else run(*arguments)

    return call
