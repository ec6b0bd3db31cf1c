"""Haar wavelets: DiffLL's definition and band order, orthonormal, so each transform is the other's adjoint.

With x1 .. x4 at rows and columns (even, even), (odd, even), (even, odd), (odd, odd):
LL = (x1 + x2 + x3 + x4) / 2, HL = (-x1 - x2 + x3 + x4) / 2,
LH = (-x1 + x2 - x3 + x4) / 2, HH = (x1 - x2 - x3 + x4) / 2.
In PyWavelets' names (dwt2, "haar"): LL = cA, HL = -cV, LH = -cH, HH = cD.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lowlight_ext import checks, reference
from lowlight_ext.backends import implementation
from lowlight_ext.registry import register


def _check_dwt(x: Tensor, normalise: bool) -> None:
    checks.floating("haar_dwt2d", "x", x)
    checks.even_picture("haar_dwt2d", "x", x)


def _check_idwt(bands: Tensor, denormalise: bool) -> None:
    checks.floating("haar_idwt2d", "bands", bands)
    if bands.dim() < 3 or bands.shape[0] != 4:
        raise checks.fail("haar_idwt2d", "bands", "of shape [4, ..., h, w]", tuple(bands.shape))


def _check_wavedec(x: Tensor, levels: int, normalise: bool) -> None:
    checks.floating("haar_wavedec2d", "x", x)
    # beyond it no picture can be divided, and an empty one is divided for ever
    if not 1 <= levels < 63:
        raise checks.fail("haar_wavedec2d", "levels", "in [1, 62]", levels)
    checks.even_picture("haar_wavedec2d", "x", x, 2**levels)


def _check_waverec(coefficients: Sequence[Tensor], denormalise: bool) -> None:
    op = "haar_waverec2d"
    if len(coefficients) < 2:
        raise checks.fail(op, "coefficients", "[LL, details, ...]", f"{len(coefficients)} entries")
    ll, *details = coefficients
    checks.floating(op, "coefficients[0]", ll)
    if ll.dim() < 2:
        raise checks.fail(op, "coefficients[0]", "of at least two dimensions [..., h, w]", tuple(ll.shape))
    *batch, height, width = ll.shape
    for level, bands in enumerate(details):
        expected, name = (3, *batch, height << level, width << level), f"coefficients[{level + 1}]"
        checks.strided(op, name, bands)
        if bands.shape != expected:
            raise checks.fail(op, name, f"of shape {expected}", tuple(bands.shape))
        if (bands.dtype, bands.device) != (ll.dtype, ll.device):
            raise checks.fail(op, name, f"{ll.dtype} on {ll.device} as LL", f"{bands.dtype} on {bands.device}")


def _wavedec(x: Tensor, levels: int, normalise: bool) -> list[Tensor]:
    module = implementation("haar_dwt2d", x.device.type)
    if hasattr(module, "haar_wavedec2d"):
        return module.haar_wavedec2d(x, levels, normalise)
    # a backend without a kernel of several levels: one after the other
    return reference.haar_wavedec2d(x, levels, normalise, dwt=module.haar_dwt2d)


def _waverec(coefficients: Sequence[Tensor], denormalise: bool) -> Tensor:
    module = implementation("haar_idwt2d", coefficients[0].device.type)
    if hasattr(module, "haar_waverec2d"):
        return module.haar_waverec2d(coefficients, denormalise)
    return reference.haar_waverec2d(coefficients, denormalise, idwt=module.haar_idwt2d)


def _dwt_fake(x: Tensor, normalise: bool) -> Tensor:
    *batch, height, width = x.shape
    return x.new_empty((4, *batch, height // 2, width // 2))


def _idwt_fake(bands: Tensor, denormalise: bool) -> Tensor:
    _, *batch, height, width = bands.shape
    return bands.new_empty((*batch, 2 * height, 2 * width))


def _wavedec_fake(x: Tensor, levels: int, normalise: bool) -> list[Tensor]:
    *batch, height, width = x.shape
    sizes = [(height >> level, width >> level) for level in range(levels, 0, -1)]
    return [x.new_empty((*batch, *sizes[0])), *(x.new_empty((3, *batch, *size)) for size in sizes)]


def _waverec_fake(coefficients: Sequence[Tensor], denormalise: bool) -> Tensor:
    return _idwt_fake(coefficients[-1], denormalise)


def _dwt_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.normalise = inputs[-1]


def _dwt_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    grad = _idwt_op(grad, False)
    return 2 * grad if ctx.normalise else grad, None


def _wavedec_backward(ctx: Any, grads: list[Tensor]) -> tuple[Tensor, None, None]:
    grad = _waverec_op(grads, False)
    return 2 * grad if ctx.normalise else grad, None, None


def _through_clamp(grad: Tensor, inverse: Callable, bands: Sequence[Tensor]) -> Tensor:
    """The gradient to y of clamp((y + 1) / 2, 0, 1), y = inverse(bands)."""
    # y anew, for where the clamp acted can not be told from its result: a 0 or 1 may lie on the bound or beyond it
    wide = [b.detach() if b.dtype == torch.float64 else b.detach().float() for b in bands]
    value = (inverse(wide) + 1) * 0.5
    return torch.where((value >= 0) & (value <= 1), 0.5 * grad, 0)


def _idwt_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    bands, ctx.denormalise = inputs
    if ctx.denormalise:
        ctx.save_for_backward(bands)


def _idwt_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    if ctx.denormalise:
        grad = _through_clamp(grad, lambda bands: _idwt_op(bands[0], False), ctx.saved_tensors)
    return _dwt_op(grad, False), None


def _waverec_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    coefficients, ctx.denormalise = inputs
    ctx.levels = len(coefficients) - 1
    if ctx.denormalise:
        ctx.save_for_backward(*coefficients)


def _waverec_backward(ctx: Any, grad: Tensor) -> tuple[list[Tensor], None]:
    if ctx.denormalise:
        grad = _through_clamp(grad, lambda coefficients: _waverec_op(coefficients, False), ctx.saved_tensors)
    return _wavedec_op(grad, ctx.levels, False), None


_dwt_op = register(
    "haar_dwt2d(Tensor x, bool normalise) -> Tensor",
    _check_dwt,
    _dwt_fake,
    backward=_dwt_backward,
    context=_dwt_context,
)
_idwt_op = register(
    "haar_idwt2d(Tensor bands, bool denormalise) -> Tensor",
    _check_idwt,
    _idwt_fake,
    backward=_idwt_backward,
    context=_idwt_context,
)
_wavedec_op = register(
    "haar_wavedec2d(Tensor x, int levels, bool normalise) -> Tensor[]",
    _check_wavedec,
    _wavedec_fake,
    kernel=_wavedec,
    backward=_wavedec_backward,
    context=_dwt_context,
)
_waverec_op = register(
    "haar_waverec2d(Tensor[] coefficients, bool denormalise) -> Tensor",
    _check_waverec,
    _waverec_fake,
    kernel=_waverec,
    backward=_waverec_backward,
    context=_waverec_context,
)


def haar_dwt2d(x: Tensor, *, normalise: bool = False) -> Tensor:
    """One level of the Haar transform of x, or with `normalise` of 2x - 1.

    x: [B, C, H, W] (any [..., H, W]), H and W even; float32, float64, float16 or bfloat16; any layout.
    Returns [4, B, C, H/2, W/2], contiguous: LL, HL, LH, HH; its flatten(0, 1) is DiffLL's batch-stacked layout.
    Computes in float32 (float64 for float64). Gradients: x, to any order (the adjoint is haar_idwt2d).
    Raises TypeError where x is no tensor, ValueError on a dtype, shape or odd size that does not fit.
    """
    checks.tensor("haar_dwt2d", "x", x)
    return _dwt_op(x, normalise)


def haar_idwt2d(bands: Tensor, *, denormalise: bool = False) -> Tensor:
    """The inverse y of one level, or with `denormalise` the picture clamp((y + 1) / 2, 0, 1).

    bands: [4, B, C, h, w] (any [4, ..., h, w]) in the order LL, HL, LH, HH; float32, float64, float16 or bfloat16.
    Returns [B, C, 2h, 2w], contiguous. Computes in float32 (float64 for float64).
    Gradients: bands, to any order; zero where the clamp acts, passed on its bounds (whatever torch.clamp does there).
    Raises TypeError where bands is no tensor, ValueError on a dtype or shape that does not fit.
    """
    checks.tensor("haar_idwt2d", "bands", bands)
    return _idwt_op(bands, denormalise)


def haar_wavedec2d(x: Tensor, levels: int, *, normalise: bool = False) -> list[Tensor]:
    """`levels` levels of haar_dwt2d, coarsest first as in pywt.wavedec2.

    x: [B, C, H, W] (any [..., H, W]), H and W divisible by 2^levels; with `normalise`, 2x - 1 is transformed.
    Returns [LL, details of the coarsest level, ..., of the finest], details [3, B, C, h, w] in the order HL, LH, HH.
    Gradients, dtypes and errors as haar_dwt2d; ValueError where levels is not in 1 .. 62.
    """
    checks.tensor("haar_wavedec2d", "x", x)
    if x.device.type == "cpu":
        return _wavedec_op(x, levels, normalise)
    # elsewhere a kernel does one level
    _check_wavedec(x, levels, normalise)
    details: list[Tensor] = []
    for level in range(levels):
        bands = _dwt_op(x, normalise and level == 0)
        x = bands[0]
        details.append(bands[1:])
    return [x, *reversed(details)]


def haar_waverec2d(coefficients: Sequence[Tensor], *, denormalise: bool = False) -> Tensor:
    """The inverse of haar_wavedec2d: [LL, details coarsest .. finest] -> [B, C, H, W].

    With `denormalise` the picture clamp((y + 1) / 2, 0, 1). Gradients, dtypes and errors as haar_idwt2d; ValueError
    where there are no details, or where a level's size is not that of the level below.
    """
    coefficients = list(coefficients)
    for index, value in enumerate(coefficients):
        checks.tensor("haar_waverec2d", f"coefficients[{index}]", value)
    if coefficients and coefficients[0].device.type != "cpu":
        # elsewhere a kernel does one level
        _check_waverec(coefficients, denormalise)
        x, *details = coefficients
        for index, bands in enumerate(details, 1):
            x = _idwt_op(torch.cat((x[None], bands)), denormalise and index == len(details))
        return x
    return _waverec_op(coefficients, denormalise)
