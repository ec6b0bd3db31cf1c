"""What evaluation in raw space scores: pairs of SID and ELD, and clean pictures with noise added."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lowlight_ext import RawNoiseParameters, raw_noise

from ..cameras.cameras import Camera
from ..cameras.noise_models import draw_parameters, typical_parameters
from ..data.batches.cutting import generator
from ..data.batches.raw_batches import NOISE_STREAM
from ..data.batches.raw_cache import CachedRaw, RawCache
from ..data.batches.raw_sources import CleanPictures, described, read_pair
from ..data.sets.raw_pairs import RawPair, exposure_ratio
from ..metrics.measures import View
from ..raw.files import RawPicture
from ..raw.render import render
from ..seeds import first_seed
from .report import Sample

# what a calibration says of real pairs
PAIR_NOISE = "P+G+r+u"


class Exposures(NamedTuple):
    """short, clean: packed [4, h, w] float32 in [0, 1], short times the ratio. picture: what rendering needs.

    noise: of the short one, as it was drawn, or as a camera's calibration has it at this gain (PAIR_NOISE).
    """

    short: Tensor
    clean: Tensor
    ratio: float
    K: float
    picture: RawPicture
    noise: RawNoiseParameters

    @property
    def source(self) -> Exposures:
        """All of it: a method looks at no more than its protocol allows."""
        return self

    @property
    def about(self) -> dict[str, Any]:
        """The ratio that the files say, which may differ from the column's, and the gain."""
        return {"exact_ratio": self.ratio, "K": self.K}

    def views(self, result: Tensor) -> list[View]:
        """Packed raw, and rendered."""
        raw = View("raw", "", result[None], self.clean[None])
        return [raw, View("rendered", "", self._rendered(result)[None], self._rendered(self.clean)[None])]

    def pictures(self, results: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Input, results and truth, rendered."""
        shown = {"input": self.short, **results, "truth": self.clean}
        return {label: self._rendered(packed) for label, packed in shown.items()}

    def _rendered(self, packed: Tensor) -> Tensor:
        return torch.from_numpy(render(packed.clamp(0, 1).numpy(), self.picture, demosaic=False))


def pair_samples(
    pairs: Iterable[RawPair], cache: RawCache, camera: Camera, *, crop: int | None = None, exif_ratio: bool = False
) -> list[Sample]:
    """Pairs as SID's (ratio as listed) or ELD's evaluation takes them (exif_ratio: ISO x time, as the files say).

    crop: packed pixels a side of the centre, None for whole pictures. Loading raises as read_pair does, and ValueError
    where a crop does not fit in or a file does not say what is needed.
    """

    def load(pair: RawPair) -> Exposures:
        short, long = read_pair(cache, pair)
        ratio = exposure_ratio(long.picture, short.picture) if exif_ratio else pair.ratio
        measured, clean = (torch.from_numpy(_centre(raw, crop)) for raw in (short, long))
        K = camera.K(short.picture.iso)
        noise = typical_parameters(camera, PAIR_NOISE, K=K, ratio=ratio)
        picture = described(short.picture, (clean.shape[1], clean.shape[2]))
        return Exposures((measured * ratio).clamp(0, 1), clean, ratio, K, picture, noise)

    return [Sample(pair.name, partial(load, pair), {"ratio": pair.ratio}) for pair in pairs]


def synthetic_samples(
    paths: Sequence[Path],
    cache: RawCache,
    camera: Camera,
    ratios: Sequence[float],
    *,
    model: str = "P+G+r+u",
    K: float | None = None,
    crop: int = 128,
    shrink: int = 1,
    seed: int = 0,
) -> list[Sample]:
    """Crops of clean pictures with a camera's noise, each at every ratio; the same pictures and gains at each.

    Every draw is a function of (seed, the picture's place in paths). K: gain, None to draw it. shrink: of sRGB ones.
    Loading raises as CleanPictures.cut does.
    """
    source = CleanPictures(paths, cache, memory=0)

    def load(index: int, ratio: float) -> Exposures:
        cut = source.cut(index, generator(seed, 2, index), crop, shrink, False)
        noise = draw_parameters(camera, model, [generator(seed, 3, index)], K=K, ratio=float(ratio))
        clean = torch.from_numpy(cut.clean)
        short = raw_noise(clean[None], noise, torch.tensor([index]) + first_seed(seed, 40), stream=NOISE_STREAM)[0]
        return Exposures(short, clean, float(ratio), float(noise.K), cut.picture, noise)

    return [
        Sample(path.stem, partial(load, index, ratio), {"ratio": float(ratio)})
        for ratio in ratios
        for index, path in enumerate(paths)
    ]


def _centre(raw: CachedRaw, crop: int | None) -> np.ndarray:
    if crop is None:
        return raw.whole()
    height, width = raw.packed.shape[1:]
    return raw.crop((height - crop) // 2, (width - crop) // 2, crop, crop)
