"""The compiled tone curve. Signature of lowlight_ext.reference; a channels_last x is read and written as it is."""

import torch
from torch import Tensor

from lowlight_ext.common import accumulator, memory_format
from lowlight_ext.kernels_compiled.call import CODES, call, like, table


def tone_curve(x: Tensor, gamma: Tensor, scale: Tensor, knee: Tensor, floor: float, share: float) -> Tensor:
    """rolled_off(scale ((1 + x / floor)^gamma - 1) / ((1 + 1 / floor)^gamma - 1))."""
    layout = memory_format(x)
    out = like(x, layout)
    if x.numel():
        rows = [table(v, accumulator(x.dtype)) for v in (gamma, scale, knee)]
        batch, _, height, width = x.shape
        sizes = (CODES[x.dtype], layout is not torch.contiguous_format, batch, height * width)
        call("tone", x, x.contiguous(memory_format=layout), *rows, out, *sizes, floor, share)
    return out
