"""Arguments that diffusion_step and anchored_q_sample share: pictures of one kind, and where their noise comes from."""

import functools

import torch
from torch import Tensor

from lowlight_ext import checks
from lowlight_ext.noise import layout, normal, seed_tensor

# the operators' schema of "seed, stream, origin, plane"
PLACE = "Tensor? seeds, SymInt stream, SymInt row, SymInt column, SymInt plane"


def check_noise(op: str, like: Tensor, noise, seeds, stream: int, y0: int, x0: int, plane: int) -> None:
    if noise is not None and seeds is not None:
        raise ValueError(f"{op}: takes noise or seed, got both")
    if seeds is not None:
        checks.seeds(op, seeds, like.shape[0])
        checks.place(op, like.shape, stream, y0, x0, plane)


def check_picture(op: str, argument: str, x: Tensor) -> None:
    checks.floating(op, argument, x)
    if x.dim() != 4:
        raise checks.fail(op, argument, "of shape [B, C, H, W]", tuple(x.shape))


def widest(pictures: dict[str, Tensor | None], like: Tensor) -> dict[str, Tensor | None]:
    """Under autocast pictures of several dtypes are promoted to the widest; elsewhere they stay, for the check."""
    dtypes = {x.dtype for x in pictures.values() if x is not None}
    if len(dtypes) == 1 or not torch.is_autocast_enabled(like.device.type):
        return pictures
    dtype = functools.reduce(torch.promote_types, dtypes)
    return {name: None if x is None else x.to(dtype) for name, x in pictures.items()}


def arranged(
    op: str,
    pictures: dict[str, Tensor | None],
    seed: int | Tensor | None,
    stream: int,
    origin: tuple[int, int],
    plane: int,
) -> tuple[list[Tensor | None], Tensor | None, torch.Size | None]:
    """-> (pictures as [B, C, H, W], seeds or None, the shape to give back or None where it was that).

    The first of the pictures leads; the last is the noise.
    """
    lead, first = next(iter(pictures.items()))
    checks.tensor(op, lead, first)
    assert first is not None
    for name, x in pictures.items():
        if x is not None:
            checks.tensor(op, name, x)
    pictures = widest(pictures, first)
    seeds = None if seed is None else seed_tensor(op, seed)
    if first.dim() == 4:
        return list(pictures.values()), seeds, None
    if first.dim() == 0:
        raise checks.fail(op, lead, "of shape [B, C, H, W], [C, H, W] or [B, ...]", tuple(first.shape))
    _, *given, noise = pictures.values()
    checks.matching(op, lead, first, **{name: x for name, x in pictures.items() if name != lead})
    if seed is not None and noise is None and first.dim() != 3:
        # rows of noise may run across the samples here, so they are drawn apart
        noise = normal(
            first.shape, seed, stream=stream, origin=origin, plane=plane, dtype=first.dtype, device=first.device
        )
        seeds = None
    place = layout(first.shape, True)
    return [None if x is None else x.reshape(place) for x in (first, *given, noise)], seeds, first.shape
