"""How the things of the still life are painted: procedural colours, and bumps by bent normals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .raycast import Noise, floats, smoothstep, unit
from .srgb import hex_colour, to_linear

# the 24 patches of the usual colour chart, sRGB
_CHART_HEX = (
    "735244c29682627a9d576c438580b167bdaad67e2c505ba6c15a635e3c6c9dbc40e0a32e"
    "383d96469449af363ce7c71fbb56950885a1f3f3f2c8c8c8a0a0a07a7a79555555343434"
)
CHART = np.frombuffer(bytes.fromhex(_CHART_HEX), np.uint8).reshape(24, 3)

# (points in the solid's own coordinates [N, 3], normals [N, 3]) -> albedo [N, 3] in linear light, normals
Paint = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def mix(a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
    return a * (1 - share) + b * share


def plain(digits: str) -> Paint:
    colour = hex_colour(digits)
    return lambda p, n: (np.broadcast_to(colour, p.shape), n)


def rough(noise: Noise, p: np.ndarray, n: np.ndarray, scale: float, depth: float) -> np.ndarray:
    """Normals bent by noise, as small bumps do."""
    bend = np.stack([noise(p * scale + shift) for shift in (0.0, 11.3, 23.7)], axis=-1) - 0.5
    return unit(n + depth * bend)


def wood(noise: Noise) -> Paint:
    light, dark = hex_colour("a8743f"), hex_colour("5e3517")

    def paint(p: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        plank = np.floor(p[:, 2:] / 0.62 + 0.3)
        grain = np.concatenate([p[:, :1] * 0.7 + plank * 5.1, plank * 3.3, p[:, 2:] * 7.0], axis=1)
        rings = 0.5 + 0.5 * np.sin(24 * noise.octaves(grain * 0.5, 3)[:, None] + 2 * plank)
        fibre = noise.octaves(grain * [3.0, 1.0, 9.0], 3)[:, None]
        gap = 1 - 0.75 * smoothstep(0.022, 0.006, np.abs((p[:, 2:] / 0.62 + 0.3) % 1 - 0.5) * -1 + 0.5)
        albedo = mix(light, dark, np.clip(0.25 + 0.45 * rings * fibre + 0.5 * (fibre - 0.5), 0, 1)) * gap
        return albedo * (0.9 + 0.2 * np.sin(plank * 12.9)), rough(noise, p * floats([0.4, 1, 1]), n, 9.0, 0.03)

    return paint


def plaster(noise: Noise) -> Paint:
    colour = hex_colour("b4b1a4")

    def paint(p: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return colour * (0.82 + 0.3 * noise.octaves(p * 1.1, 4)[:, None]), rough(noise, p, n, 14.0, 0.10)

    return paint


def glass_and_label(noise: Noise) -> Paint:
    glass, paper, ink, gold = (hex_colour(c) for c in ("14301c", "e9dfc6", "6b1d22", "b08d3e"))

    def paint(p: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        height, angle = p[:, 1:2], np.arctan2(p[:, 0:1] - 0.06, p[:, 2:3])
        on_label = (np.abs(height - 0.82) < 0.40) & (np.abs(angle) < 1.15)
        u, v = angle * 0.36, height - 0.82
        border = np.abs(np.maximum(np.abs(u) / 0.385, np.abs(v) / 0.37) - 0.955) < 0.014
        seal = np.abs(np.hypot(u, v - 0.17) - 0.10) < 0.018
        sun = np.hypot(u, v - 0.17) < 0.055
        lines = (np.abs(v + 0.06) < 0.028) & (np.abs(u) < 0.25) & (np.sin(u * 90) + np.sin(u * 53 + 1) > -0.7)
        small = (np.abs((v + 0.23) % 0.07 - 0.035) < 0.009) & (np.abs(v + 0.21) < 0.09) & (np.abs(u) < 0.2)
        label = paper * (0.92 + 0.12 * noise.octaves(p * 9, 3)[:, None])
        label = np.where(seal | border, gold, np.where(sun | lines | (small & (np.sin(u * 150) > -0.6)), ink, label))
        foil = smoothstep(1.82, 1.84, height)
        return mix(np.where(on_label, label, glass), ink * 1.3, foil), n

    return paint


def glaze(noise: Noise) -> Paint:
    white, blue = hex_colour("e4e6e2"), hex_colour("2b4c8c")

    def paint(p: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        angle, height = np.arctan2(p[:, 0:1], p[:, 2:3]), p[:, 1:2]
        wave = 0.36 + 0.055 * np.sin(14 * angle)
        band = smoothstep(0.030, 0.018, np.abs(height - wave)) + smoothstep(0.030, 0.018, np.abs(height - 0.72 + wave))
        dots = smoothstep(0.035, 0.025, np.hypot((14 * angle / np.pi + 0.5) % 2 - 1, (height - 0.36) * 9) * 0.16)
        stripe = smoothstep(0.016, 0.010, np.abs(height - 0.555)) + smoothstep(0.016, 0.010, np.abs(height - 0.17))
        ink = np.clip(band + dots + stripe, 0, 1) * (0.75 + 0.3 * noise.octaves(p * 6, 3)[:, None])
        return mix(white, blue, np.clip(ink, 0, 1)), n

    return paint


def chart(p: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Four rows of six patches on a black card, as cameras are tested with."""
    colours = to_linear(CHART / np.float32(255))
    u, v = (p[:, 0] / 0.80 + 1) / 2, (1 - p[:, 1] / 0.56) / 2
    column, row = (u - 0.04) / 0.92 * 6, (v - 0.055) / 0.89 * 4
    inside = (column > 0) & (column < 6) & (row > 0) & (row < 4)
    inside &= (np.abs(column % 1 - 0.5) < 0.43) & (np.abs(row % 1 - 0.5) < 0.43)
    patch = np.clip(row.astype(int), 0, 3) * 6 + np.clip(column.astype(int), 0, 5)
    return np.where(inside[:, None], colours[patch], hex_colour("1c1c1c")), n


def orange(noise: Noise) -> Paint:
    deep, pale = hex_colour("e0700e"), hex_colour("f0992a")

    def paint(p: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        albedo = mix(deep, pale, noise.octaves(p * 2.5, 3)[:, None])
        navel = smoothstep(0.10, 0.05, np.hypot(p[:, 0:1], p[:, 2:3])) * (p[:, 1:2] > 0)
        return mix(albedo, hex_colour("5d6b2a"), navel), rough(noise, p, n, 24.0, 0.34)

    return paint


def lemon(noise: Noise) -> Paint:
    ripe, green = hex_colour("f2cf2c"), hex_colour("b9bb35")

    def paint(p: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        tip = smoothstep(0.80, 1.0, np.abs(p[:, 0:1]))
        return mix(ripe, green, np.clip(tip * 0.8 + 0.3 * noise.octaves(p * 2, 3)[:, None], 0, 1)), rough(
            noise, p, n, 17.0, 0.25
        )

    return paint


def apple_skin(noise: Noise) -> Paint:
    red, yellow, hollow = hex_colour("a3161b"), hex_colour("dcb148"), hex_colour("6f6a2c")

    def paint(p: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        stretched = p * floats([11, 1.6, 11])
        streak = noise.octaves(stretched, 3)[:, None]
        blush = noise.octaves(p * 1.3 + 4, 2)[:, None]
        share = np.clip(1.9 * (blush - 0.52) + 1.1 * (streak - 0.5) + 0.35 * p[:, 1:2] ** 2, 0, 1)
        freckles = smoothstep(0.80, 0.88, noise(p * 19)[:, None]) * 0.35
        top = smoothstep(0.34, 0.08, np.hypot(p[:, 0:1], p[:, 2:3])) * (p[:, 1:2] > 0)
        albedo = mix(mix(mix(red, yellow, share), yellow, freckles), hollow, top * 0.85)
        # the hollow round the stem: normals there lean inwards
        lean = np.concatenate([-p[:, :1], np.zeros_like(top), -p[:, 2:3]], axis=1)
        return albedo * (1 - 0.45 * top), unit(n + 2.2 * top * lean)

    return paint


def pear_skin(noise: Noise) -> Paint:
    green, yellow, rust = hex_colour("a7ac3c"), hex_colour("d2b64a"), hex_colour("8a6226")

    def paint(p: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        albedo = mix(green, yellow, smoothstep(0.3, 0.7, noise.octaves(p * 2.2, 3)[:, None]))
        specks = smoothstep(0.72, 0.82, noise(p * 34)[:, None]) * 0.5
        russet = smoothstep(0.74, 0.92, p[:, 1:2] + 0.12 * noise.octaves(p * 7, 3)[:, None]) * 0.7
        return mix(albedo, rust, np.clip(specks + russet, 0, 1)), rough(noise, p, n, 15.0, 0.10)

    return paint


def grape_skin(noise: Noise) -> Paint:
    purple, bloom = hex_colour("3a1740"), hex_colour("6d6489")

    def paint(p: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return mix(purple, bloom, smoothstep(0.35, 0.8, noise.octaves(p * 1.5 + 9, 3)[:, None]) * 0.6), n

    return paint
