"""The compiled convolution, of the CPU alone."""

import torch
from torch import Tensor

from lowlight_ext.kernels_compiled.call import call, empty

PANEL = 32  # output channels that lie together in the transformed weight


def winograd(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    reflect: bool = False,
    dilation: int = 1,
    *,
    beside: Tensor | None = None,
    twice: bool = False,
    scale: Tensor | None = None,
    plus: Tensor | None = None,
    slope: float = 1.0,
) -> Tensor:
    """conv3x3 that keeps the size; beyond the edge zeros, or the picture reflected.

    x, beside: [B, C, H, W] channels_last, side by side the input; twice: it is enlarged, nearest x2, first. float32, or
    bfloat16 where build_info's cpu_bfloat16 says so. weight: [O / 32, 36, 32 / P, C, P], or [O / 32, 36, C / 2, 32, 2]
    of bfloat16. bias, scale: [O], or both [B, O], float32. plus: like the result. -> like x, v where v > 0, else
    v slope, of v = convolution scale + bias + plus.
    """
    (batch, channels, height, width), out_channels = x.shape, bias.shape[-1]
    if twice:
        height, width = 2 * height, 2 * width
    out = empty((batch, out_channels, height, width), x.dtype, x.device, torch.channels_last)
    widths = (channels, 0 if beside is None else beside.shape[1], out_channels)
    step = out_channels if bias.dim() == 2 else 0
    given = (x, beside, weight, bias, scale, plus, out)
    name = "winograd_half" if x.dtype == torch.bfloat16 else "winograd"
    call(name, x, *given, batch, height, width, *widths, dilation, step, reflect, twice, slope)
    return out
