"""Weights as int8 with a scale for each output channel: half of float16's size."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

SCALE = ".int8_scale"  # of the tensor whose name stands before it
_LEAST = 2048  # values; smaller tensors are kept as they are, they would save nothing
_MOST = 127


def to_int8(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every large weight [out, ...] as int8 and, under its name + SCALE, float32 [out]; the others unchanged."""
    kept = {}
    for name, tensor in state.items():
        if tensor.dim() < 2 or tensor.numel() < _LEAST or not tensor.is_floating_point():
            kept[name] = tensor
            continue
        rows = tensor.detach().cpu().float().flatten(1)
        scale = rows.abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny) / _MOST
        kept[name] = (rows / scale[:, None]).round().to(torch.int8).view(tensor.shape)
        kept[name + SCALE] = scale
    return kept


def from_int8(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `to_int8` was given, float32 and rounded; a state without scales as it is."""
    scales = {name.removesuffix(SCALE): scale for name, scale in state.items() if name.endswith(SCALE)}
    weights = {name: tensor for name, tensor in state.items() if not name.endswith(SCALE)}
    for name, scale in scales.items():
        rows = weights.get(name)
        if rows is None or rows.dtype != torch.int8 or scale.shape != rows.shape[:1]:
            found = "no tensor" if rows is None else f"{rows.dtype} {tuple(rows.shape)}"
            raise ValueError(f"{name + SCALE} {tuple(scale.shape)} needs an int8 tensor of as many rows, found {found}")
        weights[name] = rows * scale.float().view(-1, *[1] * (rows.dim() - 1))
    return weights
