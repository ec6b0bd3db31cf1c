"""The compiled noise. Signatures are those of lowlight_ext.reference."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lowlight_ext.kernels_compiled.call import CODES, call, empty, source


def _noise(is_normal: bool, shape, seeds, stream, y0, x0, plane, dtype, device) -> Tensor:
    out = empty(shape, dtype, device)
    call("noise", out, out, CODES[dtype], is_normal, *shape, *source(seeds, out, stream, y0, x0, plane))
    return out


def normal(
    shape: Sequence[int],
    seeds: Tensor,
    stream: int,
    y0: int,
    x0: int,
    plane: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Standard normals of shape [B, C, H, W]; seeds int64 [1] (planes run over the batch) or [B], on any device."""
    return _noise(True, shape, seeds, stream, y0, x0, plane, dtype, device)


def uniform(
    shape: Sequence[int],
    seeds: Tensor,
    stream: int,
    y0: int,
    x0: int,
    plane: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Uniforms in (0, 1) of shape [B, C, H, W]; arguments as `normal`."""
    return _noise(False, shape, seeds, stream, y0, x0, plane, dtype, device)


def philox(counter: Tensor, key: Tensor) -> Tensor:
    """Words [..., 4] of counter [..., 4] and key [..., 2]; int64 whose low 32 bits count."""
    words = torch.empty_like(counter, memory_format=torch.contiguous_format)
    call("philox", counter, counter.contiguous(), key.contiguous(), words, counter.numel() // 4)
    return words
