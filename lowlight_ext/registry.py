"""Registration with torch's dispatcher, namespace `lowlight_ext`."""

from collections.abc import Callable

import torch

NAMESPACE = "lowlight_ext"
_library = torch.library.Library(NAMESPACE, "DEF")


def register(
    schema: str,
    kernel: Callable,
    fake: Callable,
    backward: Callable | None = None,
    setup_context: Callable | None = None,
) -> Callable:
    """Define `schema`; returns the operator.

    One kernel serves every device: it asks `backends` at run time, so a compiled graph obeys `use_backend` too, and
    everything works, on the reference, with nothing compiled. `fake` checks the same shapes and gives them.
    """
    name = schema.split("(")[0]
    _library.define(schema)
    _library.impl(name, kernel, "CompositeExplicitAutograd")
    qualified = f"{NAMESPACE}::{name}"
    torch.library.register_fake(qualified, fake, lib=_library)
    if backward is not None:
        torch.library.register_autograd(qualified, backward, setup_context=setup_context, lib=_library)
    return getattr(getattr(torch.ops, NAMESPACE), name).default
