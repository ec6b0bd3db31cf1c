"""The compiled Haar transforms. Signatures are those of lowlight_ext.reference."""

import math
from collections.abc import Sequence

from torch import Tensor

from lowlight_ext.common import contiguous
from lowlight_ext.kernels_compiled import call as module
from lowlight_ext.kernels_compiled.call import CODES, call, empty


def _haar(name: str, image: Tensor, ll: Tensor, details: Sequence[Tensor], affine: bool) -> None:
    """One pass over `image` [..., H, W] and its bands; the finest details come first."""
    *batch, height, width = image.shape
    padded = (*details, None, None)[:3]
    sizes = (CODES[image.dtype], len(details), math.prod(batch), height, width)
    call(name, image, image, ll, *padded, *sizes, affine)


def _most_levels(x: Tensor) -> int:
    """Of one pass over memory."""
    return 1 if module.on_gpu(x) else module._C.max_levels


def haar_dwt2d(x: Tensor, normalise: bool = False) -> Tensor:
    """[..., H, W] -> [4, ..., H/2, W/2]: the bands LL, HL, LH, HH of x, or of 2x - 1."""
    *batch, height, width = x.shape
    bands = empty((4, *batch, height // 2, width // 2), x.dtype, x.device)
    _haar("haar_forward", x.contiguous(), bands[0], [bands[1:]], normalise)
    return bands


def haar_idwt2d(bands: Tensor, denormalise: bool = False) -> Tensor:
    """[4, ..., h, w] -> [..., 2h, 2w]: the inverse y, or clamp((y + 1) / 2, 0, 1)."""
    _, *batch, height, width = bands.shape
    bands = bands.contiguous()
    image = empty((*batch, 2 * height, 2 * width), bands.dtype, bands.device)
    _haar("haar_inverse", image, bands[0], [bands[1:]], denormalise)
    return image


def haar_wavedec2d(x: Tensor, levels: int, normalise: bool = False) -> list[Tensor]:
    """[LL, details coarsest .. finest] of x [..., H, W], or of 2x - 1; on the CPU up to three levels in one pass."""
    *batch, height, width = x.shape
    x = x.contiguous()
    details: list[Tensor] = []
    while len(details) < levels:
        now = min(levels - len(details), _most_levels(x))
        depths = range(len(details) + 1, len(details) + now + 1)
        bands = [empty((3, *batch, height >> d, width >> d), x.dtype, x.device) for d in depths]
        ll = empty((*batch, height >> depths[-1], width >> depths[-1]), x.dtype, x.device)
        _haar("haar_forward", x, ll, bands, normalise and not details)
        x, details = ll, details + bands
    return [x, *reversed(details)]


def haar_waverec2d(coefficients: Sequence[Tensor], denormalise: bool = False) -> Tensor:
    """The inverse of haar_wavedec2d, or clamp((y + 1) / 2, 0, 1) of it; on the CPU up to three levels in one pass."""
    ll, *details = contiguous(*coefficients)
    while details:
        most = _most_levels(ll)
        now, details = details[:most], details[most:]
        *batch, height, width = ll.shape
        image = empty((*batch, height << len(now), width << len(now)), ll.dtype, ll.device)
        _haar("haar_inverse", image, ll, now[::-1], denormalise and not details)
        ll = image
    return ll
