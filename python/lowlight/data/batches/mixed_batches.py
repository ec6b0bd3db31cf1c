"""Training batches of whole pictures: pairs of one scene, and among them pairs made of bright pictures alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..sets.matching import SUFFIXES, Pair
from .batches import Batch
from .cutting import cut_out, draw_cut, generator
from .epochs import EpochBatches
from .made_pairs import Darkening, darkened
from .picture_cache import Kept, PairCache, decode_rgb
from .prefetch import Request

_PHOTOGRAPHS = 0.5  # share of photographs among the bright pictures that dark ones are made of
_LEAST_VIEW = 0.3  # of a photograph's side that is seen at least


class MixedBatches(EpochBatches):
    """Batches of whole pictures, an epoch being every pair once and the made ones among them.

    pairs: of one scene. made: share of the samples of an epoch that are made, from the pairs' bright pictures and from
    `photographs` (half of them, where there are any), parts of which are brought to the first pair's size. Every number
    is a function of (seed, number in the data); flips of (seed, number of the sample).
    memory: bytes of pictures kept; ahead: batches made in background threads. Raises ValueError without pairs and for
    a share outside [0, 1), PictureError as PairCache does.
    """

    def __init__(
        self,
        pairs: list[Pair],
        seed: int = 0,
        *,
        made: float = 0.0,
        darkening: Darkening | None = None,
        photographs: Sequence[Path] = (),
        memory: int = 3 << 30,
        ahead: int = 4,
    ):
        if not pairs:
            raise ValueError("MixedBatches: no pairs of pictures were given")
        if not 0 <= made < 1:
            raise ValueError(f"MixedBatches: made must lie in [0, 1), got {made}")
        self._made = round(len(pairs) * made / (1 - made))
        super().__init__(seed, len(pairs) + self._made, ahead)
        self.photographs, self.darkening = list(photographs), darkening or Darkening()
        self._pairs = PairCache(list(pairs), memory)
        self._kept = Kept(self._darken, memory)

    def batch(self, first: int, count: int, *, shrink: int = 1, crop: int | None = None) -> Batch:
        """Samples first .. first + count - 1, whole and unshrunk; what crops them needs the whole pictures.

        Sizes and what does not decode are as of PairBatches. Raises ValueError for arguments out of range and a shrink
        other than 1.
        """
        if first < 0 or count < 1 or shrink != 1:
            got = f"{first}, {count}, {shrink}"
            raise ValueError(f"MixedBatches.batch: first must be 0 or more, count 1 or more, shrink 1, got {got}")
        return self._prefetch.get(Request(first, count, 1, None))

    # below: numpy and the noise operator only, see PairBatches

    def _make(self, request: Request) -> Batch:
        numbers, pictures = self._read(request.first, request.count, lambda index, _: self._picture(index), self._size)
        size = self._size(numbers[0])
        both = np.empty((2, request.count, 3, *size), np.float32)
        for k, picture in enumerate(pictures):
            draw = draw_cut(generator(self.seed, 2, request.first + k), size, None, False)
            cut_out(picture, draw, 1, both[:, k])
        low, high = torch.from_numpy(both)
        return Batch(low, high)

    def _picture(self, index: int) -> np.ndarray:
        """[2, 3, H, W] uint8, dark and bright."""
        real = len(self) - self._made
        return self._pairs[index] if index < real else self._kept[index - real]

    def _size(self, index: int) -> tuple[int, int]:
        real = len(self) - self._made
        if index < real:
            return self._pairs.sizes[index]
        source = self._source(generator(self.seed, 4, index - real))
        return self._pairs.sizes[source if isinstance(source, int) else 0]

    def _source(self, rng: np.random.Generator) -> int | Path:
        """What a made pair's bright picture is of: the number of a pair, or a photograph."""
        if self.photographs and rng.random() < _PHOTOGRAPHS:
            return self.photographs[rng.integers(len(self.photographs))]
        return int(rng.integers(len(self) - self._made))

    def _darken(self, number: int) -> np.ndarray:
        rng = generator(self.seed, 4, number)
        source = self._source(rng)
        bright = self._pairs[source][1] if isinstance(source, int) else _view(source, self._pairs.sizes[0], rng)
        return np.stack(darkened(bright, rng, self.darkening))


def find_photographs(folder: str | Path) -> list[Path]:
    """Pictures in a folder and those in it. Raises FileNotFoundError where there is none."""
    found = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise FileNotFoundError(f"find_photographs: no picture in {folder}")
    return found


def _view(path: Path, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """[3, h, w] uint8: a part of a photograph, of any place and size, brought to this size."""
    picture = Image.fromarray(decode_rgb(path))
    height, width = size
    most = min(picture.width / width, picture.height / height)
    scale = most * rng.uniform(min(1.0, max(_LEAST_VIEW, 1 / most)), 1.0)
    w, h = int(width * scale), int(height * scale)
    x, y = int(rng.integers(picture.width - w + 1)), int(rng.integers(picture.height - h + 1))
    part = picture.resize((width, height), Image.Resampling.BOX, box=(x, y, x + w, y + h), reducing_gap=2.0)
    return np.ascontiguousarray(np.asarray(part).transpose(2, 0, 1))
