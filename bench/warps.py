"""How often a warp turns in the loops of poisson's kernel: until the last of its pixels is done."""

import math

import numpy as np

WARP = 32


def rejections(mean: float, shape: tuple[int, ...], draw: np.random.Generator) -> np.ndarray:
    """Attempts that a pixel makes after its first: csrc/core/poisson.h in float64."""
    b = 2.53 * np.sqrt(mean) + 0.931
    a = 0.02483 * b - 0.059
    tried, open_ = np.zeros(shape, int), np.ones(shape, bool)
    first = True
    while open_.any():
        u, v = draw.random(shape) - 0.5, draw.random(shape)
        us = 0.5 - abs(u)
        k = np.floor((2 * a / us + b) * u + mean + 0.43)
        quick = (us >= 0.07) & (v <= 0.9277 - 3.6224 / (b - 2))
        height = np.log(v * (1.1239 + 1.1328 / (b - 3.4)) / (a / us**2 + b))
        within = height <= k * math.log(mean) - mean - np.vectorize(lambda n: math.lgamma(max(n, 0) + 1))(k)
        done = quick | ((k >= 0) & ((us >= 0.013) | (v <= us)) & within)
        tried += open_ & (not first)
        open_, first = open_ & ~done, False
    return tried


def turns(mean: float, warps: int = 2000) -> dict[tuple[str, int], float]:
    """Of the loops of a warp of 32 threads with four pixels each: over the halves of a wide group, rejection's
    attempts, pixels of the far tail and its terms in float64, first attempts, inversion's terms."""
    draw = np.random.Generator(np.random.Philox(1))
    tail = inversion = rejection = 0.0
    if mean < 10:
        tail = (draw.random((warps, WARP, 4)) < 2.0**-10).sum(2).max(1).mean()
        inversion = draw.poisson(mean, (warps, WARP * 4)).max(1).mean() + 1
    else:
        rejection = rejections(mean, (warps // 10, WARP, 4), draw).sum(2).max(1).mean()
    terms = mean + 3.3 * mean**0.5 + 1
    products, doubles = "IMAD.WIDE", "DMUL"
    kinds = {(products, 60): 2, (products, 30): rejection, (doubles, 10): tail, (doubles, 1): terms}
    return {kind: float(times) for kind, times in kinds.items()} | {("MUFU", 5): 4, ("FMUL", 1): float(inversion)}
