"""Noise that is a function of (seed, stream, plane, y, x) alone: not of device, dtype, batch, threads or tile.

Philox4x32-10 (Salmon et al., SC 2011): key = the seed's low and high 32 bits, counter = (x // 4, y, plane, stream),
and word x % 4 belongs to pixel x. Uniforms are ((word >> 9) + 0.5) 2^-23, normals Box-Muller of words (0, 1), (2, 3).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lowlight_ext import checks
from lowlight_ext.common import Source
from lowlight_ext.registry import PLACE, register


def seed_of(op: str, seed: int | Tensor) -> int | Tensor:
    """An int modulo 2^64 as a signed one; of a tensor its seeds, [1] or [B]."""
    if type(seed) is int and -(1 << 63) <= seed < 1 << 63:
        return seed
    if isinstance(seed, Tensor):
        return seed.reshape(1) if seed.dim() == 0 else seed
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"{op}: seed must be an int or an int64 tensor, got {type(seed).__name__}")
    return (seed + (1 << 63)) % (1 << 64) - (1 << 63)


def source_of(op: str, seed: int | Tensor | None, stream: int, origin: tuple[int, int], plane: int) -> Source | None:
    y0, x0 = origin
    return None if seed is None else Source(seed_of(op, seed), stream, y0, x0, plane)


def layout(shape: Sequence[int], one_a_sample: bool) -> tuple[int, int, int, int]:
    """The [B, C, H, W] in which noise of this shape is drawn: pictures as they are, everything else as rows."""
    if len(shape) == 4:
        batch, channels, height, width = shape
        return batch, channels, height, width
    if len(shape) == 3:
        channels, height, width = shape
        return 1, channels, height, width
    count = 1
    for size in shape[1:] if one_a_sample else shape:
        count *= size
    return (shape[0] if one_a_sample else 1), 1, 1, count


def check_draw(op: str, shape: Sequence[int], source: Source, dtype: torch.dtype) -> None:
    if len(shape) != 4:
        raise checks.fail(op, "shape", "[B, C, H, W]", tuple(shape))
    checks.seeds(op, source.seeds, shape[0])
    if dtype not in checks.DTYPES:
        raise checks.fail(op, "dtype", "float32, float64, float16 or bfloat16", dtype)


def _registered(op: str) -> Callable:
    def check(shape: Sequence[int], source: Source, dtype: torch.dtype, device: torch.device) -> None:
        check_draw(op, shape, source, dtype)

    def fake(shape: Sequence[int], source: Source, dtype: torch.dtype, device: torch.device) -> Tensor:
        return torch.empty(shape, dtype=dtype, device=device)

    arguments = f"SymInt[] shape, {PLACE}, ScalarType dtype, Device device"
    return register(f"{op}({arguments}) -> Tensor", check, fake)


def _check_philox(counter: Tensor, key: Tensor) -> None:
    for name, value, size in (("counter", counter, 4), ("key", key, 2)):
        checks.strided("philox", name, value)
        if value.dtype != torch.int64:
            raise checks.fail("philox", name, "int64 (words of 32 bits)", value.dtype)
        if value.dim() < 1 or value.shape[-1] != size:
            raise checks.fail("philox", name, f"of shape [..., {size}]", tuple(value.shape))
    if counter.shape[:-1] != key.shape[:-1]:
        raise checks.fail("philox", "key", f"of shape {(*counter.shape[:-1], 2)}", tuple(key.shape))
    if counter.device != key.device:
        raise checks.fail("philox", "key", f"on counter's device {counter.device}", key.device)


_normal_op, _uniform_op = _registered("normal"), _registered("uniform")
_philox_op = register(
    "philox(Tensor counter, Tensor key) -> Tensor",
    _check_philox,
    lambda counter, key: counter.new_empty(counter.shape),
)


def placed(op: str, shape: tuple[int, ...], seed: int | Tensor) -> tuple[tuple[int, int, int, int], int | Tensor]:
    """-> ([B, C, H, W] in which noise of this shape is drawn, its seeds)."""
    seeds = seed_of(op, seed)
    if isinstance(seeds, int):
        return layout(shape, False), seeds
    if isinstance(seed, Tensor) and seeds.shape != shape[:1] and not (len(shape) != 4 and seeds.shape == (1,)):
        raise checks.fail(op, "seed", f"an int or a tensor of one seed a sample for shape {shape}", tuple(seeds.shape))
    return layout(shape, seeds.shape == shape[:1]), seeds


def draw(
    op: str,
    call: Callable,
    shape: Sequence[int],
    seed: int | Tensor,
    stream: int,
    origin: tuple[int, int],
    plane: int,
    *kind: Any,
) -> Tensor:
    shape = tuple(shape)
    place, seeds = placed(op, shape, seed)
    out = call(place, Source(seeds, stream, *origin, plane), *kind)
    return out if len(shape) == 4 else out.reshape(shape)


def normal(
    shape: Sequence[int],
    seed: int | Tensor,
    *,
    stream: int = 0,
    origin: tuple[int, int] = (0, 0),
    plane: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Standard normal noise; see the top of this file for what it is a function of.

    shape: [B, C, H, W], or [C, H, W] for one sample; any other shape is one row (with seeds: one a sample).
    seed: an int (modulo 2^64), planes are then plane + b C + c; or int64 [B], one a sample, planes are then plane + c.
    stream: in [0, 2^16), numbers the use (a sampler's step t takes stream t). origin: (y0, x0), this tile's place.
    dtype: the float32 value rounded (float16, bfloat16) or widened (float64). The compiled backends agree to the bit in
    float32; the reference evaluates in float64, rounds once and is within 4 ulp of them. No gradients.
    Raises TypeError on a seed of another kind, ValueError on a place, dtype or shape outside these ranges.
    """
    return draw("normal", _normal_op, shape, seed, stream, origin, plane, dtype, torch.device(device))


def uniform(
    shape: Sequence[int],
    seed: int | Tensor,
    *,
    stream: int = 0,
    origin: tuple[int, int] = (0, 0),
    plane: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Uniform noise, ((word >> 9) + 0.5) 2^-23: in (0, 1), equal on every backend. Arguments and errors as `normal`."""
    return draw("uniform", _uniform_op, shape, seed, stream, origin, plane, dtype, torch.device(device))


def philox(counter: Tensor, key: Tensor) -> Tensor:
    """The words of Philox4x32-10 themselves, for tests and for operators written elsewhere.

    counter: int64 [..., 4]; key: int64 [..., 2], leading dimensions broadcast; the low 32 bits of each value are taken.
    Returns int64 [..., 4] with values in [0, 2^32). Raises TypeError or ValueError on another dtype or shape.
    """
    checks.tensor("philox", "counter", counter)
    checks.tensor("philox", "key", key)
    if counter.dim() and key.dim() and counter.shape[:-1] != key.shape[:-1]:
        batch = torch.broadcast_shapes(counter.shape[:-1], key.shape[:-1])
        counter, key = counter.expand(*batch, counter.shape[-1]), key.expand(*batch, key.shape[-1])
    return _philox_op(counter, key)
