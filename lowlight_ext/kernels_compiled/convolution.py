"""The compiled convolution, of the CPU alone."""

import torch
from torch import Tensor

from lowlight_ext.kernels_compiled.call import call, empty

PANEL = 32  # output channels that lie together in the transformed weight


def winograd(x: Tensor, weight: Tensor, bias: Tensor, reflect: bool = False, dilation: int = 1) -> Tensor:
    """conv3x3 that keeps the size; beyond the edge zeros, or the picture reflected.

    x: [B, C, H, W] channels_last, float32 or, where `with_bfloat16`, bfloat16. weight: [O / 32, 36, C, 32], or
    [O / 32, 36, C / 2, 32, 2], of its type; bias too. -> like x.
    """
    batch, channels, height, width = x.shape
    out = empty((batch, bias.shape[0], height, width), x.dtype, x.device, torch.channels_last)
    call("winograd_half" if x.dtype == torch.bfloat16 else "winograd", x, x, weight, bias, out, batch, height, width, channels, bias.shape[0], dilation, reflect)
    return out
