"""The tone curve: a dark picture brought to light, channel by channel, its highlights rolled off together."""

from typing import Any

import torch
from torch import Tensor

from lowlight_ext import checks, reference
from lowlight_ext.common import memory_format
from lowlight_ext.registry import register

CHANNELS = 3


def _check(x: Tensor, gamma: Tensor, scale: Tensor, knee: Tensor, floor: float, share: float) -> None:
    op = "tone_curve"
    checks.floating(op, "x", x)
    if x.dim() != 4 or x.shape[1] != CHANNELS:
        raise checks.fail(op, "x", "pictures of 3 channels, [B, 3, H, W]", tuple(x.shape))
    for name, value, count in (("gamma", gamma, CHANNELS), ("scale", scale, CHANNELS), ("knee", knee, 1)):
        checks.floating(op, name, value)
        if value.shape != (x.shape[0], count):
            raise checks.fail(op, name, f"of shape {(x.shape[0], count)}", tuple(value.shape))
    checks.beside(op, "x", x, gamma=gamma, scale=scale, knee=knee)
    if not 0 < floor < float("inf"):
        raise checks.fail(op, "floor", "finite and above 0", floor)
    if not 0 <= share <= 1:
        raise checks.fail(op, "share", "in [0, 1]", share)


def _context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *tensors, ctx.floor, ctx.share = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, gamma, scale, knee = ctx.saved_tensors
    needed = ctx.needs_input_grad[:4]
    return *reference.tone_curve_backward(grad, x, gamma, scale, knee, ctx.floor, ctx.share, needed), None, None


_op = register(
    "tone_curve(Tensor x, Tensor gamma, Tensor scale, Tensor knee, float floor, float share) -> Tensor",
    _check,
    lambda x, *rest: torch.empty_like(x, memory_format=memory_format(x)),
    backward=_backward,
    context=_context,
)


def tone_curve(
    x: Tensor, gamma: Tensor, scale: Tensor, knee: Tensor, *, floor: float = 1 / 255, share: float = 0.6
) -> Tensor:
    """scale ((x + f)^gamma - f^gamma) / ((1 + f)^gamma - f^gamma), f = floor, with highlights rolled off towards 1.

    x: pictures [B, 3, H, W] in [0, 1]; float32, float64, float16 or bfloat16. gamma, scale: [B, 3] above 0, gamma to
    80 / ln(1 + 1 / f), 14 at the usual floor. knee: [B, 1] up to 1, where the roll-off begins: a y above it becomes
    1 - w exp((knee - y) / w), w = max(1 - knee, 1e-4). share: of the result in which the brightest channel is rolled
    off and the other two keep their ratio to it, so that an orange lamp does not turn yellow; in the rest each channel
    is rolled off alone. floor bounds the slope at black, where one step of an 8-bit picture is all there is.
    Black stays black. A NaN makes its pixel NaN, and so does an x below -floor.
    Returns x's shape, dtype (under autocast too) and memory format: channels_last stays, any other becomes contiguous.
    Computes in float32 (float64 for float64): at the usual floor within 16 ulp, or 6 gamma where that is more, and near
    black a fifth of an ulp of scale; with a floor above 0.1 there 2 floor ulp of scale. The float32 bits are the same
    on all compiled backends.
    Gradients: x, gamma, scale, knee, through the definition in PyTorch, which the backward pass computes once more:
    made for the small bands of a training, not for speed; second derivatives as well.
    Raises TypeError where x is no tensor, ValueError on a dtype, shape, device, floor or share that does not fit.
    """
    tensors = {"x": x, "gamma": gamma, "scale": scale, "knee": knee}
    for name, value in tensors.items():
        checks.tensor("tone_curve", name, value)
    return _op(x, gamma, scale, knee, float(floor), float(share))
