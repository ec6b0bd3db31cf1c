"""Noise of a raw sensor and the exposure process in plain PyTorch."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lowlight_ext.common import Source, accumulator, seed_tensor
from lowlight_ext.reference.noise import normal, uniform
from lowlight_ext.reference.poisson import (
    QUANTISATION,
    READ_NORMAL,
    READ_TUKEY,
    ROW_NORMAL,
    SIGNAL_NORMAL,
    poisson,
    quantile,
    stream_word,
)
from lowlight_ext.reference.roots import root
from lowlight_ext.reference.step import columns, rounded, wide

# bits of `parts`, in the order in which they act
PARTS = {"u": 1, "P": 2, "p": 4, "r": 8, "g": 16, "G": 32}


def row_normals(shape: Sequence[int], source: Source, device: torch.device) -> Tensor:
    """[B, 4, H, 1]: one normal a row of the sensor, whose rows 2y and 2y + 1 a packed row y holds: R, G1 and B, G2.

    It is pixel 0 of the sensor's row, in the plane of the sample's first channel.
    """
    seeds, (_, stream, y0, _, plane) = seed_tensor(source.seeds), source
    batch, channels, height, _ = shape
    out = torch.empty(batch, channels, height, 1, device=device)
    own_key = seeds.numel() != 1
    for sample in range(batch):
        key, first = (seeds[sample : sample + 1], plane) if own_key else (seeds, plane + sample * channels)
        row = Source(key, stream_word(stream, ROW_NORMAL), 2 * y0, 0, first)
        z = normal((1, 1, 2 * height, 1), row, torch.float32, device)
        out[sample] = z.reshape(height, 2, 1).movedim(1, 0).repeat_interleave(2, dim=0)
    return out


def raw_noise(clean: Tensor, rows: Tensor, parts: int, saturation: float, clip: bool, source: Source) -> Tensor:
    """Clean raw in [0, 1] -> y = clean S / ratio, then u, P or p, r, g or G in digital numbers, then y ratio / S."""
    dtype, shape = accumulator(clean.dtype), clean.shape
    gain, ratio, g_scale, G_scale, G_shape, R_scale = (c.double() for c in rows.double().unbind(-1))
    to_numbers, inverse_gain, to_image, gain, g_scale, G_scale, R_scale = columns(
        torch.stack((saturation / ratio, 1 / gain, ratio / saturation, gain, g_scale, G_scale, R_scale), -1), clean
    )

    def drawn(call: Callable, use: int, dtype: torch.dtype = dtype) -> Tensor:
        words = source._replace(stream=stream_word(source.stream, use))
        return call(shape, words, dtype, clean.device)

    y = clean.to(dtype) * to_numbers
    if parts & PARTS["u"]:
        y = (y + (drawn(uniform, QUANTISATION) - 0.5)).clamp(min=0)
    if parts & PARTS["P"]:
        mean = (y * inverse_gain).clamp(min=0).float()
        y = gain * poisson(mean, source).to(dtype)
    elif parts & PARTS["p"]:
        y = y + root((gain * y).clamp(min=1e-10)) * drawn(normal, SIGNAL_NORMAL)
    if parts & PARTS["r"]:
        y = y + R_scale * row_normals(shape, source, clean.device).to(dtype)
    if parts & PARTS["g"]:
        y = y + g_scale * drawn(normal, READ_NORMAL)
    elif parts & PARTS["G"]:
        u = drawn(uniform, READ_TUKEY, torch.float64)
        y = y + G_scale * quantile(u, G_shape.reshape(-1, 1, 1, 1)).float().to(dtype)
    y = y * to_image
    return rounded(y.clamp(0, 1) if clip else y, clean)


def exposure_step(
    output: Tensor, original: Tensor, rows: Tensor, counts: Tensor | None, source: Source | None
) -> Tensor:
    """x = c (b clamp(original) + n), n ~ Poisson(a clamp(output)), or the counts given, or with neither the mean."""
    a, b, c = columns(rows, output)
    n = a * wide(output).clamp(0, 1) if counts is None else wide(counts)
    if source is not None:
        n = poisson(n.float(), source).to(n.dtype)
    return rounded(c * (b * wide(original).clamp(0, 1) + n), output)


def exposure_step_backward(
    grad: Tensor, output: Tensor, original: Tensor, rows: Tensor, needed: Sequence[bool] = (True, True)
) -> tuple[Tensor | None, ...]:
    """Gradients to output, straight through the counts, and to original; on its bounds the clamp passes them."""
    a, b, c = columns(rows, grad)
    g = wide(grad)

    def gradient(factor: Tensor, x: Tensor) -> Tensor:
        return rounded(torch.where((x >= 0) & (x <= 1), factor * g, 0), grad)

    pairs = ((c * a, wide(output)), (c * b, wide(original)))
    return tuple(gradient(*pair) if wanted else None for pair, wanted in zip(pairs, needed, strict=True))
