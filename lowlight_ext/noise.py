"""Noise that is a function of (seed, stream, plane, y, x) alone: not of device, dtype, batch, threads or tile.

Philox4x32-10 (Salmon et al., SC 2011): key = the seed's low and high 32 bits, counter = (x // 4, y, plane, stream),
and word x % 4 belongs to pixel x. Uniforms are ((word >> 9) + 0.5) 2^-23, normals Box-Muller of words (0, 1), (2, 3).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lowlight_ext import checks
from lowlight_ext.backends import implementation
from lowlight_ext.registry import no_mode, register

# int seeds as tensors, which are only read: making one costs as much as a small kernel
_seeds: dict[int, Tensor] = {}
MOST_SEEDS = 64


def seed_tensor(op: str, seed: int | Tensor) -> Tensor:
    """An int modulo 2^64 as int64 [1]; a tensor stays."""
    if isinstance(seed, Tensor):
        return seed.reshape(1) if seed.dim() == 0 else seed
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"{op}: seed must be an int or an int64 tensor, got {type(seed).__name__}")
    if not -(1 << 63) <= seed < 1 << 63:
        seed = (seed + (1 << 63)) % (1 << 64) - (1 << 63)
    if not no_mode() or torch.is_inference_mode_enabled():
        return torch.tensor([seed], device="cpu")
    if seed not in _seeds:
        if len(_seeds) >= MOST_SEEDS:
            _seeds.clear()
        # whatever torch's default device is
        _seeds[seed] = torch.tensor([seed], device="cpu")
    return _seeds[seed]


def layout(shape: Sequence[int], one_a_sample: bool) -> tuple[int, int, int, int]:
    """The [B, C, H, W] in which noise of this shape is drawn: pictures as they are, everything else as rows."""
    if len(shape) == 4:
        return tuple(shape)
    if len(shape) == 3:
        return 1, *shape
    count = 1
    for size in shape[1:] if one_a_sample else shape:
        count *= size
    return (shape[0] if one_a_sample else 1), 1, 1, count


def check_draw(op, shape, seeds, stream, y0, x0, plane, dtype) -> None:
    if len(shape) != 4:
        raise checks.fail(op, "shape", "[B, C, H, W]", tuple(shape))
    checks.place(op, shape, stream, y0, x0, plane)
    checks.seeds(op, seeds, shape[0])
    if dtype not in checks.DTYPES:
        raise checks.fail(op, "dtype", "float32, float64, float16 or bfloat16", dtype)


def _kernel(op: str):
    def kernel(shape, seeds, stream, y0, x0, plane, dtype, device):
        check_draw(op, shape, seeds, stream, y0, x0, plane, dtype)
        return getattr(implementation(op, device.type), op)(shape, seeds, stream, y0, x0, plane, dtype, device)

    return kernel


def _fake(op: str):
    def fake(shape, seeds, stream, y0, x0, plane, dtype, device):
        check_draw(op, shape, seeds, stream, y0, x0, plane, dtype)
        return torch.empty(shape, dtype=dtype, device=device)

    return fake


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


def _philox_kernel(counter: Tensor, key: Tensor) -> Tensor:
    _check_philox(counter, key)
    return implementation("philox", counter.device.type).philox(counter, key)


def _philox_fake(counter: Tensor, key: Tensor) -> Tensor:
    _check_philox(counter, key)
    return counter.new_empty(counter.shape)


_ARGUMENTS = "(SymInt[] shape, Tensor seeds, SymInt stream, SymInt y0, SymInt x0, SymInt plane, "
_RESULT = "ScalarType dtype, Device device) -> Tensor"
_normal_op = register(f"normal{_ARGUMENTS}{_RESULT}", _kernel("normal"), _fake("normal"))
_uniform_op = register(f"uniform{_ARGUMENTS}{_RESULT}", _kernel("uniform"), _fake("uniform"))
_philox_op = register("philox(Tensor counter, Tensor key) -> Tensor", _philox_kernel, _philox_fake)


def placed(op: str, shape: tuple[int, ...], seed: int | Tensor) -> tuple[tuple[int, int, int, int], Tensor]:
    """-> ([B, C, H, W] in which noise of this shape is drawn, its seeds)."""
    seeds = seed_tensor(op, seed)
    if isinstance(seed, Tensor) and seeds.shape != shape[:1] and not (len(shape) != 4 and seeds.shape == (1,)):
        raise checks.fail(op, "seed", f"an int or a tensor of one seed a sample for shape {shape}", tuple(seeds.shape))
    return layout(shape, isinstance(seed, Tensor) and seeds.shape == shape[:1]), seeds


def draw(op: str, call, shape, seed, stream, origin, plane, dtype, device) -> Tensor:
    shape, (y0, x0) = tuple(shape), origin
    place, seeds = placed(op, shape, seed)
    out = call(place, seeds, stream, y0, x0, plane, dtype, torch.device(device))
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
    return draw("normal", _normal_op, shape, seed, stream, origin, plane, dtype, device)


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
    return draw("uniform", _uniform_op, shape, seed, stream, origin, plane, dtype, device)


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
