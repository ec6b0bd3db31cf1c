"""How far the two pictures of a pair are shifted against each other, however different their brightness."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

# shifts are looked for this far in every direction, in pixels of the size compared (at half size twice as far)
REACH = 16
# matches from here on are taken for one scene: of LOL-v1's 500 pairs 4 are below in full size, 1 in every size
MATCHES = 0.5
_LONGEST_SIDE, _COARSER = 1024, (1, 2, 4)
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Alignment:
    """What the dark picture shows at (y, x) the bright one shows at (y + dy, x + dx); in pixels of the pictures.

    match: correlation of the two there, 1 for the same edges, 0 for none in common; match_unshifted: at no shift.
    scale: the pictures were compared at 1 / scale of their size; shifts well below `scale` pixels do not show.
    coarsened: only noise made that necessary. reach: the largest shift that was tried.
    """

    dy: float
    dx: float
    match: float
    match_unshifted: float
    scale: int
    coarsened: bool
    reach: int

    @property
    def distance(self) -> float:
        return math.hypot(self.dy, self.dx)

    def is_suspect(self, shift: float) -> bool:
        """No scene in common, or the bright picture `shift` pixels or more off and a clearly better match there."""
        return self.match < MATCHES or (self.distance >= shift and self.match - self.match_unshifted >= 0.05)


def estimate_alignment(low: np.ndarray, high: np.ndarray) -> Alignment | None:
    """low, high: [H, W, 3] uint8 of one size -> the shift that fits best, or None for pictures under 32 pixels a side.

    Normalised cross-correlation, over all shifts within REACH, of edge strengths: the gradient's magnitude of the
    smoothed logarithm of luma, relative to its mean in the neighbourhood, which takes brightness and contrast out.
    The peak's place is interpolated between pixels. Where noise hides the edges (a match below MATCHES) the pictures
    are compared at half and then at quarter size; pictures above 1024 pixels a side begin smaller.

    It sees one shift of the whole picture: in LOL-v1's our485 the 1.7 pixels of 700 and 701 and the 1.7 of 515 (half
    of all pairs are within 0.13), and that 648 shows another view. It cannot see what moves in a part of the picture,
    rotation or zoom of less than a few pixels at the rim, or a shift along edges that all run one way; shifts beyond
    its reach become "no match". Strong noise coarsens it: 141, 142 and 183 it compares at half size only, and finds
    them aligned. In 573, where a moire differs, it sees nothing.
    """
    first = max(1, math.ceil(max(low.shape[:2]) / _LONGEST_SIDE))
    best = None
    for scale in (first * coarser for coarser in _COARSER):
        dark, bright = (_shrink(picture @ _LUMA, scale) for picture in (low, high))
        if min(dark.shape) < 32:
            break
        found = _best_shift(_edges(dark), _edges(bright), scale, scale > first)
        if best is None or found.match > best.match:
            best = found
        if best.match >= MATCHES:
            break
    return best


def _best_shift(low: np.ndarray, high: np.ndarray, scale: int, coarsened: bool) -> Alignment:
    reach = min(REACH, min(low.shape) // 4)
    match = _correlate(low, high, reach)
    y, x = (int(i) for i in np.unravel_index(match.argmax(), match.shape))
    dy, dx = y + _vertex(match[:, x], y) - reach, x + _vertex(match[y], x) - reach
    unshifted = float(match[reach, reach])
    return Alignment(dy * scale, dx * scale, float(match[y, x]), unshifted, scale, coarsened, reach * scale)


def _correlate(low: np.ndarray, high: np.ndarray, reach: int) -> np.ndarray:
    """[2 reach + 1, 2 reach + 1] correlations of low's middle with high's windows shifted by -reach .. reach."""
    middle = low[reach:-reach, reach:-reach]
    middle, high = middle - middle.mean(), high - high.mean()
    spectrum = np.fft.rfft2(high) * np.conj(np.fft.rfft2(middle, s=high.shape))
    products = np.fft.irfft2(spectrum, s=high.shape)[: 2 * reach + 1, : 2 * reach + 1]
    sums, squares = (_window_sums(values, middle.shape) for values in (high, high**2))
    variance = np.maximum(squares - sums**2 / middle.size, 0)
    norm = np.sqrt((middle**2).sum() * variance)
    return np.divide(products, norm, out=np.zeros_like(products), where=norm > 1e-6)


def _edges(luma: np.ndarray) -> np.ndarray:
    """[H, W] in 0 .. 255 -> edge strength relative to the neighbourhood's, float64."""
    smooth = _box(_box(np.log(luma + 4.0), 1), 1)
    strength = np.hypot(*np.gradient(smooth))
    # an even surface has no edges to compare; four times the mean is an edge, however strong
    return np.minimum(strength / (_box(strength, 16) + 5e-4), 4.0)


def _shrink(luma: np.ndarray, scale: int) -> np.ndarray:
    height, width = (side // scale for side in luma.shape)
    return luma[: height * scale, : width * scale].reshape(height, scale, width, scale).mean(axis=(1, 3))


def _box(values: np.ndarray, radius: int) -> np.ndarray:
    """Mean over (2 radius + 1)^2 pixels; the rim is continued."""
    side = 2 * radius + 1
    return _window_sums(np.pad(values, radius, mode="edge"), (side, side)) / side**2


def _window_sums(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Sums over every window of that shape, from the table of sums above and left."""
    table = np.pad(values.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    h, w = shape
    return table[h:, w:] - table[:-h, w:] - table[h:, :-w] + table[:-h, :-w]


def _vertex(values: np.ndarray, peak: int) -> float:
    """Where the parabola through the peak and its neighbours is highest, relative to the peak."""
    if not 0 < peak < len(values) - 1:
        return 0.0
    before, at, after = values[peak - 1 : peak + 2]
    bend = before - 2 * at + after
    return float(0.5 * (before - after) / bend) if bend < 0 else 0.0
