"""Single pictures of one square size, made dim as a study wants them, and training batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...files.eight_bit import decode_rgb
from .cutting import generator
from .epochs import EpochBatches
from .made_pairs import Darkening, darkened
from .prefetch import Request

_DISPLAY_GAMMA = 2.2  # a brightness on the screen is about so high a power of the light


@dataclass(frozen=True)
class Dimming:
    """What is done to the brightness of pictures.

    brightness: times this, 1 for none. exposed: instead of a plain factor, taken with so short an exposure that they
    come out about as bright as that, with the noise of a camera: unprocessed to raw, noise at gain K, developed.
    """

    brightness: float = 0.5
    exposed: bool = False
    K: float = 4.0

    def __post_init__(self):
        if not 0 < self.brightness <= 1 or not self.K > 0:
            got = f"{self.brightness}, {self.K}"
            raise ValueError(f"Dimming: brightness must lie in (0, 1] and K be positive, got {got}")

    def __call__(self, pictures: np.ndarray, seed: int) -> np.ndarray:
        """[N, 3, H, W] uint8 -> dim ones, float32 in [0, 1]; noise is a function of (seed, place in the array)."""
        if not self.exposed:
            return pictures.astype(np.float32) * np.float32(self.brightness / 255)
        ratio = self.brightness**-_DISPLAY_GAMMA
        darkening = Darkening((ratio, ratio), (self.K, self.K), balance=0, jpeg=0, recolour=0, tone=0)
        taken = [darkened(picture, generator(seed, 5, i), darkening)[0] for i, picture in enumerate(pictures)]
        return np.stack(taken).astype(np.float32) / np.float32(255)


@lru_cache(maxsize=4)
def read_square(paths: tuple[Path, ...], size: int | None) -> np.ndarray:
    """[N, 3, size, size] uint8: pictures brought to one square size, whatever their own; None: as they are.

    Raises PictureError for a file that is no picture, ValueError without files and, as they are, for sides that differ.
    """
    if not paths:
        raise ValueError("read_square: no pictures were given")
    pictures = [_read(path, size) for path in paths]
    sizes = {picture.shape[1:]: path for picture, path in zip(pictures, paths, strict=True)}
    if len(sizes) > 1 or any(height != width for height, width in sizes):
        listed = ", ".join(f"{path} of {width} x {height}" for (height, width), path in list(sizes.items())[:2])
        raise ValueError(
            f"read_square: pictures must share one square size, got {listed}; objective.size brings them to one"
        )
    return np.stack(pictures)


def _read(path: Path, size: int | None) -> np.ndarray:
    picture = decode_rgb(path)
    if size is not None and picture.shape[:2] != (size, size):
        picture = np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC, reducing_gap=3.0))
    return np.ascontiguousarray(picture.transpose(2, 0, 1))


def hold_out(paths: Sequence[Path], count: int) -> tuple[list[Path], list[Path]]:
    """Pictures to train on, and `count` others evenly spread over all. Raises ValueError where none would be left."""
    if not 1 <= count < len(paths):
        raise ValueError(f"hold_out: {count} pictures are to be held out of {len(paths)}: at least one more is needed")
    kept = {i * len(paths) // count for i in range(count)}
    return [p for i, p in enumerate(paths) if i not in kept], [p for i, p in enumerate(paths) if i in kept]


class PictureBatches(EpochBatches):
    """Batches of whole pictures [N, 3, H, W] in [0, 1], flipped left to right at random: by (seed, sample)."""

    def __init__(self, pictures: np.ndarray, seed: int = 0, *, ahead: int = 2):
        super().__init__(seed, len(pictures), ahead)
        self.pictures = pictures

    def batch(self, first: int, count: int, *, shrink: int = 1, crop: int | None = None) -> Tensor:
        """[count, 3, H, W] float32, samples first .. first + count - 1, whole and unshrunk."""
        if first < 0 or count < 1 or shrink != 1 or crop is not None:
            got = f"{first}, {count}, {shrink}, {crop}"
            raise ValueError(f"PictureBatches.batch: takes whole pictures, first and count, got {got}")
        return self._prefetch.get(Request(first, count, 1, None))

    def _make(self, request: Request) -> Tensor:
        chosen = self.pictures[self.indices(request.first, request.count)]
        for k in range(request.count):
            if generator(self.seed, 2, request.first + k).random() < 0.5:
                chosen[k] = chosen[k, ..., ::-1].copy()
        return torch.from_numpy(chosen)
