"""Sample arguments of the normalisations, for lowlight_ext.testing."""

from collections.abc import Iterator

import torch
from torch import Tensor

NORMS = ("group_norm_silu", "mish_instance_norm", "layer_norm2d", "simple_gate")


def norm_arguments(op: str, x: Tensor) -> Iterator[tuple[str, tuple, dict]]:
    """(name, arguments, keywords) of calls that cover `op`, on x [B, C, H, W]."""
    if op not in NORMS:
        raise ValueError(f"norm_arguments: op must be one of {', '.join(NORMS)}, got {op!r}")
    channels = x.shape[1]
    weight = torch.linspace(0.5, 2.0, channels, device=x.device)
    bias = torch.linspace(-1.0, 0.5, channels, device=x.device)
    # a mean away from 0, channels of different spread
    x = (3 * x + 1) * weight.to(x.dtype).reshape(-1, 1, 1)
    narrow, wide = weight.to(x.dtype), bias.to(torch.float64 if x.dtype == torch.float64 else torch.float32)
    if op == "group_norm_silu":
        yield "a group a channel", (x, channels, narrow, wide), {}
        yield "one group", (x, 1, narrow, narrow), {"eps": 1e-3}
        yield "plain", (x, 1), {"activation": False}
    elif op == "layer_norm2d":
        yield "affine", (x, narrow, wide), {}
        yield "bias", (x, None, wide), {"eps": 1e-3}
        yield "plain", (x,), {}
    elif op == "mish_instance_norm":
        yield "plain", (x,), {}
        yield "eps", (x,), {"eps": 1e-2}
    else:
        yield "plain", (torch.cat((x, x.flip(1)), 1),), {}
