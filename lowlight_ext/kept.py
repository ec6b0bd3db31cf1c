"""What is made of weights, kept until one of them changes."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Kept:
    """Called with weights, one or more, it gives make(*weights), made once; copies of it begin anew."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make
        self._known: Any = (None, None, None)  # memory of the weights, where it lies and its versions, what was made

    def __call__(self, *weights: Tensor) -> Any:
        _, state, made = self._known
        # elsewhere it may be memory of a graph that is being recorded
        keep = not (torch.is_grad_enabled() or torch.compiler.is_compiling())
        if not keep or any(not weight.is_cpu or weight.is_inference() for weight in weights):
            return self.make(*weights)
        now = [(weight.data_ptr(), weight._version) for weight in weights]
        if state != now:
            made = self.make(*weights)
            # the memory is held, so that the same address is the same memory
            self._known = ([weight.detach() for weight in weights], now, made)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return Kept, (self.make,)
