"""What is made of a weight, kept until the weight changes."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Kept:
    """Called with a weight it gives make(weight), made once; copies of it begin anew."""

    def __init__(self, make: Callable[[Tensor], Tensor]) -> None:
        self.make = make
        self._known: Any = (None, 0, None)  # memory of the weight, its version, what was made of it

    def __call__(self, weight: Tensor) -> Tensor:
        source, version, made = self._known
        # elsewhere it may be memory of a graph that is being recorded
        keep = weight.is_cpu and not (torch.is_grad_enabled() or torch.compiler.is_compiling() or weight.is_inference())
        if not keep:
            return self.make(weight)
        # `source` holds the memory, so that the same address is the same memory
        if made is None or source.data_ptr() != weight.data_ptr() or version != weight._version:
            made = self.make(weight)
            self._known = (weight.detach(), weight._version, made)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return Kept, (self.make,)
