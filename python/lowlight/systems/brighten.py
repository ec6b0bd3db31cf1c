"""A dark picture of any kind brightened by a loaded system, the same kind bright out."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from PIL import Image

from ..files.pictures import LUMA, Picture, decode, read_picture, srgb_of, to_pil
from ..raw.develop import is_raw, read_developed

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# torch is imported inside the functions: `import lowlight` must not wait for it


# beyond [0, 1] and clipped: rounding, and what bicubic resizing adds beside an edge
_OVERSHOOT = 0.125
_LOOK = 64  # rows looked at at a time for any light


class Brightens(Protocol):
    """What this file needs of a system."""

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def enhance_tensor(self) -> Callable[..., Tensor]: ...


def enhance_picture(
    system: Brightens,
    picture: Any,
    *,
    brightness: float | Tensor = 0.0,
    saturation: float = 1.0,
    strength: float = 1.0,
    steps: int | None = None,
    seed: int | Tensor = 0,
    **options: Any,
) -> Any:
    """`enhance` with a loaded system; besides the kinds named there takes a files.pictures.Picture and returns one."""
    import torch

    from .wish import Wish

    if steps is not None and not hasattr(steps, "__index__"):
        raise TypeError(f"enhance: steps must be an integer, got {type(steps).__name__}")
    if steps is not None and steps < 1:
        raise ValueError(f"enhance: steps must be at least 1, got {steps}")
    wish = Wish.checked(brightness, saturation, strength)
    told = {"wish": wish, "steps": steps, "seed": seed, **checked_options(system, options)}
    if isinstance(picture, str | os.PathLike):
        return to_pil(_enhance_read(system, read_any(picture), told))
    if isinstance(picture, Picture):
        return _enhance_read(system, picture, told)
    if isinstance(picture, Image.Image):
        return _enhance_pil(system, picture, told)
    if isinstance(picture, np.ndarray):
        return _enhance_array(system, picture, told)
    if isinstance(picture, torch.Tensor):
        return _enhance_tensor(system, picture, told)
    raise TypeError(
        "enhance: picture must be a path, a PIL image, a numpy array [H, W(, C)] or a torch tensor [(B,) C, H, W], "
        f"got {type(picture).__name__}"
    )


def options_of(system: Brightens) -> tuple[str, ...]:
    """Names of what its enhance_tensor takes beside steps, seed, noise and what every system can be asked."""
    return tuple(name for name in keywords_of(system) if name not in ("steps", "seed", "noise", "brightness"))


def keywords_of(system: Brightens) -> list[str]:
    """Names of what its enhance_tensor takes by keyword."""
    taken = inspect.signature(system.enhance_tensor).parameters.values()
    return [p.name for p in taken if p.kind is p.KEYWORD_ONLY]


def checked_options(system: Brightens, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are not None, which leaves one to the system. Raises TypeError on one that the system has not."""
    given = {name: value for name, value in options.items() if value is not None}
    if not given:
        return given
    known = options_of(system)
    unknown = [name for name in given if name not in known]
    if unknown:
        raise TypeError(
            f"enhance: {type(system).__name__} has no option {' or '.join(unknown)}; "
            f"its options are {', '.join(('brightness', 'saturation', 'strength', 'steps', 'seed', *known))}"
        )
    return given


def read_any(path: str | os.PathLike) -> Picture:
    """A picture file or, by the name's extension, a raw file, developed as dark as it is; PictureError if neither."""
    return read_developed(path) if is_raw(path) else read_picture(path)


def _enhance_read(system: Brightens, picture: Picture, told: dict[str, Any]) -> Picture:
    if told["wish"].strength == 0:
        return replace(picture, rgb=_enhance_array(system, picture.rgb, told))
    dark, space, notes = srgb_of(picture)
    bright = _enhance_array(system, dark, told)
    return replace(picture, rgb=bright if space is None else space.from_srgb(bright), notes=(*picture.notes, *notes))


def _enhance_pil(system: Brightens, image: Image.Image, told: dict[str, Any]) -> Image.Image:
    dark = decode(image)
    bright = to_pil(_enhance_read(system, dark, told))
    if image.mode == "I":
        bright = bright.convert("I")
    bright.info = {key: value for key, value in image.info.items() if key not in ("transparency", "icc_profile")}
    if dark.icc:
        bright.info["icc_profile"] = dark.icc
    return bright


def _enhance_array(system: Brightens, array: np.ndarray, told: dict[str, Any]) -> np.ndarray:
    import torch

    channels_last = array[..., None] if array.ndim == 2 else array
    if channels_last.ndim != 3 or channels_last.shape[2] not in (1, 2, 3, 4):
        raise ValueError(
            f"enhance: a numpy picture must be [H, W] or [H, W, C] with C of 1 to 4, got {list(array.shape)}; "
            "[C, H, W] is for torch tensors"
        )
    native = np.require(channels_last, array.dtype.newbyteorder("="), ["C", "W"])
    bright = _enhance_tensor(system, torch.from_numpy(native).permute(2, 0, 1), told)
    return bright.permute(1, 2, 0).contiguous().numpy().reshape(array.shape).astype(array.dtype, copy=False)


def _enhance_tensor(system: Brightens, picture: Tensor, told: dict[str, Any]) -> Tensor:
    import torch

    from .wish import wished_rows

    batch = picture[None] if picture.dim() == 3 else picture
    if batch.dim() != 4 or batch.shape[1] not in (1, 2, 3, 4) or batch.numel() == 0:
        raise ValueError(
            f"enhance: a tensor must be [C, H, W] or [B, C, H, W] with C of 1 to 4, got {list(picture.shape)}"
        )
    bright = []
    for part, of_part in _parts(batch, told, one_by_one=system.device.type == "cpu"):
        rows = _PictureRows(part, system.device)
        lit = rows.lit()
        if lit.any():
            with torch.no_grad():
                wished_rows(system, keywords_of(system), rows, **of_part)
        rows.put_out(~lit)
        if rows.overflowed:
            raise RuntimeError(f"enhance: the network produced NaN or infinity in {system.dtype}; try float32")
        bright.append(rows.bright)
    return (bright[0] if len(bright) == 1 else torch.cat(bright)).reshape(picture.shape)


def _parts(batch: Tensor, told: dict[str, Any], one_by_one: bool) -> Iterator[tuple[Tensor, dict[str, Any]]]:
    """What is computed at once, and what it is told.

    On a CPU each picture by itself, because convolutions of several round otherwise than those of one.
    """
    import torch

    numbers = {name: value for name, value in told.items() if isinstance(value, torch.Tensor)}
    numbers["wish"], count = told["wish"].brightness, len(batch)
    # of another number is an error, which the system finds
    if not one_by_one or any(value.numel() not in (1, count) for value in numbers.values()):
        yield batch, told
        return
    for i in range(count):
        own = {name: value.reshape(-1)[i : i + 1] for name, value in numbers.items() if value.numel() > 1}
        if "wish" in own:
            own["wish"] = told["wish"]._replace(brightness=own["wish"])
        yield batch[i : i + 1], {**told, **own}


class _PictureRows:
    """systems.rows.Rows of pictures [B, C, H, W] of any type; C = 1 and 3 are grey and RGB, 2 and 4 these and alpha."""

    def __init__(self, dark: Tensor, device: torch.device):
        import torch

        self._scale = {torch.uint8: 255, torch.uint16: 65535}.get(dark.dtype, 1)
        if self._scale == 1 and not dark.is_floating_point():
            raise TypeError(f"enhance: pixels must be uint8, uint16 or floating point, got {dark.dtype}")
        alpha = dark.shape[1] in (2, 4)
        self._dark, self._device = dark.detach(), device
        self._colours = dark.shape[1] - alpha
        self.bright, self.overflowed = torch.empty_like(self._dark), False
        if alpha:
            self.bright[:, -1:] = self._dark[:, -1:]
        self.shape = (dark.shape[0], *dark.shape[-2:])

    def lit(self) -> Tensor:
        """[B] bool: which pictures have any light. Of none at all networks make a colour, purple for one."""
        import torch

        found = torch.zeros(self.shape[0], dtype=torch.bool, device="cpu")
        for first in range(0, self.shape[1], _LOOK):
            found |= (self.read(first, min(first + _LOOK, self.shape[1])).amax((1, 2, 3)) > 0).cpu()
            if found.all():
                break
        return found

    def put_out(self, which: Tensor) -> None:
        """Those pictures [B] bool are black."""
        # one by one: torch has few operations on uint16
        for i in which.nonzero().flatten().tolist():
            self.bright[i, : self._colours] = 0

    def read(self, first: int, last: int) -> Tensor:
        import torch

        dark = self._dark[:, : self._colours, first:last].to(self._device, torch.float32) / self._scale
        _check_values(dark)
        return dark.clamp(0, 1).expand(-1, 3, -1, -1)

    def write(self, first: int, bright: Tensor) -> None:
        import torch

        bright = bright.float()
        self.overflowed |= not bright.isfinite().all()
        bright = bright.clamp(0, 1)
        if self._colours == 1:
            luma = torch.tensor(LUMA.tolist(), dtype=torch.float32, device=bright.device)
            bright = (bright * luma.view(3, 1, 1)).sum(1, keepdim=True)
        if self._scale > 1:
            # by way of int32: torch has few operations on uint16
            bright = (bright * self._scale).round().to(torch.int32)
        place = self.bright[:, : self._colours, first : first + bright.shape[-2]]
        place.copy_(bright.to(self.bright.device, self.bright.dtype))


def _check_values(low: Tensor) -> None:
    smallest, largest = (value.item() for value in low.aminmax())
    # written so that NaN, which compares false, is caught
    if not (smallest >= -_OVERSHOOT and largest <= 1 + _OVERSHOOT):
        found = "NaN" if smallest != smallest else f"{smallest:.7g} .. {largest:.7g}"
        raise ValueError(f"enhance: floating-point pixels must be in [0, 1], got {found}; clip or rescale them first")
