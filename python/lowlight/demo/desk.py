"""What the demo works on: uploads within limits, a folder that results go to, the models that may be chosen."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from ..checkpoints import load_system
from ..files.formats import FORMATS, READ_ONLY
from ..files.pictures import Picture, PictureError
from ..raw.develop import RAW_SUFFIXES, is_raw
from ..shipped import shipped_models
from ..systems.base import PictureSystem, RawSystem, picture_system
from ..systems.brighten import read_any

# pixels of a side: what a slider is answered with at once, and what a browser is shown of a whole picture
PREVIEW, SHOWN = 768, 1600
SUFFIXES = (*FORMATS, *READ_ONLY, *sorted(RAW_SUFFIXES))
_KEPT_SECONDS = 3600


@dataclass(frozen=True)
class Limits:
    """Of what one visitor may ask: megabytes of an upload, megapixels of a picture, pictures of a batch."""

    megabytes: int = 100
    megapixels: int = 50
    batch: int = 50


@dataclass
class Desk:
    """folder: where results go, one folder each, for an hour. models: names and checkpoint files to choose from."""

    folder: Path
    models: Sequence[str] = ()
    limits: Limits = field(default_factory=Limits)
    device: str | None = None
    dtype: str | None = None

    def __post_init__(self) -> None:
        systems = {name: load_system(name, device=self.device, dtype=self.dtype) for name in self.models}
        shipped = [(model.name, model.takes) for model in shipped_models()]
        chosen = [(name, "raw" if isinstance(system, RawSystem) else "picture") for name, system in systems.items()]
        # what is asked for on the command line comes first
        named = dict([*chosen, *((name, takes) for name, takes in shipped if name not in systems)])
        self.picture_models = [name for name, takes in named.items() if takes == "picture"]
        self.raw_models = [name for name, takes in named.items() if takes == "raw"]

    def system(self, model: str) -> PictureSystem:
        """A model for pictures that may be chosen here; ValueError for any other, whatever a request says."""
        if model not in self.picture_models:
            raise ValueError(f"model must be one of {', '.join(self.picture_models)}, got {model!r}")
        return picture_system(load_system(model, device=self.device, dtype=self.dtype))

    def checked(self, path: str | None) -> Path:
        """An upload's path; raises PictureError for none, another type and one that is too large."""
        if not path:
            raise PictureError("no picture yet: drop one, or take the still life")
        upload = Path(path)
        if upload.suffix.lower() not in SUFFIXES:
            raise PictureError(f"{upload.name}: not a picture's name; takes {', '.join(FORMATS)} and raw files")
        size = upload.stat().st_size
        if size > self.limits.megabytes * 1e6:
            raise PictureError(f"{upload.name}: {size / 1e6:.0f} MB, at most {self.limits.megabytes} MB are taken")
        return upload

    def read(self, path: str | None) -> Picture:
        """An upload as a picture, the last two kept; raises PictureError where it is not within the limits."""
        upload = self.checked(path)
        # the header tells, before anything is decoded
        if not is_raw(upload):
            self._check_pixels(upload, _size(upload))
        picture = _read(str(upload), upload.stat().st_mtime_ns)
        self._check_pixels(upload, picture.rgb.shape[1::-1])
        return picture

    def _check_pixels(self, upload: Path, size: Sequence[int]) -> None:
        if size[0] * size[1] > self.limits.megapixels * 1e6:
            most = f"at most {self.limits.megapixels} megapixels are taken"
            raise PictureError(f"{upload.name}: {size[0]} x {size[1]}, {most}")

    def place(self, name: str) -> Path:
        """A path for a result in a folder of its own; what is older than an hour goes."""
        for old in self.folder.glob("*/*"):
            if time.time() - old.stat().st_mtime > _KEPT_SECONDS:
                old.unlink(missing_ok=True)
        path = self.folder / secrets.token_hex(8) / name
        path.parent.mkdir(parents=True)
        return path


@lru_cache(maxsize=2)
def _read(path: str, version: int) -> Picture:
    return read_any(path)


def _size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as image:
            return image.size
    except Image.DecompressionBombError as error:
        raise PictureError(f"{path.name}: too large to be a photograph ({error})") from None
    # not told by Pillow: reading it says what is wrong with it
    except (OSError, SyntaxError, ValueError):
        return (0, 0)


def shrunk(picture: Picture, side: int) -> Picture:
    """The picture at most `side` pixels wide and high, averaged over what becomes one pixel."""
    height, width = picture.rgb.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return picture
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    alpha = None if picture.alpha is None else _resized(picture.alpha[..., None], size)[..., 0]
    return replace(picture, rgb=_resized(picture.rgb, size), alpha=alpha)


def _resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    tensor: Any = torch.from_numpy(np.ascontiguousarray(pixels)).movedim(-1, 0)[None]
    small = interpolate(tensor, size, mode="bilinear", antialias=True)[0].clamp(0, 1)
    return np.ascontiguousarray(small.movedim(0, -1).numpy())
