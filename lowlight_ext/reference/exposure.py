"""Noise of a raw sensor and the exposure process in plain PyTorch."""

import torch
from torch import Tensor

from lowlight_ext.reference.haar import accumulator
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
from lowlight_ext.reference.step import columns, rounded, widened

# bits of `parts`, in the order in which they act
PARTS = {"u": 1, "P": 2, "p": 4, "r": 8, "g": 16, "G": 32}


def row_normals(shape, seeds: Tensor, stream: int, y0: int, plane: int, device) -> Tensor:
    """[B, 4, H, 1]: one normal a row of the sensor, whose rows 2y and 2y + 1 a packed row y holds: R, G1 and B, G2.

    It is pixel 0 of the sensor's row, in the plane of the sample's first channel.
    """
    batch, channels, height, _ = shape
    out = torch.empty(batch, channels, height, 1, device=device)
    own_key = seeds.numel() != 1
    for sample in range(batch):
        key, first = (seeds[sample : sample + 1], plane) if own_key else (seeds, plane + sample * channels)
        place = (stream_word(stream, ROW_NORMAL), 2 * y0, 0, first)
        z = normal((1, 1, 2 * height, 1), key, *place, torch.float32, device)
        out[sample] = z.reshape(height, 2, 1).movedim(1, 0).repeat_interleave(2, dim=0)
    return out


def raw_noise(clean, rows, parts, saturation, clip, seeds, stream, y0, x0, plane) -> Tensor:
    """Clean raw in [0, 1] -> y = clean S / ratio, then u, P or p, r, g or G in digital numbers, then y ratio / S."""
    dtype, shape = accumulator(clean.dtype), clean.shape
    gain, ratio, g_scale, G_scale, G_shape, R_scale = (c.double() for c in rows.double().unbind(-1))
    to_numbers, inverse_gain, to_image, gain, g_scale, G_scale, R_scale = columns(
        torch.stack((saturation / ratio, 1 / gain, ratio / saturation, gain, g_scale, G_scale, R_scale), -1), clean
    )

    def drawn(call, source):
        return call(shape, seeds, stream_word(stream, source), y0, x0, plane, dtype, clean.device)

    y = clean.to(dtype) * to_numbers
    if parts & PARTS["u"]:
        y = (y + (drawn(uniform, QUANTISATION) - 0.5)).clamp(min=0)
    if parts & PARTS["P"]:
        mean = (y * inverse_gain).clamp(min=0).float()
        y = gain * poisson(mean, seeds, stream, y0, x0, plane).to(dtype)
    elif parts & PARTS["p"]:
        y = y + root((gain * y).clamp(min=1e-10)) * drawn(normal, SIGNAL_NORMAL)
    if parts & PARTS["r"]:
        y = y + R_scale * row_normals(shape, seeds, stream, y0, plane, clean.device).to(dtype)
    if parts & PARTS["g"]:
        y = y + g_scale * drawn(normal, READ_NORMAL)
    elif parts & PARTS["G"]:
        u = uniform(shape, seeds, stream_word(stream, READ_TUKEY), y0, x0, plane, torch.float64, clean.device)
        y = y + G_scale * quantile(u, G_shape.reshape(-1, 1, 1, 1)).float().to(dtype)
    y = y * to_image
    return rounded(y.clamp(0, 1) if clip else y, clean)


def exposure_step(output, original, rows, counts, seeds, stream, y0, x0, plane) -> Tensor:
    """x = c (b clamp(original) + n), n ~ Poisson(a clamp(output)), or the counts given, or with neither the mean."""
    a, b, c = columns(rows, output)
    out, measured, counts = widened(output, output, original, counts)
    if counts is None:
        counts = a * out.clamp(0, 1)
        if seeds is not None:
            counts = poisson(counts.float(), seeds, stream, y0, x0, plane).to(counts.dtype)
    return rounded(c * (b * measured.clamp(0, 1) + counts), output)


def exposure_step_backward(grad, output, original, rows, needed=(True, True)) -> tuple[Tensor | None, ...]:
    """Gradients to output, straight through the counts, and to original; on its bounds the clamp passes them."""
    a, b, c = columns(rows, grad)
    g, output, original = widened(grad, grad, output, original)

    def gradient(factor, x):
        return rounded(torch.where((x >= 0) & (x <= 1), factor * g, 0), grad)

    pairs = ((c * a, output), (c * b, original))
    return tuple(gradient(*pair) if wanted else None for pair, wanted in zip(pairs, needed, strict=True))
