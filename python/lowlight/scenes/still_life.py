"""The still life of `lowlight sample`: what stands on the table and how the light falls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import paints
from .paints import Paint, mix
from .raycast import FAR, Box, Noise, Plane, Shades, Spheroid, Turned, dot, floats, smoothstep, unit

CAMERA, LOOK_AT = floats([0.0, 2.45, 7.6]), floats([0.06, 0.93, 0.0])
HALF_FIELD = 0.2  # tangent of half the vertical field of view, for pictures at least 3:2 wide
WALL = -2.1
WINDOW, WINDOW_HALF = floats([-4.4, 4.4, 4.0]), (1.15, 1.35)
KEY, SKY, BOUNCE = floats([1.22, 1.16, 1.06]), floats([0.20, 0.22, 0.26]), floats([0.10, 0.075, 0.05])
PENUMBRA = 0.16  # angular radius of the window as the table sees it


@dataclass
class Thing:
    """A solid, its paint, and how strongly it mirrors (0 none, 1 a varnish)."""

    solid: Spheroid | Box | Turned | Plane
    paint: Paint
    gloss: float = 1.0


def arrange(seed: int = 0) -> list[Thing]:
    """The table and what is on it; the seed moves and repaints things a little."""
    rng = np.random.default_rng([seed, 0])
    noise = Noise(rng)
    return [
        Thing(Plane(1, 0.0), paints.wood(noise), 0.7),
        Thing(Plane(2, WALL), paints.plaster(noise), 0.0),
        Thing(bottle(-1.5, -0.75), paints.glass_and_label(noise), 1.0),
        Thing(bowl(0.2, -0.2), paints.glaze(noise), 1.0),
        Thing(Box((1.62, 0.60, -1.35), (0.80, 0.56, 0.025), turn=-0.2, lean=0.16), paints.chart, 0.15),
        *fruit_in_bowl(noise, rng),
        *fruit_on_table(noise, rng),
    ]


def bottle(x: float, z: float) -> Turned:
    shoulder = [(0.36 - 0.235 * t**2 * (3 - 2 * t), 1.42 + 0.42 * t) for t in np.linspace(0, 1, 12)]
    lip = [(0.118, 2.2), (0.145, 2.21), (0.145, 2.3), (0.12, 2.33), (0, 2.33)]
    outline = [(0, 0), (0.33, 0), (0.36, 0.04), *shoulder, *lip]
    heights = np.concatenate([np.arange(0.3, 1.38, 0.12), np.arange(1.38, 2.25, 0.05)])
    spheres = [(h, float(np.clip(0.345 - 0.68 * (h - 1.38), 0.13, 0.345))) for h in heights]
    return Turned((x, 0.0, z), outline, spheres)


def bowl(x: float, z: float) -> Turned:
    t = np.linspace(0, 1, 14)
    outer = np.stack([0.36 + 0.66 * np.sin(t * np.pi / 2) ** 0.9, 0.09 + 0.50 * (1 - np.cos(t * np.pi / 2)) ** 0.8], -1)
    inner = outer[::-1] * [1, 1] - [0.05, 0] + np.stack([np.zeros(14), 0.04 * t], -1)
    outline = [(0, 0), (0.36, 0), (0.38, 0.03), (0.34, 0.07), *map(tuple, outer), *map(tuple, inner), (0, 0.13)]
    return Turned((x, 0.0, z), outline, [(0.2, 0.2), (0.36, 0.36)])


def fruit_in_bowl(noise: Noise, rng: np.random.Generator) -> list[Thing]:
    places = floats(
        [(-0.30, 0.50, 0.12), (0.36, 0.50, 0.26), (0.06, 0.50, -0.42), (0.62, 0.56, -0.22), (0.12, 0.92, -0.02)]
    )
    things = []
    for kind, place in zip(rng.permutation(["apple", "apple", "orange", "orange", "lemon"]), places, strict=True):
        center = tuple(floats([0.2, 0, -0.2]) + place + rng.uniform(-0.02, 0.02, 3).astype(np.float32))
        if kind == "apple":
            things += apple(center, noise, rng)
        elif kind == "orange":
            things.append(
                Thing(Spheroid(center, (0.37, 0.36, 0.37), turn=rng.uniform(0, 6)), paints.orange(noise), 0.5)
            )
        else:
            things.append(
                Thing(Spheroid(center, (0.46, 0.33, 0.33), turn=rng.uniform(-1, 1)), paints.lemon(noise), 0.6)
            )
    return things


def fruit_on_table(noise: Noise, rng: np.random.Generator) -> list[Thing]:
    things = [Thing(pear(-0.62, 0.98), paints.pear_skin(noise), 0.45)]
    things += [Thing(Spheroid((-0.60, 0.98, 0.98), (0.022, 0.10, 0.022)), paints.plain("4a3218"), 0.2)]
    things += [
        Thing(Spheroid((1.55, 0.30, 0.75), (0.42, 0.30, 0.30), turn=rng.uniform(-0.6, 0.6)), paints.lemon(noise), 0.6)
    ]
    return things + grapes(noise, rng)


def apple(center: tuple[float, float, float], noise: Noise, rng: np.random.Generator) -> list[Thing]:
    x, y, z = center
    stem = Spheroid((x + 0.02, y + 0.36, z), (0.018, 0.11, 0.018))
    return [Thing(Spheroid(center, (0.39, 0.36, 0.39), turn=rng.uniform(0, 6)), paints.apple_skin(noise), 0.9),
            Thing(stem, paints.plain("4a3218"), 0.2)]  # fmt: skip


def pear(x: float, z: float) -> Turned:
    t = np.linspace(0.02, 0.98, 28) * np.pi
    radius = 0.36 * np.sin(t) * (1 - 0.34 * smoothstep(0.2, 0.8, t / np.pi))
    height = 0.43 - 0.45 * np.cos(t) + 0.02
    return Turned((x, 0.0, z), [(0, 0.0), *zip(radius, height, strict=True), (0, 0.90)], [(0.33, 0.30), (0.62, 0.2)])


def grapes(noise: Noise, rng: np.random.Generator) -> list[Thing]:
    things = []
    for layer, (count, reach) in enumerate([(9, 0.36), (5, 0.21), (1, 0.0)]):
        for k in range(count):
            angle = 2 * np.pi * k / count + 0.5 * layer
            x, z = reach * np.cos(angle) * 1.35, reach * np.sin(angle)
            jitter = rng.uniform(-0.02, 0.02, 3)
            center = (-1.62 + x + jitter[0], 0.15 + 0.19 * layer + jitter[1], 0.75 + z + jitter[2])
            things.append(Thing(Spheroid(center, (0.155, 0.165, 0.155)), paints.grape_skin(noise), 0.8))
    return things


def render(things: list[Thing], width: int, height: int) -> np.ndarray:
    """Linear light [height, width, 3] in [0, 1]: a ray a pixel, nine where neighbours differ."""
    lit = [(thing, shades_for(thing, things)) for thing in things]
    row, column = (index.ravel() + np.float32(0.5) for index in np.indices((height, width)))
    picture = look(lit, column, row, width, height).reshape(height, width, 3)
    where = np.flatnonzero(edges(picture))
    offsets = (np.indices((3, 3)).reshape(2, 9, 1) - 1) / np.float32(3)
    rays = look(lit, (column[where] + offsets[1]).ravel(), (row[where] + offsets[0]).ravel(), width, height)
    picture.reshape(-1, 3)[where] = rays.reshape(9, -1, 3).mean(axis=0)
    return picture


def edges(picture: np.ndarray, contrast: float = 0.1) -> np.ndarray:
    """Pixels [H, W] that differ by more than `contrast`, in square roots of light, from one beside or above."""
    tone, found = np.sqrt(picture), np.zeros(picture.shape[:2], bool)
    for axis in (0, 1):
        differs = (np.abs(np.diff(tone, axis=axis)) > contrast).any(axis=2)
        pad = [(0, 0), (0, 0)]
        for side in ((1, 0), (0, 1)):
            pad[axis] = side
            found |= np.pad(differs, pad)
    return found


def look(lit: list[tuple[Thing, Shades]], column: np.ndarray, row: np.ndarray, width: int, height: int) -> np.ndarray:
    """Light [N, 3], clipped to 1, at positions [N] in the picture, in pixels from its upper left corner."""
    forward = unit(LOOK_AT - CAMERA)
    right = unit(np.cross(forward, floats([0, 1, 0])))
    up = np.cross(right, forward)
    # narrower pictures widen the vertical field, so that what is on the table stays in the frame
    half = np.float32(HALF_FIELD * max(1.0, 1.5 * height / width) * 2 / height)
    light = np.empty((len(row), 3), np.float32)
    # few enough rays at once to stay in the cache
    for start in range(0, len(row), 16384):
        part = slice(start, start + 16384)
        x, y = (column[part] - width / 2) * half, (height / 2 - row[part]) * half
        direction = unit(forward + x[:, None] * right + y[:, None] * up).astype(np.float32)
        light[part] = np.minimum(trace(lit, CAMERA[None], direction, mirror=True), 1)
    return light


def shades_for(thing: Thing, things: list[Thing]) -> Shades:
    """What may stand between a thing and the light: every other thing (its own far side needs no shadow)."""
    spheres = [sphere for other in things if other is not thing for sphere in other.solid.shades()]
    return Shades(floats([center for center, _ in spheres]), floats([radius for _, radius in spheres]))


def trace(lit: list[tuple[Thing, Shades]], origin: np.ndarray, direction: np.ndarray, mirror: bool) -> np.ndarray:
    """Light [N, 3] that comes back along rays; `mirror`: the table shows the things on it."""
    distance = np.stack([thing.solid.hit(origin, direction) for thing, _ in lit])
    nearest, t = distance.argmin(axis=0), distance.min(axis=0)
    light = np.zeros((len(direction), 3), np.float32)
    for index, (thing, shades) in enumerate(lit):
        rays = np.flatnonzero((nearest == index) & (t < FAR))
        if len(rays):
            start = np.broadcast_to(origin, direction.shape)[rays]
            points = start + direction[rays] * t[rays, None]
            light[rays] = shade(thing, shades, points, direction[rays], lit if mirror else None)
    return light


def shade(
    thing: Thing, shades: Shades, points: np.ndarray, direction: np.ndarray, lit: list[tuple[Thing, Shades]] | None
) -> np.ndarray:
    """Light [N, 3] that points of a thing send back against `direction`; planes mirror the things of `lit`."""
    smooth = thing.solid.normal(points)
    albedo, normal = thing.paint(thing.solid.local(points), smooth)
    lifted = points + smooth * np.float32(2e-3)
    way = WINDOW - points
    toward = unit(way)
    seen = shades.shadow(lifted, toward, PENUMBRA)
    sky = shades.sky(lifted, smooth)
    falling = KEY * (55 / dot(way, way)) * np.maximum(dot(normal, toward), 0) * seen
    upward = 0.5 + 0.5 * normal[:, 1:2]
    light = albedo * (falling + (SKY * upward + BOUNCE * (1 - upward)) * (0.25 + 0.75 * sky))
    if thing.gloss:
        facing = np.clip(-dot(normal, direction), 0, 1)
        mirrored = direction + 2 * facing * normal
        fresnel = thing.gloss * (0.04 + 0.96 * (1 - facing) ** 5)
        if lit is not None and isinstance(thing.solid, Plane):
            image = trace(lit, lifted, mirrored, mirror=False)
        else:
            image = surroundings(points, mirrored) * (0.35 + 0.65 * sky)
        light = light * (1 - fresnel) + image * fresnel
    return light


def surroundings(points: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Light [N, 3] from the room behind the camera: a window with a cross in it, a pale ceiling, a dark floor."""
    facing = unit(-WINDOW)
    across = unit(np.cross(floats([0, 1, 0]), facing))
    upward = np.cross(facing, across)
    slope = dot(direction, facing[None])
    reach = dot(WINDOW - points, facing[None]) / np.minimum(slope, -1e-3)
    at = points + direction * reach - WINDOW
    u, v = np.abs(dot(at, across[None])), np.abs(dot(at, upward[None]))
    pane = smoothstep(0, 0.08, WINDOW_HALF[0] - u) * smoothstep(0, 0.08, WINDOW_HALF[1] - v)
    pane = pane * smoothstep(0.05, 0.10, u) * smoothstep(0.05, 0.10, v) * (slope < 0)
    room = mix(floats([0.05, 0.04, 0.03]), floats([0.42, 0.43, 0.45]), smoothstep(-0.3, 0.9, direction[:, 1:2]))
    return room + pane * floats([9.0, 9.3, 9.8])
