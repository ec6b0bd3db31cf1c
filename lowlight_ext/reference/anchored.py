"""The anchored forward process in plain PyTorch."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lowlight_ext.common import Source
from lowlight_ext.reference.roots import root
from lowlight_ext.reference.step import columns, drawn, rounded, wide


def anchored_rows(t: Tensor, alpha_bar: Tensor) -> Tensor:
    """[B, 3] float64 rows (sqrt(ab_t), sqrt(1 - ab_t), k_t); (1, 0, 0) where t < 0 and where ab_t = 1."""
    ab = torch.where(t < 0, 1.0, alpha_bar.double()[t.clamp(min=0)])
    al, sg = root(ab), root(1 - ab)
    # (1 - al) / sg = sg / (1 + al), which neither cancels nor divides zero by zero
    return torch.stack((al, sg, sg / (1 + al)), dim=-1)


def anchored_q_sample(
    x0: Tensor,
    t: Tensor,
    alpha_bar: Tensor,
    center: Tensor | None,
    noise: Tensor | None,
    source: Source | None,
    return_noise: bool,
) -> tuple[Tensor, Tensor | None]:
    """x_t = sqrt(ab_t) x0 + sqrt(1 - ab_t) n with n = noise + k_t (2 center - 1); -> (x_t, n or None)."""
    al, sg, k = columns(anchored_rows(t, alpha_bar), x0)
    x0_ = wide(x0)
    if source is not None:
        n = drawn(x0, source)
    else:
        assert noise is not None
        # an operator's result must not be its argument
        n = wide(noise).clone()
    if center is not None:
        n = n + k * (2 * wide(center) - 1)
    # t < 0 returns x0 itself, also where the noise is not finite
    kept = (t < 0).reshape(sg.shape)
    x_t = torch.where(kept, x0_, al * x0_ + sg * n)
    return rounded(x_t, x0), rounded(n, x0) if return_noise else None


def anchored_q_sample_backward(
    grad: Tensor,
    grad_noise: Tensor | None,
    t: Tensor,
    alpha_bar: Tensor,
    needed: Sequence[bool] = (True, True, True),
) -> tuple[Tensor | None, ...]:
    """Gradients to x0, noise and center where `needed`."""
    al, sg, k = columns(anchored_rows(t, alpha_bar), grad)
    g, g_n = wide(grad), wide(grad_noise)
    inner = sg * g if g_n is None else sg * g + g_n
    formulas = (lambda: al * g, lambda: inner, lambda: 2 * k * inner)
    return tuple(rounded(f(), grad) if wanted else None for f, wanted in zip(formulas, needed, strict=True))
