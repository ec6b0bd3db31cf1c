"""Registration with torch's dispatcher, namespace `lowlight_ext`, and the short way past it."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

NAMESPACE = "lowlight_ext"
_library = torch.library.Library(NAMESPACE, "DEF")

# The short way is for calls in which the dispatcher would do nothing but find the kernel: plain tensors, no mode of any
# kind, no compiler, no transform. A call through it costs 10 to 15 times x + x by itself. What the dispatcher would act
# on shows in the keys of the thread and of the tensors; where torch does not tell them the way is not taken.
_keys_of = getattr(torch._C, "_dispatch_keys", None)
_keys_of_thread = getattr(torch._C, "_dispatch_tls_local_include_set", None)
_excluded = getattr(torch._C, "_dispatch_tls_is_dispatch_key_excluded", None)
_function_mode = getattr(torch._C, "_is_torch_function_mode_enabled", None)
_profiled = getattr(torch._C, "_autograd", None) and getattr(torch._C._autograd, "_profiler_enabled", None)
_AVAILABLE = None not in (_keys_of, _keys_of_thread, _excluded, _function_mode, _profiled)
_TENSORS = frozenset((Tensor, torch.nn.Parameter))
_OTHERS = frozenset((type(None), int, float, bool, tuple, list, torch.Size, torch.dtype, torch.device))


def _raw(*names: str) -> int:
    keys = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, names[0]))
    for name in names[1:]:
        keys = keys | torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, name))
    return keys.raw_repr()


def _plain_keys() -> tuple[set[int], set[int]]:
    """-> (keys of a thread in no mode, or in inference mode; those of dense CPU and CUDA tensors)."""
    threads = {_raw("BackendSelect", "ADInplaceOrView"), _raw("BackendSelect")}
    tensors = set()
    for kind in ("CPU", "CUDA"):
        tensors |= {
            _raw(kind, "ADInplaceOrView", f"Autograd{kind}", f"Autocast{kind}"),
            _raw(kind, f"Autocast{kind}"),
        }
    return threads, tensors


_THREADS, _PLAIN = _plain_keys() if _AVAILABLE else (set(), set())


def no_mode() -> bool:
    """Whether a call here means itself and nothing more: nobody traces, transforms, watches or records it."""
    return (
        not torch.compiler.is_compiling()
        and _AVAILABLE
        and _keys_of_thread().raw_repr() in _THREADS
        and not _function_mode()
        and not _profiled()
        and forward_ad._current_level < 0
    )


def plain(arguments: Sequence[Any]) -> tuple[bool, bool]:
    """-> (whether all tensors among them are ordinary ones, dense, of the CPU or of CUDA, of no other class;
    whether any of them requires a gradient)."""
    wanted = False
    for value in arguments:
        kind = type(value)
        if kind in _TENSORS:
            if _keys_of(value).raw_repr() not in _PLAIN:
                return False, False
            wanted = wanted or value.requires_grad
        elif kind not in _OTHERS and isinstance(value, Tensor):
            return False, False
    return True, wanted


def filled(like: Tensor, results: Any) -> Any:
    """A schema's results are tensors: an empty one stands for a result that was not asked for."""
    if isinstance(results, tuple) and None in [r if r is None else 0 for r in results]:
        return tuple(like.new_empty(0) if r is None else r for r in results)
    return results


def _function(name: str, kernel: Callable, backward: Callable, setup_context: Callable) -> type:
    """What torch.library's autograd formula does, without the dispatcher around it."""

    def forward(ctx: Any, *arguments: Any) -> Any:
        output = filled(arguments[0], kernel(*arguments))
        setup_context(ctx, arguments, output)
        return output

    # not as a setup_context of the class: torch then binds the arguments to a signature, which takes 15 us
    return type(
        name, (torch.autograd.Function,), {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    )


def register(
    schema: str,
    kernel: Callable,
    fake: Callable,
    backward: Callable | None = None,
    setup_context: Callable | None = None,
) -> Callable:
    """Define `schema`; returns a function that calls the operator.

    One kernel serves every device: it asks `backends` at run time, so a compiled graph obeys `use_backend` too, and
    everything works, on the reference, with nothing compiled. It may give None for a result that was not asked for.
    `fake` checks the same shapes and gives them. Neither a list of tensors nor a gradient of one goes the short way.
    """
    name = schema.split("(")[0]
    qualified = f"{NAMESPACE}::{name}"
    _library.define(schema)
    _library.impl(name, lambda *a: filled(a[0], kernel(*a)), "CompositeExplicitAutograd")
    torch.library.register_fake(qualified, fake, lib=_library)
    function = None
    if backward is not None and setup_context is not None:
        torch.library.register_autograd(qualified, backward, setup_context=setup_context, lib=_library)
        function = _function(name, kernel, backward, setup_context)
    operator = getattr(getattr(torch.ops, NAMESPACE), name).default
    if "Tensor[]" in schema:
        return operator

    def call(*arguments: Any) -> Any:
        if not no_mode():
            return operator(*arguments)
        ordinary, wanted = plain(arguments)
        if not ordinary:
            return operator(*arguments)
        if not wanted or not torch.is_grad_enabled():
            return kernel(*arguments)
        # within another operator's kernel, whose gradient is that one's matter
        if function is None or _excluded(torch._C.DispatchKey.AutogradCPU):
            return operator(*arguments)
        return function.apply(*arguments)

    return call
