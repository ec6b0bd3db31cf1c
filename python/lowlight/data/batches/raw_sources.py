"""Where training in raw space takes its samples from: clean exposures of sRGB pictures and raw files, or real pairs."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from platformdirs import user_cache_path

from ...cameras.cameras import Camera
from ...files.eight_bit import decode_rgb
from ...files.pictures import PictureError
from ...raw.develop import RAW_SUFFIXES, is_raw
from ...raw.files import RawPicture
from ...raw.packing import pack, unpack
from ...raw.sensors import RGGB
from ...raw.unprocess import draw_development, recoloured, unprocess
from ..sets.matching import SUFFIXES
from ..sets.pairs import find_pairs
from ..sets.raw_pairs import RawPair, long_exposures
from ..sets.sid import find_sid
from .cutting import Draw, continued, cut_out, draw_cut
from .picture_cache import Kept
from .raw_cache import CachedRaw, RawCache


class Cut(NamedTuple):
    """One sample, packed [4, crop, crop] float32 in [0, 1] of an RGGB array.

    picture: what rendering it needs. short: of a real pair, times the ratio and clipped; K: its gain.
    """

    clean: np.ndarray
    picture: RawPicture
    short: np.ndarray | None = None
    ratio: float | None = None
    K: float | None = None


def default_cache() -> Path:
    """The folder of packed raws where no other is named: LOWLIGHT_CACHE, else the user's, else, warned of, a temporary.

    LOWLIGHT_CACHE is an environment variable.
    """
    if named := os.environ.get("LOWLIGHT_CACHE"):
        return Path(named).expanduser()
    folder = user_cache_path("lowlight") / "packed"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    except OSError:
        pass
    user = os.getuid() if hasattr(os, "getuid") else "user"
    instead = Path(tempfile.gettempdir()) / f"lowlight-{user}"
    instead.mkdir(mode=0o700, exist_ok=True)
    warnings.warn(
        f"{folder} cannot be written: packed raws go to {instead}; LOWLIGHT_CACHE names another", stacklevel=2
    )
    return instead


def find_clean(root: str | Path, split: str | None = None) -> list[Path]:
    """Well-exposed pictures and raw files: SID's long exposures, the bright sides of pairs, or all in the folder.

    split: train (SID's default), val or test of SID, by the lists in its folder; a split of paired pictures.
    Raises FileNotFoundError without the folder, a list or a file, ValueError where there is nothing to find.
    """
    root = Path(root)
    if is_sid(root):
        return long_exposures(find_sid(root, split or "train"))
    try:
        return [pair.high for pair in find_pairs(root, split)]
    except FileNotFoundError:
        # a folder without sides holds what it holds; one that is not there, or has no such part, is an error
        if split is not None or not root.is_dir():
            raise
    known = SUFFIXES | RAW_SUFFIXES
    found = sorted(path for path in root.rglob("*") if path.suffix.lower() in known and path.is_file())
    if not found:
        raise ValueError(f"find_clean: no picture and no raw file in {root}")
    return found


def is_sid(root: Path) -> bool:
    """Whether one of SID's lists or its folder of short exposures lies in the folder."""
    return any(root.glob("Sony_*.txt")) or (root / "Sony" / "short").is_dir()


class CleanPictures:
    """Clean exposures: raw files as they are, sRGB pictures unprocessed by a development of their sample's own.

    recolour: the share of sRGB samples that are coloured anew. memory: bytes of decoded sRGB pictures kept; raw files
    are mapped from the cache.
    """

    def __init__(self, paths: Sequence[Path], cache: RawCache, *, recolour: float = 0.0, memory: int = 2 << 30):
        """Raises ValueError without paths."""
        if not paths:
            raise ValueError("CleanPictures: no pictures were given")
        self.paths, self.recolour, self._cache = list(paths), recolour, cache
        self._pictures = Kept(self._decode, memory)

    def __len__(self) -> int:
        return len(self.paths)

    def cut(self, index: int, rng: np.random.Generator, crop: int, shrink: int, turn: bool) -> Cut:
        """A sample. shrink: of sRGB pictures, which hides what their compression did; raw files stay as they are.

        Raises PictureError for a file that does not decode, ValueError for another filter array than Bayer's and for a
        picture that is smaller than shrink.
        """
        if is_raw(self.paths[index]):
            raw = _bayer(self._cache, self.paths[index])
            draw = draw_cut(rng, raw.packed.shape[1:], crop + 1, turn)
            return Cut(_turned(raw, draw, crop), described(raw.picture, (crop, crop), RGGB))
        samples = self._pictures[index]
        size = tuple(side // shrink for side in samples.shape[1:])
        if min(size) < 2:
            raise PictureError(f"{self.paths[index]} is too small to be shrunk by {shrink}")
        draw = draw_cut(rng, size, 2 * crop, turn)
        srgb = np.empty((3, 2 * crop, 2 * crop), np.float32)
        cut_out(samples, draw, shrink, srgb)
        # nothing is drawn where nothing is asked for
        if self.recolour and rng.random() < self.recolour:
            srgb = recoloured(srgb, rng)
        development = draw_development(rng)
        return Cut(unprocess(srgb, development), development.raw_picture(crop, crop))

    def _decode(self, index: int) -> np.ndarray:
        return np.ascontiguousarray(decode_rgb(self.paths[index]).transpose(2, 0, 1))


class RealPairs:
    """Short and long exposures of one scene, K from the short one's ISO."""

    def __init__(self, pairs: Sequence[RawPair], cache: RawCache, camera: Camera):
        """Raises ValueError without pairs."""
        if not pairs:
            raise ValueError("RealPairs: no pairs were given")
        self.pairs, self._cache, self._camera = list(pairs), cache, camera

    def __len__(self) -> int:
        return len(self.pairs)

    def cut(self, index: int, rng: np.random.Generator, crop: int, shrink: int, turn: bool) -> Cut:
        """A sample. Raises as CleanPictures does, ValueError where the two do not fit, CameraError without an ISO."""
        pair = self.pairs[index]
        short, long = read_pair(self._cache, pair)
        draw = draw_cut(rng, long.packed.shape[1:], crop + 1, turn)
        measured = np.clip(_turned(short, draw, crop) * np.float32(pair.ratio), 0, 1)
        K = self._camera.K(short.picture.iso)
        return Cut(_turned(long, draw, crop), described(long.picture, (crop, crop), RGGB), measured, pair.ratio, K)


def read_pair(cache: RawCache, pair: RawPair) -> tuple[CachedRaw, CachedRaw]:
    """Short and long exposure. Raises ValueError where their sizes or filter arrays differ or are not Bayer's."""
    short, long = (_bayer(cache, path) for path in (pair.short, pair.long))
    if short.packed.shape != long.packed.shape or not np.array_equal(short.picture.pattern, long.picture.pattern):
        raise PictureError(
            f"{pair.short} and {pair.long} do not fit: packed {short.packed.shape} and {long.packed.shape}, "
            f"arrays {short.picture.pattern.tolist()} and {long.picture.pattern.tolist()}"
        )
    return short, long


def _bayer(cache: RawCache, path: Path) -> CachedRaw:
    raw = cache[path]
    if len(raw.packed) != 4:
        raise PictureError(f"{path}: its filter array is X-Trans, where Bayer's four channels are needed")
    return raw


def _turned(raw: CachedRaw, draw: Draw, crop: int) -> np.ndarray:
    """[4, crop, crop], flipped and turned as the mosaic is, so that every pixel keeps its place among the others.

    A flipped filter array begins with another colour: the crop begins at its first red, which is why one packed row
    and column more are read. RGGB whatever the file's order. A smaller picture is continued by reflection.
    """
    whole = raw.packed.shape[1:]
    height, width = (min(crop + 1, side) for side in whole)
    region = continued(raw.crop(draw.y, draw.x, height, width), crop + 1, crop + 1)
    mosaic = draw.turned(unpack(region, raw.picture.pattern))
    top, left = np.argwhere(draw.turned(raw.picture.pattern) == 0)[0]
    return pack(mosaic[top : top + 2 * crop, left : left + 2 * crop], RGGB)


def described(picture: RawPicture, size: tuple[int, int], pattern: np.ndarray | None = None) -> RawPicture:
    """What rendering a part of a picture needs: packed pixels of this size, as they lie."""
    nothing = np.broadcast_to(np.uint16(0), (2 * size[0], 2 * size[1]))
    pattern = picture.pattern if pattern is None else pattern
    return replace(picture, mosaic=nothing, pattern=pattern, orientation=1)
