"""Arguments that diffusion_step and anchored_q_sample share: pictures of one kind, and where their noise comes from."""

import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lowlight_ext import checks
from lowlight_ext.common import Source
from lowlight_ext.noise import layout, normal


def check_noise(op: str, like: Tensor, noise: Tensor | None, source: Source | None) -> None:
    if source is not None:
        if noise is not None:
            raise ValueError(f"{op}: takes noise or seed, got both")
        checks.seeds(op, source.seeds, like.shape[0])


def check_picture(op: str, argument: str, x: Tensor) -> None:
    checks.floating(op, argument, x)
    if x.dim() != 4:
        raise checks.fail(op, argument, "of shape [B, C, H, W]", tuple(x.shape))


def widest(pictures: Mapping[str, Tensor | None], like: Tensor) -> Mapping[str, Any]:
    """Under autocast pictures of several dtypes are promoted to the widest; elsewhere they stay, for the check."""
    dtypes = {x.dtype for x in pictures.values() if x is not None}
    if len(dtypes) == 1 or not torch.is_autocast_enabled(like.device.type):
        return pictures
    dtype = functools.reduce(torch.promote_types, dtypes)
    return {name: None if x is None else x.to(dtype) for name, x in pictures.items()}


def arranged(
    op: str, pictures: Mapping[str, Tensor | None], source: Source | None
) -> tuple[list[Any], Source | None, torch.Size | None]:
    """-> (pictures as [B, C, H, W], their source or None, the shape to give back or None where it was that).

    The first of the pictures leads; the last is the noise.
    """
    lead, first = next(iter(pictures.items()))
    for name, x in pictures.items():
        if not isinstance(x, Tensor) and (x is not None or name == lead):
            checks.tensor(op, name, x)
    assert first is not None
    pictures = widest(pictures, first)
    if first.dim() == 4:
        return list(pictures.values()), source, None
    if first.dim() == 0:
        raise checks.fail(op, lead, "of shape [B, C, H, W], [C, H, W] or [B, ...]", tuple(first.shape))
    _, *given, noise = pictures.values()
    checks.compared(op, lead, first, **{name: x for name, x in pictures.items() if name != lead})
    if source is not None and noise is None and first.dim() != 3:
        # rows of noise may run across the samples here, so they are drawn apart
        seed, stream, y0, x0, plane = source
        noise = normal(
            first.shape, seed, stream=stream, origin=(y0, x0), plane=plane, dtype=first.dtype, device=first.device
        )
        source = None
    place = layout(first.shape, True)
    return [None if x is None else x.reshape(place) for x in (first, *given, noise)], source, first.shape
