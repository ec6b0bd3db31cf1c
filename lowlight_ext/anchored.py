"""The forward process, anchored at a centre (AnlightenDiff) or plain (DDPM)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lowlight_ext import checks, reference
from lowlight_ext.common import Source
from lowlight_ext.noise import source_of
from lowlight_ext.pictures import arranged, check_noise, check_picture
from lowlight_ext.registry import PLACE, asked, gradients_fake, register


def _check_table(op: str, x: Tensor, t: Tensor, alpha_bar: Tensor) -> None:
    checks.steps(op, t, x)
    checks.table(op, "alpha_bar", alpha_bar, x.device)
    if alpha_bar.dim() != 1:
        raise checks.fail(op, "alpha_bar", "a table of shape [T]", tuple(alpha_bar.shape))


def _check_sample(
    x0: Tensor,
    t: Tensor,
    alpha_bar: Tensor,
    center: Tensor | None,
    noise: Tensor | None,
    source: Source | None,
    return_noise: bool,
) -> None:
    op = "anchored_q_sample"
    check_picture(op, "x0", x0)
    checks.matching(op, "x0", x0, center=center, noise=noise)
    _check_table(op, x0, t, alpha_bar)
    if noise is None and source is None:
        raise ValueError(f"{op}: takes noise or seed, got neither")
    check_noise(op, x0, noise, source)


def _brought(t: Tensor, alpha_bar: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    alpha_bar = checks.brought("anchored_q_sample", "alpha_bar", alpha_bar, like.device)
    return checks.brought("anchored_q_sample", "t", t, like.device), alpha_bar


def _prepared(x0: Tensor, t: Tensor, alpha_bar: Tensor, *rest: Any) -> tuple[Any, ...]:
    checks.probabilities("anchored_q_sample", "alpha_bar", alpha_bar)
    checks.steps_in_table("anchored_q_sample", t, alpha_bar.shape[0], None)
    return x0, *_brought(t, alpha_bar, x0), *rest


def _sample_fake(x0: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    return x0.new_empty(x0.shape), x0.new_empty(x0.shape if rest[-1] else 0)


def _sample_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    _, t, alpha_bar, *_, return_noise = inputs
    if alpha_bar.requires_grad:
        raise ValueError("anchored_q_sample: alpha_bar must not require a gradient, none is computed")
    ctx.save_for_backward(t, alpha_bar)
    ctx.return_noise = return_noise


def _sample_backward(ctx: Any, grad: Tensor, grad_noise: Tensor) -> tuple[Tensor | None, ...]:
    to_x0, _, _, to_center, to_noise, *_ = ctx.needs_input_grad
    needed = (to_x0, to_noise, to_center)
    # a second derivative goes through the definition, whose PyTorch operators have one
    call = reference.anchored_q_sample_backward if torch.is_grad_enabled() else _sample_backward_op
    t, alpha_bar = ctx.saved_tensors
    gradients = call(grad, grad_noise if ctx.return_noise else None, *_brought(t, alpha_bar, grad), needed)
    to_x0, to_noise, to_center = asked(gradients, needed)
    return to_x0, None, None, to_center, to_noise, None, None


def _check_sample_backward(
    grad: Tensor, grad_noise: Tensor | None, t: Tensor, alpha_bar: Tensor, needed: Sequence[bool]
) -> None:
    op = "anchored_q_sample_backward"
    check_picture(op, "grad", grad)
    checks.matching(op, "grad", grad, grad_noise=grad_noise)
    _check_table(op, grad, t, alpha_bar)
    checks.beside(op, "grad", grad, t=t, alpha_bar=alpha_bar)
    checks.needed(op, needed, 3)


_sample_op = register(
    f"anchored_q_sample(Tensor x0, Tensor t, Tensor alpha_bar, Tensor? center, Tensor? noise, {PLACE}, "
    "bool return_noise) -> (Tensor, Tensor)",
    _check_sample,
    _sample_fake,
    prepare=_prepared,
    backward=_sample_backward,
    context=_sample_context,
)
_sample_backward_op = register(
    "anchored_q_sample_backward(Tensor grad, Tensor? grad_noise, Tensor t, Tensor alpha_bar, bool[] needed) "
    "-> (Tensor, Tensor, Tensor)",
    _check_sample_backward,
    gradients_fake,
)


def anchored_q_sample(
    x0: Tensor,
    t: Tensor,
    alpha_bar: Tensor,
    *,
    center: Tensor | None = None,
    noise: Tensor | None = None,
    seed: int | Tensor | None = None,
    stream: int = 0,
    origin: tuple[int, int] = (0, 0),
    plane: int = 0,
    return_noise: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """The noisy picture at step t, sqrt(ab_t) x0 + sqrt(1 - ab_t) n with n = noise + k_t (2 center - 1).

    AnlightenDiff, eq. 12-13: k_t = (1 - sqrt(ab_t)) / sqrt(1 - ab_t); without center the forward process of DDPM.
    x0 (in [-1, 1]), center (in [0, 1]), noise: [B, C, H, W], all float32, float64, float16 or bfloat16 (under autocast
    the widest of them is taken); [C, H, W] is one sample, any other shape has samples on its first axis.
    t: int64 [B]; a sample with t < 0 is returned as it is. alpha_bar: float32 or float64 table [T] in [0, 1]. Both on
    the pictures' device or on the CPU: from there a GPU gets them after their values were checked, while those of a
    GPU are read back, which waits for it.
    noise, or drawn inside from `seed`, stream, origin and plane as `normal` would.
    Returns x_t, or (x_t, n) with `return_noise`, contiguous. The factors are formed in float64 and cast once.
    Gradients: x0, noise, center. Deterministic; with a seed the same in every batch, tile and backend.
    Raises TypeError on an argument that is no tensor; ValueError, naming the argument, on a shape, dtype, device, t or
    table that does not fit and on noise that is missing or given twice. While a CUDA graph is recorded values cannot be
    looked at: a t beyond the table then gives NaN.
    """
    op = "anchored_q_sample"
    checks.tensor(op, "t", t)
    checks.tensor(op, "alpha_bar", alpha_bar)
    pictures = {"x0": x0, "center": center, "noise": noise}
    (x0, center, noise), source, shape = arranged(op, pictures, source_of(op, seed, stream, origin, plane))
    x_t, n = _sample_op(x0, t, alpha_bar, center, noise, source, return_noise)
    if shape is not None:
        x_t, n = x_t.reshape(shape), n.reshape(shape) if return_noise else n
    return (x_t, n) if return_noise else x_t
