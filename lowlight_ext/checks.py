"""What the operators accept. Each message names the operator, the argument, what it takes and what came."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lowlight_ext import graphs
from lowlight_ext.common import Source
from lowlight_ext.kernels_compiled import call

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
TABLE_DTYPES = (torch.float32, torch.float64)
# the counter's words: x // 4, y and plane have 32 bits, and the words above 2^16 of the last belong to other operators
MAX_X, MAX_Y, MAX_PLANE, MAX_STREAM = 1 << 34, 1 << 32, 1 << 32, 1 << 16


def fail(op: str, argument: str, expected: str, got: object) -> ValueError:
    return ValueError(f"{op}: {argument} must be {expected}, got {got}")


def tensor(op: str, argument: str, value: object) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{op}: {argument} must be a tensor, got {type(value).__name__}")


def strided(op: str, argument: str, value: Tensor) -> None:
    if value.layout is not torch.strided:
        raise fail(op, argument, "a dense (strided) tensor", value.layout)


def floating(op: str, argument: str, value: Tensor) -> None:
    strided(op, argument, value)
    if value.dtype not in DTYPES:
        raise fail(op, argument, "float32, float64, float16 or bfloat16", value.dtype)


def matching(op: str, name: str, like: Tensor, **others: Tensor | None) -> None:
    """As `compared`, at once where all is well: not where a compiler traces the check itself."""
    if call._C is None or not call._C.alike(like, *others.values()):
        compared(op, name, like, **others)


def compared(op: str, name: str, like: Tensor, **others: Tensor | None) -> None:
    """The others are absent, or have the shape, dtype and device of `like`, the argument called `name`."""
    shape, dtype, device = like.shape, like.dtype, like.device
    for argument, value in others.items():
        if value is None:
            continue
        strided(op, argument, value)
        if value.shape != shape:
            raise fail(op, argument, f"of {name}'s shape {tuple(shape)}", tuple(value.shape))
        if value.dtype != dtype:
            raise fail(op, argument, f"of {name}'s dtype {dtype}", value.dtype)
        if value.device != device:
            raise fail(op, argument, f"on {name}'s device {device}", value.device)


def exactly(
    op: str, argument: str, value: Tensor, shape: tuple[int, ...], dtype: torch.dtype, name: str, like: Tensor
) -> None:
    """Of this shape and dtype, and on the device of `like`, the argument called `name`."""
    strided(op, argument, value)
    if value.shape != shape:
        raise fail(op, argument, f"of shape {tuple(shape)}", tuple(value.shape))
    if value.dtype != dtype:
        raise fail(op, argument, f"of dtype {dtype}", value.dtype)
    if value.device != like.device:
        raise fail(op, argument, f"on {name}'s device {like.device}", value.device)


def beside(op: str, name: str, like: Tensor, **others: Tensor | None) -> None:
    """The others are absent, or where `like` is, the argument called `name`: a kernel reads them there."""
    device = like.device
    for argument, value in others.items():
        if value is not None and value.device != device:
            raise fail(op, argument, f"on {name}'s device {device}", value.device)


def needed(op: str, value: Sequence[bool], count: int) -> None:
    """Which gradients a backward operator shall give, one answer for each."""
    if len(value) != count:
        raise fail(op, "needed", f"{count} answers, one for each gradient", f"{len(value)} of them")


def even_picture(op: str, argument: str, x: Tensor, divisor: int = 2) -> None:
    if x.dim() < 2:
        raise fail(op, argument, "of at least two dimensions [..., H, W]", tuple(x.shape))
    if x.shape[-1] % divisor or x.shape[-2] % divisor:
        raise fail(op, argument, f"of height and width divisible by {divisor}", tuple(x.shape))


def place(op: str, shape: Sequence[int], source: Source) -> None:
    """A tensor [B, C, H, W] of noise lies within the counters of Philox."""
    _, stream, y0, x0, plane = source
    batch, channels, height, width = shape
    if batch < 0 or channels < 0 or height < 0 or width < 0:
        raise fail(op, "shape", "of sizes not below 0", tuple(shape))
    if not 0 <= stream < MAX_STREAM:
        raise fail(op, "stream", f"in [0, {MAX_STREAM})", stream)
    if y0 < 0 or x0 < 0 or y0 + height > MAX_Y or x0 + width > MAX_X:
        raise fail(op, "origin", "(y0, x0) with 0 <= y0 <= 2^32 - H and 0 <= x0 <= 2^34 - W", (y0, x0))
    if plane < 0 or plane + batch * channels > MAX_PLANE:
        raise fail(op, "plane", "in [0, 2^32 - samples * channels]", plane)


def seeds(op: str, value: Tensor | int, batch: int) -> None:
    if isinstance(value, int):
        return
    strided(op, "seed", value)
    if value.dtype != torch.int64:
        raise fail(op, "seed", "an int or an int64 tensor", value.dtype)
    if value.dim() != 1 or value.shape[0] not in (1, batch):
        raise fail(op, "seed", f"an int or a tensor of one seed a sample, shape ({batch},)", tuple(value.shape))


def steps(op: str, t: Tensor, like: Tensor) -> None:
    if call._C is not None and call._C.fits(t, torch.int64, like.shape[:1], like.device):
        return
    strided(op, "t", t)
    if t.dtype != torch.int64:
        raise fail(op, "t", "int64", t.dtype)
    if t.dim() != 1 or t.shape[0] != like.shape[0]:
        raise fail(op, "t", f"of shape ({like.shape[0]},), one step a sample", tuple(t.shape))
    near(op, "t", t, like.device)


def table(op: str, argument: str, value: Tensor, device: torch.device) -> None:
    strided(op, argument, value)
    if value.dtype not in TABLE_DTYPES:
        raise fail(op, argument, "float32 or float64", value.dtype)
    near(op, argument, value, device)


def near(op: str, argument: str, value: Tensor, device: torch.device) -> None:
    """On the device of the pictures, or on the CPU, where values are looked at without waiting for a GPU."""
    if not value.is_cpu and value.device != device:
        raise fail(op, argument, f"on the CPU or on the device of the pictures, {device}", value.device)


def brought(op: str, argument: str, value: Tensor, device: torch.device) -> Tensor:
    """A small table or times on the device of the pictures; the host does not wait for the copy."""
    try:
        return graphs.brought(value, device)
    except ValueError as error:
        raise ValueError(f"{op}: {argument} {error}") from None


# The checks below read values, so they run when the operator does and not when a compiler traces it.


def readable(value: Tensor) -> bool:
    """False where a CUDA graph is being recorded: there are no values yet, and reading one would end the recording."""
    return not (value.is_cuda and torch.cuda.is_current_stream_capturing())


def within(value: Tensor, *bounds: float) -> bool:
    """Whether all values of a table lie in bounds (low, high), as NaN does not, or are finite where there are none; at
    once where it is dense on the CPU."""
    answer = None if call._C is None else call._C.within(value, *bounds)
    if answer is None:
        low, high = bounds or (-torch.finfo(value.dtype).max, torch.finfo(value.dtype).max)
        return not readable(value) or bool(((value >= low) & (value <= high)).all())
    return answer


def extremes(value: Tensor) -> list[float]:
    """[least, greatest], brought to the host together."""
    return torch.stack(torch.aminmax(value)).tolist()


def steps_in_table(op: str, t: Tensor, length: int, lowest: int | None) -> None:
    if within(t, -(1 << 62) if lowest is None else lowest, length - 1) or not t.numel() or not readable(t):
        return
    low, high = extremes(t)
    if high >= length or (lowest is not None and low < lowest):
        bound = "below" if lowest is None else f"at least {lowest} and below"
        raise fail(op, "t", f"{bound} the table's length {length}", f"values from {low} to {high}")


def finite(op: str, argument: str, value: Tensor) -> None:
    if not within(value) and readable(value):
        bad = int((~torch.isfinite(value)).sum())
        raise fail(op, argument, "finite", f"{bad} values that are NaN or infinite")


def probabilities(op: str, argument: str, value: Tensor) -> None:
    if not within(value, 0.0, 1.0) and readable(value):
        low, high = extremes(value)
        raise fail(op, argument, "in [0, 1] and not NaN", f"values from {low} to {high}")
