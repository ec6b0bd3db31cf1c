"""Square roots rounded correctly on every processor; PyTorch takes a vector library's on Intel, off by an ulp."""

import torch
from torch import Tensor

# cuts a float64 into halves of 26 bits, whose products are exact (Veltkamp, Dekker)
_SPLIT = 2.0**27 + 1


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    scaled = _SPLIT * x
    high = scaled - (scaled - x)
    return high, x - high


def root(x: Tensor) -> Tensor:
    """sqrt(x), float32 or float64: nan below 0.

    float32: the root in float64, at most an ulp of it off, rounded; a float32's root is never that near to a midpoint.
    float64: PyTorch's root r, then r + (x - r r) / 2 r with r r in two exact parts.
    """
    if x.dtype != torch.float64:
        return x.double().sqrt().to(x.dtype)
    r = x.sqrt()
    square = r * r
    high, low = _halves(r)
    rest = ((high * high - square) + 2 * high * low) + low * low
    correction = ((x - square) - rest) / (2 * r)
    return torch.where(correction.isfinite(), r + correction, r)
