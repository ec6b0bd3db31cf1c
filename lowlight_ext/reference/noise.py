"""Counter-based noise in plain PyTorch: Philox4x32-10 in int64, Box-Muller in float64, rounded once."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from lowlight_ext.common import Source, seed_tensor

MASK = 0xFFFFFFFF
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
# counters evaluated at once: the int64 temporaries stay in the cache
CHUNK = 1 << 15

Words = tuple[Tensor, Tensor, Tensor, Tensor]


def philox_words(c0: Tensor, c1: Tensor, c2: Tensor, c3: Any, k0: Any, k1: Any) -> Words:
    """Four words a counter; counter words (c0 .. c3) and keys (k0, k1), the last three also ints, broadcast, so the
    first rounds are cheap."""
    for _ in range(ROUNDS):
        # int64 products wrap modulo 2^64; the mask removes the sign that the shift drags in
        a, b = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = ((b >> 32) & MASK) ^ c1 ^ k0, b & MASK, ((a >> 32) & MASK) ^ c3 ^ k1, a & MASK
        k0, k1 = (k0 + WEYL[0]) & MASK, (k1 + WEYL[1]) & MASK
    return c0, c1, c2, c3


def philox(counter: Tensor, key: Tensor) -> Tensor:
    """Words [..., 4] of counter [..., 4] and key [..., 2]; all int64 holding values of 32 bits."""
    words = philox_words(*counter.unbind(-1), *key.unbind(-1))
    return torch.stack(torch.broadcast_tensors(*words), dim=-1)


def uniforms(words: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """((word >> 9) + 0.5) 2^-23: exact in float32, never 0 or 1."""
    return [((w >> 9).to(dtype) + 0.5) * 2.0**-23 for w in words]


def uniform_pixels(words: Words) -> Tensor:
    return torch.stack(uniforms(torch.broadcast_tensors(*words), torch.float32), dim=-1)


def normal_pixels(words: Words) -> Tensor:
    u0, u1, u2, u3 = uniforms(torch.broadcast_tensors(*words), torch.float64)
    r0, r1 = torch.sqrt(-2 * torch.log(u0)), torch.sqrt(-2 * torch.log(u2))
    a0, a1 = 2 * math.pi * u1, 2 * math.pi * u3
    return torch.stack((r0 * a0.cos(), r0 * a0.sin(), r1 * a1.cos(), r1 * a1.sin()), dim=-1).to(torch.float32)


def blocks(rows: int, first: int, last: int) -> Iterator[tuple[int, int, int, int]]:
    """Cut rows x counters [first, last) into (row, row_end, counter, counter_end) of about CHUNK counters."""
    width = min(last - first, CHUNK)
    height = max(1, CHUNK // max(width, 1))
    for row in range(0, rows, height):
        for counter in range(first, last, width):
            yield row, min(row + height, rows), counter, min(counter + width, last)


def draw(
    pixels: Callable[[Words], Tensor],
    shape: Sequence[int],
    source: Source,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Noise of shape [B, C, H, W]."""
    seeds, (_, stream, y0, x0, plane) = seed_tensor(source.seeds), source
    batch, channels, height, width = shape
    rows = batch * channels * height
    if rows * width == 0:
        return torch.empty(batch, channels, height, width, dtype=dtype, device=device)
    row = torch.arange(rows, device=device)
    sample = row // max(1, channels * height)
    own_key = seeds.numel() != 1
    planes = plane + (row // max(1, height) - (sample * channels if own_key else 0))
    lines = y0 + row % max(1, height)
    seeds = seeds.to(device)
    keys = seeds[sample] if own_key else seeds.expand(rows)
    # joined, not written into one tensor: an exported graph has no place to write to
    drawn: dict[int, list[Tensor]] = {}
    for r0, r1, q0, q1 in blocks(rows, x0 // 4, (x0 + width + 3) // 4):
        quads = torch.arange(q0, q1, device=device)
        key = keys[r0:r1, None]
        words = philox_words(quads, lines[r0:r1, None], planes[r0:r1, None], stream, key & MASK, (key >> 32) & MASK)
        left, right = max(4 * q0, x0), min(4 * q1, x0 + width)
        drawn.setdefault(r0, []).append(pixels(words).flatten(-2)[:, left - 4 * q0 : right - 4 * q0])
    whole = torch.cat([torch.cat(parts, dim=1) for parts in drawn.values()])
    return whole.to(dtype).reshape(batch, channels, height, width)


def normal(shape: Sequence[int], source: Source, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Standard normals of shape [B, C, H, W]."""
    return draw(normal_pixels, shape, source, dtype, device)


def uniform(shape: Sequence[int], source: Source, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Uniforms in (0, 1) of shape [B, C, H, W]."""
    return draw(uniform_pixels, shape, source, dtype, device)
