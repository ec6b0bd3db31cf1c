"""Sums in the memory of a summand."""

import torch
from torch import Tensor

from lowlight_ext.registry import watched


def plus(x: Tensor, y: Tensor) -> Tensor:
    """x + y; in the memory of x, which must be the caller's own, where no gradient is wanted and nobody can tell."""
    # a transform may have made more of y than x has room for, autocast another type of x
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or x.dtype != y.dtype or watched():
        return x + y
    return x.add_(y)
