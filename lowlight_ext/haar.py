"""Haar wavelets: DiffLL's definition and band order, orthonormal, so each transform is the other's adjoint.

With x1 .. x4 at rows and columns (even, even), (odd, even), (even, odd), (odd, odd):
LL = (x1 + x2 + x3 + x4) / 2, HL = (-x1 - x2 + x3 + x4) / 2,
LH = (-x1 + x2 - x3 + x4) / 2, HH = (x1 - x2 - x3 + x4) / 2.
In PyWavelets' names (dwt2, "haar"): LL = cA, HL = -cV, LH = -cH, HH = cD.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lowlight_ext import checks
from lowlight_ext.backends import implementation
from lowlight_ext.registry import register


def _check_dwt(x: Tensor) -> None:
    checks.floating("haar_dwt2d", "x", x)
    checks.even_picture("haar_dwt2d", "x", x)


def _check_idwt(bands: Tensor) -> None:
    checks.floating("haar_idwt2d", "bands", bands)
    if bands.dim() < 3 or bands.shape[0] != 4:
        raise checks.fail("haar_idwt2d", "bands", "of shape [4, ..., h, w]", tuple(bands.shape))


def _dwt(x: Tensor, normalise: bool) -> Tensor:
    _check_dwt(x)
    return implementation("haar_dwt2d", x.device.type).haar_dwt2d(x, normalise)


def _idwt(bands: Tensor, denormalise: bool) -> Tensor:
    _check_idwt(bands)
    return implementation("haar_idwt2d", bands.device.type).haar_idwt2d(bands, denormalise)


def _dwt_fake(x: Tensor, normalise: bool) -> Tensor:
    _check_dwt(x)
    *batch, height, width = x.shape
    return x.new_empty((4, *batch, height // 2, width // 2))


def _idwt_fake(bands: Tensor, denormalise: bool) -> Tensor:
    _check_idwt(bands)
    _, *batch, height, width = bands.shape
    return bands.new_empty((*batch, 2 * height, 2 * width))


def _dwt_context(ctx, inputs, output) -> None:
    ctx.normalise = inputs[1]


def _dwt_backward(ctx, grad: Tensor):
    grad = _idwt_op(grad, False)
    return 2 * grad if ctx.normalise else grad, None


def _idwt_context(ctx, inputs, output) -> None:
    bands, ctx.denormalise = inputs
    # where the clamp acted can not be told from its output: a value of exactly 0 or 1 may lie on the bound or beyond it
    if ctx.denormalise:
        ctx.save_for_backward(bands)


def _idwt_backward(ctx, grad: Tensor):
    if ctx.denormalise:
        (bands,) = ctx.saved_tensors
        wide = bands.detach() if bands.dtype == torch.float64 else bands.detach().float()
        value = (_idwt_op(wide, False) + 1) * 0.5
        grad = torch.where((value >= 0) & (value <= 1), 0.5 * grad, 0)
    return _dwt_op(grad, False), None


_dwt_op = register("haar_dwt2d(Tensor x, bool normalise) -> Tensor", _dwt, _dwt_fake, _dwt_backward, _dwt_context)
_idwt_op = register(
    "haar_idwt2d(Tensor bands, bool denormalise) -> Tensor", _idwt, _idwt_fake, _idwt_backward, _idwt_context
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
    Gradients: bands, to any order; zero where the clamp acts, passed on its bounds, as torch.clamp.
    Raises TypeError where bands is no tensor, ValueError on a dtype or shape that does not fit.
    """
    checks.tensor("haar_idwt2d", "bands", bands)
    return _idwt_op(bands, denormalise)


def haar_wavedec2d(x: Tensor, levels: int, *, normalise: bool = False) -> list[Tensor]:
    """`levels` levels of haar_dwt2d, coarsest first as in pywt.wavedec2.

    x: [B, C, H, W] (any [..., H, W]), H and W divisible by 2^levels; with `normalise`, 2x - 1 is transformed.
    Returns [LL, details of the coarsest level, ..., of the finest], details [3, B, C, h, w] in the order HL, LH, HH.
    Gradients, dtypes and errors as haar_dwt2d; ValueError where levels is below 1.
    """
    checks.tensor("haar_wavedec2d", "x", x)
    if levels < 1:
        raise checks.fail("haar_wavedec2d", "levels", "at least 1", levels)
    checks.even_picture("haar_wavedec2d", "x", x, 2**levels)
    details = []
    for level in range(levels):
        bands = haar_dwt2d(x, normalise=normalise and level == 0)
        x = bands[0]
        details.append(bands[1:])
    return [x, *reversed(details)]


def haar_waverec2d(coefficients: Sequence[Tensor], *, denormalise: bool = False) -> Tensor:
    """The inverse of haar_wavedec2d: [LL, details coarsest .. finest] -> [B, C, H, W].

    With `denormalise` the picture clamp((y + 1) / 2, 0, 1). Gradients, dtypes and errors as haar_idwt2d; ValueError
    where there are no details, or where a level's size is not that of the level below.
    """
    if len(coefficients) < 2:
        raise checks.fail("haar_waverec2d", "coefficients", "[LL, details, ...]", f"{len(coefficients)} entries")
    for index, value in enumerate(coefficients):
        checks.tensor("haar_waverec2d", f"coefficients[{index}]", value)
    x, *details = coefficients
    for index, bands in enumerate(details, 1):
        if bands.shape != (3, *x.shape) or bands.dtype != x.dtype:
            got = f"{tuple(bands.shape)} {bands.dtype}"
            raise checks.fail("haar_waverec2d", f"coefficients[{index}]", f"of shape {(3, *x.shape)}, {x.dtype}", got)
        x = haar_idwt2d(torch.cat((x[None], bands)), denormalise=denormalise and index == len(details))
    return x
