"""The one door: a dark picture of any kind in, the same kind bright out."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .systems.brighten import enhance_picture

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .systems.base import System

# torch is imported inside the functions: `lowlight --help` must not wait for it


def enhance(
    picture: Any,
    model: str | os.PathLike | System = "default",
    *,
    brightness: float | Tensor = 0.0,
    saturation: float = 1.0,
    strength: float = 1.0,
    steps: int | None = None,
    seed: int | Tensor = 0,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    **options: Any,
) -> Any:
    """The bright picture of a dark one, as the kind, size and depth that came in.

    picture: a path (a PIL image comes back, upright; of a raw file its sRGB, developed before); a PIL image; a numpy
    array [H, W] or [H, W, C]; a torch tensor [C, H, W] or [B, C, H, W]. C is 1 (grey), 2 (grey, alpha), 3 (RGB) or 4
    (RGB, alpha); uint8 and uint16 are full range, floating point is in [0, 1]. Alpha passes unchanged, grey stays grey
    (Rec. 601 luma), tensors stay on their device, PIL images keep their metadata; palette, bilevel and CMYK ones come
    back as RGB or grey. 16-bit colour from a path comes back as 8-bit RGB, all that PIL holds; arrays and the command
    line keep 16 bits. A picture without any light, 0 everywhere, comes back black.
    model: a shipped name, a checkpoint's path, or what lowlight.load returned. The last two loaded models are kept.
    brightness: in stops against the model's own exposure, up to +-10, a number or [B] for a batch; a model with an
    exposure of its own exposes anew, any other's result gets a gain in linear light. saturation: factor of
    the result's HSL saturation, 0 (grey) to 4. strength: from 0, the dark picture itself, to 1.
    steps: network calls, the model's own number if None. seed: an integer, the same noise for every picture of a batch,
    or an int64 tensor [B]. device, dtype: passed to lowlight.load ("cuda:0", "bfloat16"), so only for a name or a path.
    options: what the model takes beside, such as sampler (systems.brighten.options_of); None leaves it to the model.
    Same seed, same number of threads: on a CPU the same picture to the bit, alone or in a batch, which is computed one
    picture after another. Other numbers of threads, and batches on a GPU, round otherwise: docs/promises.md says by
    how much. No gradients.
    Raises TypeError for another kind or an option that the model has not, ValueError for a shape or values that do not
    fit, an unreadable file or a model for raw.
    """
    from .checkpoints import chosen_system
    from .systems.base import picture_system

    system = picture_system(chosen_system(model, device, dtype))
    wish: dict[str, Any] = {"brightness": brightness, "saturation": saturation, "strength": strength}
    return enhance_picture(system, picture, **wish, steps=steps, seed=seed, **options)
