"""The compiled noise. Signatures are those of lowlight_ext.reference."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lowlight_ext.common import Source
from lowlight_ext.kernels_compiled.call import CODES, call, empty, fields


def _noise(is_normal: bool, shape: Sequence[int], source: Source, dtype: torch.dtype, device: torch.device) -> Tensor:
    out = empty(shape, dtype, device)
    call("noise", out, out, CODES[dtype], is_normal, *shape, *fields(source, out))
    return out


def normal(shape: Sequence[int], source: Source, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Standard normals of shape [B, C, H, W]."""
    return _noise(True, shape, source, dtype, device)


def uniform(shape: Sequence[int], source: Source, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Uniforms in (0, 1) of shape [B, C, H, W]."""
    return _noise(False, shape, source, dtype, device)


def philox(counter: Tensor, key: Tensor) -> Tensor:
    """Words [..., 4] of counter [..., 4] and key [..., 2]; int64 whose low 32 bits count."""
    words = torch.empty_like(counter, memory_format=torch.contiguous_format)
    call("philox", counter, counter.contiguous(), key.contiguous(), words, counter.numel() // 4)
    return words
