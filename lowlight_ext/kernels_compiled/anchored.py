"""The compiled forward process. Signatures are those of lowlight_ext.reference."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lowlight_ext.common import Source, contiguous
from lowlight_ext.kernels_compiled.call import CODES, call, fields, like, results, table


def _lookup(alpha_bar: Tensor, t: Tensor) -> tuple[Tensor, int, Tensor]:
    return table(alpha_bar, torch.float64), alpha_bar.shape[0], t.contiguous()


def anchored_q_sample(
    x0: Tensor,
    t: Tensor,
    alpha_bar: Tensor,
    center: Tensor | None,
    noise: Tensor | None,
    source: Source | None,
    return_noise: bool,
) -> tuple[Tensor, Tensor | None]:
    """x_t = sqrt(ab_t) x0 + sqrt(1 - ab_t) n with n = noise + k_t (2 center - 1); -> (x_t, n or None).

    On CUDA a time beyond the table gives NaN.
    """
    out, anchored = like(x0), like(x0) if return_noise else None
    inputs = contiguous(x0, center, noise)
    sizes, drawn = (CODES[x0.dtype], *x0.shape), (source is not None, *fields(source, x0))
    call("q_sample", x0, *inputs, out, anchored, *sizes, *_lookup(alpha_bar, t), *drawn)
    return out, anchored


def anchored_q_sample_backward(
    grad: Tensor,
    grad_noise: Tensor | None,
    t: Tensor,
    alpha_bar: Tensor,
    needed: Sequence[bool] = (True, True, True),
) -> tuple[Tensor | None, ...]:
    """Gradients to x0, noise and center where `needed`."""
    gradients = results(grad, needed)
    inputs = contiguous(grad, grad_noise)
    sizes = (CODES[grad.dtype], grad.shape[0], math.prod(grad.shape[1:]))
    call("q_sample_backward", grad, *inputs, *gradients, *sizes, *_lookup(alpha_bar, t))
    return gradients
