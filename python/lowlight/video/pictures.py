"""A folder of numbered pictures as a video: each becomes a picture of its name in another folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.sets.matching import natural, visible
from ..files.formats import FORMATS, READ_ONLY, PictureError
from ..files.pictures import Picture, srgb_of, write_picture
from ..raw.develop import is_raw
from ..systems.brighten import read_any


class PictureFilm:
    """The pictures of a folder, 9 before 10, on their way to another: a `Film` (work.py).

    One that cannot be read, or has another size than those before, is named in `failed` and left out.
    """

    suffix = ".done"

    def __init__(self, folder: Path, target: Path, rate: Fraction):
        """rate: pictures a second, for how fast the exposure settles. Raises PictureError for a folder without any."""
        known = {*FORMATS, *READ_ONLY}
        self._files = [p for p in visible(folder.iterdir()) if p.suffix.lower() in known or is_raw(p)]
        self._files.sort(key=lambda path: natural(path.name))
        if not self._files:
            raise PictureError(f"{folder}: no pictures in this folder")
        if target.resolve() == folder.resolve():
            raise PictureError(f"{folder} cannot be both the dark and the bright folder")
        self._target, self._rate = target, rate
        self._size: tuple[int, ...] | None = None
        self.total, self.position = len(self._files), 0
        self.notes: list[str] = []
        self.failed: list[str] = []
        self.settings = {"names": [path.name for path in self._files], "rate": str(rate)}

    def targets(self) -> list[Path]:
        return [self._written(path) for path in self._files]

    def _written(self, path: Path) -> Path:
        return self._target / (path.name if path.suffix.lower() in FORMATS else f"{path.stem}.png")

    def frames(self, skip: int) -> Iterator[tuple[Tensor, float, Any]]:
        """(picture, seconds, ticket of `segment`'s write) from picture number `skip` on."""
        for number, path in enumerate(self._files[skip:], skip):
            self.position = number + 1
            try:
                picture = read_any(path)
                dark, space, notes = srgb_of(picture)
                size = dark.shape[:2]
                if self._size not in (None, size):
                    raise PictureError(f"{path}: has {size[1]} x {size[0]} pixels, other than those before")
            except (PictureError, OSError) as error:
                self.failed.append(str(error))
                continue
            self._size = size
            self.notes += [f"{path}: {note}" for note in (*picture.notes, *notes)]
            frame = torch.from_numpy(dark).permute(2, 0, 1).contiguous()
            yield frame, float(number / self._rate), (self._written(path), picture, space)

    @contextmanager
    def segment(self, path: Path) -> Iterator[Callable[[Tensor, Any], None]]:
        """A function write(picture [3, H, W] in [0, 1], ticket); every picture is there as soon as it is written."""
        self._target.mkdir(parents=True, exist_ok=True)

        def write(bright: Tensor, ticket: tuple[Path, Picture, Any]) -> None:
            target, picture, space = ticket
            rgb = bright.permute(1, 2, 0).contiguous().cpu().numpy()
            rgb = rgb if space is None else space.from_srgb(rgb)
            self.notes += [f"{target}: {note}" for note in write_picture(target, replace(picture, rgb=rgb))]

        yield write
        path.touch()

    def join(self, segments: list[Path], scratch: Path) -> None:
        """Nothing: the pictures lie where they belong."""
