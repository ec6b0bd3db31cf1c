"""Enough ray casting for a still life, in numpy: spheroids, boxes and turned shapes, soft light, soft shadows.

Rays and points are [N, 3] float32. A solid answers `hit` (distance along each ray, infinity for none) and `normal`, and
stands in the light as a few spheres (`shades`), whose shadows and occlusion have closed forms.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

FAR = np.float32(np.inf)


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Inner products of the last axis, [..., 1]."""
    return np.einsum("...i,...i->...", a, b)[..., None]


def floats(values: ArrayLike) -> np.ndarray:
    return np.asarray(values, np.float32)


def unit(a: np.ndarray) -> np.ndarray:
    return a / np.sqrt(np.maximum(dot(a, a), 1e-12))


def smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    x = np.clip((x - low) / (high - low), 0, 1)
    return x * x * (3 - 2 * x)


@dataclass
class Spheroid:
    """A sphere stretched by `radii` along the axes, then turned about y by `turn` radians."""

    center: tuple[float, float, float]
    radii: tuple[float, float, float]
    turn: float = 0.0

    def local(self, points: np.ndarray, is_direction: bool = False) -> np.ndarray:
        offset = np.zeros(3, np.float32) if is_direction else floats(self.center)
        return (points - offset) @ rotation_y(self.turn) / floats(self.radii)

    def hit(self, origin: np.ndarray, direction: np.ndarray) -> np.ndarray:
        o, d = self.local(origin), self.local(direction, True)
        a, b, c = dot(d, d)[..., 0], dot(o, d)[..., 0], dot(o, o)[..., 0] - 1
        inside = b * b - a * c
        t = (-b - np.sqrt(np.maximum(inside, 0))) / a
        return np.where((inside > 0) & (t > 1e-3), t, FAR)

    def normal(self, points: np.ndarray) -> np.ndarray:
        return unit(self.local(points) / floats(self.radii) @ rotation_y(self.turn).T)

    def shades(self) -> list[tuple[tuple[float, float, float], float]]:
        return [(self.center, float(np.prod(self.radii)) ** (1 / 3))]


@dataclass
class Box:
    """A box of half sizes `half`, leaning back by `lean` about x, then turned by `turn` about y."""

    center: tuple[float, float, float]
    half: tuple[float, float, float]
    turn: float = 0.0
    lean: float = 0.0

    def _axes(self) -> np.ndarray:
        return rotation_x(self.lean) @ rotation_y(self.turn)

    def local(self, points: np.ndarray) -> np.ndarray:
        return (points - floats(self.center)) @ self._axes().T

    def hit(self, origin: np.ndarray, direction: np.ndarray) -> np.ndarray:
        o, d = self.local(origin), direction @ self._axes().T
        d = np.where(np.abs(d) < 1e-7, np.float32(1e-7), d)
        near, far = (-np.sign(d) * self.half - o) / d, (np.sign(d) * self.half - o) / d
        enter, leave = near.max(axis=-1), far.min(axis=-1)
        return np.where((enter < leave) & (enter > 1e-3), enter, FAR)

    def normal(self, points: np.ndarray) -> np.ndarray:
        local = self.local(points) / floats(self.half)
        side = np.abs(local).argmax(axis=-1)[..., None]
        face = np.zeros_like(local)
        np.put_along_axis(face, side, np.sign(np.take_along_axis(local, side, -1)), -1)
        return face @ self._axes()

    def shades(self) -> list[tuple[tuple[float, float, float], float]]:
        """Spheres along the longer two sides, as wide as the box is thick there."""
        thin = int(np.argmin(self.half))
        wide = [axis for axis in range(3) if axis != thin]
        radius = 0.5 * min(self.half[axis] for axis in wide)
        steps = [np.linspace(-self.half[axis] + radius, self.half[axis] - radius, 3) for axis in wide]
        centers = np.zeros((9, 3), np.float32)
        centers[:, wide] = np.stack(np.meshgrid(*steps), axis=-1).reshape(-1, 2)
        return [(tuple(c), radius) for c in centers @ self._axes() + floats(self.center)]


@dataclass
class Plane:
    """All points whose coordinate `axis` is `at`; seen from the larger coordinates. Casts no shadow."""

    axis: int
    at: float

    def hit(self, origin: np.ndarray, direction: np.ndarray) -> np.ndarray:
        down = -direction[..., self.axis]
        t = (origin[..., self.axis] - self.at) / np.maximum(down, 1e-6)
        return np.where((down > 1e-6) & (t > 1e-3), t, FAR)

    def local(self, points: np.ndarray) -> np.ndarray:
        return points

    def normal(self, points: np.ndarray) -> np.ndarray:
        return np.broadcast_to(np.eye(3, dtype=np.float32)[self.axis], points.shape)

    def shades(self) -> list[tuple[tuple[float, float, float], float]]:
        return []


@dataclass
class Turned:
    """A solid of revolution about the vertical through `center`; `outline` is a closed polygon of (radius, height).

    Rays walk through a table of distances to the outline (sphere tracing).
    """

    center: tuple[float, float, float]
    outline: list[tuple[float, float]]
    spheres: list[tuple[float, float]] = field(default_factory=list)  # (height, radius) of its stand-ins in the light
    cells: int = 200

    def __post_init__(self) -> None:
        corners = floats(self.outline)
        self.reach, self.height = float(corners[:, 0].max()) * 1.1, float(corners[:, 1].max()) * 1.05
        r, y = np.meshgrid(
            np.linspace(0, self.reach, self.cells), np.linspace(-0.05, self.height, self.cells), indexing="xy"
        )
        self.table = polygon_distance(np.stack([r, y], -1).astype(np.float32), corners)

    def distance(self, local: np.ndarray) -> np.ndarray:
        """Signed distance [N] to the surface, by bilinear look-up; outside the table at least the way back to it."""
        r, y = np.hypot(local[:, 0], local[:, 2]), local[:, 1]
        column = r / self.reach * (self.cells - 1)
        row = (y + 0.05) / (self.height + 0.05) * (self.cells - 1)
        c, w = np.clip(column, 0, self.cells - 1.001), np.clip(row, 0, self.cells - 1.001)
        i, j = w.astype(np.int32), c.astype(np.int32)
        u, v, t = (w - i).astype(np.float32), (c - j).astype(np.float32), self.table
        inside = (t[i, j] * (1 - v) + t[i, j + 1] * v) * (1 - u) + (t[i + 1, j] * (1 - v) + t[i + 1, j + 1] * v) * u
        outside = np.hypot((column - c) * self.reach / self.cells, (row - w) * (self.height + 0.05) / self.cells)
        return inside + outside

    def local(self, points: np.ndarray) -> np.ndarray:
        return points - floats(self.center)

    def hit(self, origin: np.ndarray, direction: np.ndarray) -> np.ndarray:
        t = np.full(len(direction), FAR, np.float32)
        # the part of each ray within a ball round the solid
        middle = floats(self.center) + floats([0, self.height / 2, 0])
        way = middle - origin
        along = dot(way, direction)[..., 0]
        half = self.reach**2 + (self.height / 2) ** 2 - dot(way, way)[..., 0] + along * along
        leave = along + np.sqrt(np.maximum(half, 0))
        rays = np.flatnonzero((half > 0) & (leave > 0))
        limit = leave[rays]
        walked = np.maximum(2 * along[rays] - limit, 0)
        o, d = np.broadcast_to(self.local(origin), direction.shape)[rays], direction[rays]
        for _ in range(70):
            step = self.distance(o + d * walked[:, None])
            arrived = step < 1.5e-3
            t[rays[arrived]] = walked[arrived]
            walked = walked + step * 0.9
            keep = ~arrived & (walked < limit)
            rays, o, d, walked, limit = rays[keep], o[keep], d[keep], walked[keep], limit[keep]
            if not len(rays):
                break
        return t

    def normal(self, points: np.ndarray) -> np.ndarray:
        local, h = self.local(points), 1.5 * max(self.reach, self.height) / self.cells
        steps = np.eye(3, dtype=np.float32) * np.float32(h)
        return unit(np.stack([self.distance(local + s) - self.distance(local - s) for s in steps], axis=-1))

    def shades(self) -> list[tuple[tuple[float, float, float], float]]:
        x, y, z = self.center
        return [((x, y + height, z), radius) for height, radius in self.spheres]


def polygon_distance(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Signed distance [...] of points [..., 2] to a closed polygon [K, 2], negative inside."""
    best = np.full(points.shape[:-1], FAR, np.float32)
    inside = np.zeros(points.shape[:-1], bool)
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        edge, to = b - a, points - a
        along = np.clip((to @ edge) / max(edge @ edge, 1e-12), 0, 1)
        best = np.minimum(best, ((to - along[..., None] * edge) ** 2).sum(-1))
        crosses = (a[1] > points[..., 1]) != (b[1] > points[..., 1])
        rise = edge[1] if edge[1] != 0 else 1.0
        inside ^= crosses & (points[..., 0] < edge[0] * to[..., 1] / rise + a[0])
    return np.where(inside, -1, 1) * np.sqrt(best)


def rotation_y(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return floats([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def rotation_x(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return floats([[1, 0, 0], [0, c, s], [0, -s, c]])


@dataclass
class Shades:
    """Spheres that stand in for things in the light: centers [K, 3], radii [K]."""

    centers: np.ndarray
    radii: np.ndarray

    def shadow(self, points: np.ndarray, toward: np.ndarray, width: float) -> np.ndarray:
        """Share [N, 1] of a light of angular radius `width` in the unit directions `toward` that is visible."""
        along = toward @ self.centers.T - dot(toward, points)
        beside = np.sqrt(np.maximum(self._square(points) - along * along, 0))
        blur = np.maximum(along, 0.02) * np.float32(width)
        share = (beside - self.radii) / blur
        share[along <= 0] = 1
        return smoothstep(-1, 1, share.min(axis=1, initial=1)[:, None])

    def sky(self, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """Share [N, 1] of a uniform sky that is visible; each sphere takes its cosine-weighted solid angle."""
        squares = np.float32(self.radii**2)
        square = np.maximum(self._square(points), squares * np.float32(1.02))
        cosine = np.maximum(normals @ self.centers.T - dot(normals, points), 0) / np.sqrt(square)
        return np.prod(1 - np.float32(0.9) * cosine * squares / square, axis=1)[:, None]

    def _square(self, points: np.ndarray) -> np.ndarray:
        """Squared distances [N, K] from points to centers."""
        return dot(points, points) - 2 * points @ self.centers.T + (self.centers**2).sum(axis=1)


class Noise:
    """Smooth 3-D value noise in [0, 1] from a seeded periodic table."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.table = rng.random((32, 32, 32), dtype=np.float32)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        base = np.floor(points)
        f = (points - base).astype(np.float32)
        f = f * f * (3 - 2 * f)
        lower = base.astype(np.int64) & 31
        x0, y0, z0 = lower.T
        x1, y1, z1 = ((lower + 1) & 31).T
        u, v, w = f.T
        t = self.table

        def along_z(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            return t[x, y, z0] * (1 - w) + t[x, y, z1] * w

        return (along_z(x0, y0) * (1 - u) + along_z(x1, y0) * u) * (1 - v) + (
            along_z(x0, y1) * (1 - u) + along_z(x1, y1) * u
        ) * v

    def octaves(self, points: np.ndarray, count: int = 4) -> np.ndarray:
        """Sum of octaves, each of twice the frequency and half the weight, in [0, 1]."""
        total = sum(self(points * 2.0**i + 7.3 * i) / 2**i for i in range(count))
        return total / (2 - 2.0 ** (1 - count))
