"""The one door: a dark picture of any kind in, the same kind bright out."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from .image_io import LUMA, Picture, decode, read_picture, to_pil
from .raw.develop import is_raw, read_developed

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .systems.base import System

# torch is imported inside the functions: `lowlight --help` must not wait for it


def enhance(
    picture: Any,
    model: str | os.PathLike | System = "default",
    *,
    steps: int | None = None,
    seed: int | Tensor = 0,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
) -> Any:
    """The bright picture of a dark one, as the kind, size and depth that came in.

    picture: a path (a PIL image comes back, upright; of a raw file its sRGB, developed before); a PIL image; a numpy
    array [H, W] or [H, W, C]; a torch tensor [C, H, W] or [B, C, H, W]. C is 1 (grey), 2 (grey, alpha), 3 (RGB) or 4
    (RGB, alpha); uint8 and uint16 are full range, floating point is in [0, 1]. Alpha passes unchanged, grey stays grey
    (Rec. 601 luma), tensors stay on their device, PIL images keep their metadata; palette, bilevel and CMYK ones come
    back as RGB or grey. 16-bit colour from a path comes back as 8-bit RGB, all that PIL holds; arrays and the command
    line keep 16 bits.
    model: a shipped name, a checkpoint's path, or what lowlight.load returned. The last two loaded models are kept.
    steps: network calls, the model's own number if None. seed: an integer, the same noise for every picture of a batch,
    or an int64 tensor [B]. device, dtype: passed to lowlight.load ("cuda:0", "bfloat16"), so only for a name or a path.
    Same seed, same device: same picture, alone or in a batch. No gradients.
    Raises TypeError for another kind, ValueError for a shape or values that do not fit or an unreadable file.
    """
    return enhance_picture(chosen_system(model, device, dtype), picture, steps=steps, seed=seed)


def chosen_system(
    model: str | os.PathLike | System, device: str | torch.device | None, dtype: str | torch.dtype | None
) -> System:
    """What enhance and enhance_raw work with; raises as load_system, ValueError for a loaded one with either."""
    if isinstance(model, str | os.PathLike):
        return load_system(model, device=device, dtype=dtype)
    if device is None and dtype is None:
        return model
    raise ValueError("device and dtype are for a model given by name or path; this one is already loaded")


def load_system(
    model: str | os.PathLike,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    resid: bool | None = None,
) -> System:
    """lowlight.load with names for device and dtype; keeps the last two, so that a loop of calls loads once.

    resid: as load takes it, None to leave it out.

    Raises ValueError for a device that is not there or a dtype that networks do not run in, else what load raises.
    """
    path = Path(model)
    # a file written anew under the same name is another model
    version = path.stat().st_mtime_ns if path.is_file() else 0
    return _load(os.fspath(model), version, parse_device(device), parse_dtype(dtype), resid)


@lru_cache(maxsize=2)
def _load(
    model: str, version: int, device: torch.device | None, dtype: torch.dtype | None, resid: bool | None
) -> System:
    from .checkpoints import load

    return load(model, device=device, dtype=dtype, **({} if resid is None else {"resid": resid}))


def parse_device(device: str | torch.device | None) -> torch.device | None:
    """A torch device from its name; raises ValueError if this torch has no such device."""
    import torch

    if device is None:
        return None
    try:
        parsed = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device: no such device {device!r} ({str(error).splitlines()[0]})") from None
    if parsed.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device: {device} asked for, but torch {torch.__version__} sees no GPU")
    return parsed


def parse_dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    """A floating-point torch dtype from its name; raises ValueError for any other."""
    import torch

    names = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}
    if dtype is None or dtype in names.values():
        return dtype
    if dtype not in names:
        raise ValueError(f"dtype: expected one of {', '.join(names)}, got {dtype!r}")
    return names[dtype]


def enhance_picture(system: System, picture: Any, *, steps: int | None = None, seed: int | Tensor = 0) -> Any:
    """`enhance` with a loaded system; besides the kinds named there takes an image_io.Picture and returns one."""
    import torch

    if steps is not None and steps < 1:
        raise ValueError(f"enhance: steps must be at least 1, got {steps}")
    # anything with an enhance_tensor is a system here
    if getattr(system, "space", "srgb") != "srgb":
        raise ValueError(
            f"enhance: {type(system).__name__} works on the raw of a camera, not on sRGB pictures; "
            "lowlight.enhance_raw takes a raw file"
        )
    if isinstance(picture, str | os.PathLike):
        return to_pil(_enhance_read(system, read_any(picture), steps, seed))
    if isinstance(picture, Picture):
        return _enhance_read(system, picture, steps, seed)
    if isinstance(picture, Image.Image):
        return _enhance_pil(system, picture, steps, seed)
    if isinstance(picture, np.ndarray):
        return _enhance_array(system, picture, steps, seed)
    if isinstance(picture, torch.Tensor):
        return _enhance_tensor(system, picture, steps, seed)
    raise TypeError(
        "enhance: picture must be a path, a PIL image, a numpy array [H, W(, C)] or a torch tensor [(B,) C, H, W], "
        f"got {type(picture).__name__}"
    )


def read_any(path: str | os.PathLike) -> Picture:
    """A picture file or, by the name's extension, a raw file, developed as dark as it is; PictureError if neither."""
    return read_developed(path) if is_raw(path) else read_picture(path)


def _enhance_read(system: System, picture: Picture, steps: int | None, seed: int | Tensor) -> Picture:
    return replace(picture, rgb=_enhance_array(system, picture.rgb, steps, seed))


def _enhance_pil(system: System, image: Image.Image, steps: int | None, seed: int | Tensor) -> Image.Image:
    dark = decode(image)
    bright = to_pil(_enhance_read(system, dark, steps, seed))
    if image.mode == "I":
        bright = bright.convert("I")
    bright.info = {key: value for key, value in image.info.items() if key not in ("transparency", "icc_profile")}
    if dark.icc:
        bright.info["icc_profile"] = dark.icc
    return bright


def _enhance_array(system: System, array: np.ndarray, steps: int | None, seed: int | Tensor) -> np.ndarray:
    import torch

    channels_last = array[..., None] if array.ndim == 2 else array
    if channels_last.ndim != 3 or channels_last.shape[2] not in (1, 2, 3, 4):
        raise ValueError(
            f"enhance: a numpy picture must be [H, W] or [H, W, C] with C of 1 to 4, got {list(array.shape)}; "
            "[C, H, W] is for torch tensors"
        )
    native = np.require(channels_last, array.dtype.newbyteorder("="), ["C", "W"])
    bright = _enhance_tensor(system, torch.from_numpy(native).permute(2, 0, 1), steps, seed)
    return bright.permute(1, 2, 0).contiguous().numpy().reshape(array.shape).astype(array.dtype, copy=False)


def _enhance_tensor(system: System, picture: Tensor, steps: int | None, seed: int | Tensor) -> Tensor:
    import torch

    batch = picture[None] if picture.dim() == 3 else picture
    if batch.dim() != 4 or batch.shape[1] not in (1, 2, 3, 4) or batch.numel() == 0:
        raise ValueError(
            f"enhance: a tensor must be [C, H, W] or [B, C, H, W] with C of 1 to 4, got {list(picture.shape)}"
        )
    scale = {torch.uint8: 255, torch.uint16: 65535}.get(picture.dtype, 1)
    if scale == 1 and not picture.is_floating_point():
        raise TypeError(f"enhance: pixels must be uint8, uint16 or floating point, got {picture.dtype}")
    low = batch.detach().to(system.device, torch.float32) / scale
    _check_values(low)
    high = _enhance_channels(system, low, steps, seed)
    if scale > 1:
        # by way of int32: torch has few operations on uint16
        high = (high * scale).round().to(torch.int32)
    high = high.to(picture.device, picture.dtype)
    return high.reshape(picture.shape)


def _check_values(low: Tensor) -> None:
    smallest, largest = (value.item() for value in low.aminmax())
    # written so that NaN, which compares false, is caught
    if not (smallest >= 0 and largest <= 1):
        found = "NaN" if smallest != smallest else f"{smallest:g} .. {largest:g}"
        raise ValueError(f"enhance: floating-point pixels must be in [0, 1], got {found}; clip or rescale them first")


def _enhance_channels(system: System, low: Tensor, steps: int | None, seed: int | Tensor) -> Tensor:
    """[B, C, H, W] float32 in [0, 1] -> the same, bright; C = 1 and 3 are grey and RGB, 2 and 4 the same with alpha."""
    import torch

    channels = low.shape[1]
    colours, alpha = (low[:, :-1], low[:, -1:]) if channels in (2, 4) else (low, low[:, :0])
    with torch.no_grad():
        bright = system.enhance_tensor(colours.expand(-1, 3, -1, -1), steps=steps, seed=seed).float()
    if not bright.isfinite().all():
        raise RuntimeError(f"enhance: the network produced NaN or infinity in {system.dtype}; try float32")
    bright = bright.clamp(0, 1)
    if channels <= 2:
        bright = (bright * torch.tensor(LUMA.tolist(), device=bright.device).view(3, 1, 1)).sum(1, keepdim=True)
    return torch.cat([bright, alpha], dim=1)
