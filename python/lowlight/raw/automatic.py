"""How much longer a photograph should have been exposed, from its brightness alone."""

from __future__ import annotations

import numpy as np

from ..files.pictures import PictureError
from .files import RawPicture, levelled, normalise_packed
from .packing import layout, pack

# where an average scene lies on a sensor under a light meter's exposure: 18 % grey, half a stop of room above white
# (saturation-based speed, ISO 12232)
AUTO_LEVEL = 0.18 / 2**0.5
# the longest ratio of the published noise and pictures: beyond it networks see what they were not trained on
AUTO_LIMIT = 300.0


def automatic_ratio(picture: RawPicture, level: float = AUTO_LEVEL, limit: float = AUTO_LIMIT) -> float:
    """The ratio, 1 to `limit`, that brings the mean of the packed raw, clipped to 1 after it, to `level` in (0, 1).

    Clipped, because a lamp that is white already gets no brighter and should not keep the rest dark; the mean counts
    every channel alike. Raises PictureError where nothing lies above black, ValueError for another level or limit.
    """
    if not (0 < level < 1 and limit >= 1):
        raise ValueError(f"automatic_ratio: level must lie in (0, 1) and limit be 1 or more, got {level}, {limit}")
    values, shares = _histogram(picture)
    if not (values * shares).any():
        raise PictureError("nothing in it is brighter than black: no ratio makes it visible")

    def mean(ratio: float) -> float:
        return float((np.minimum(values * ratio, 1) * shares).sum())

    low, high = 1.0, float(limit)
    if mean(low) >= level:
        return low
    if mean(high) <= level:
        return high
    # the mean grows with the ratio; 50 halvings leave less than a float's last digit
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if mean(middle) < level else (low, middle)
    return high


def _histogram(picture: RawPicture) -> tuple[np.ndarray, np.ndarray]:
    """Values in [0, 1] that pixels take and the share of the pixels that takes each, float64 [channels, numbers]."""
    numbers = pack(levelled(picture, whole=True), picture.pattern)
    count = int(numbers.max()) + 1
    every = np.broadcast_to(np.arange(count, dtype=np.uint16), (len(layout(picture.pattern).colours), 1, count))
    values = normalise_packed(every, picture)[:, 0].astype(np.float64)
    shares = np.stack([np.bincount(channel.ravel(), minlength=count) for channel in numbers]) / numbers.size
    return values, shares
