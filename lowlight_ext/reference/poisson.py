"""Poisson counts and Tukey-lambda noise in plain PyTorch.

Counts are decided in float32, one rounded operation after the other, as the compiled backends do: the same integers.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lowlight_ext.common import Source, seed_tensor
from lowlight_ext.reference.noise import MASK, Words, draw, philox_words, uniforms
from lowlight_ext.reference.roots import root

# counter word 3 = stream + 2^16 (16 attempt + source); source 0 of attempt 0 belongs to `normal` and `uniform`
POISSON_FIRST, POISSON_SECOND, QUANTISATION, SIGNAL_NORMAL, ROW_NORMAL, READ_NORMAL, READ_TUKEY = range(1, 8)
INVERSION_BELOW = 10.0
MOST_MEAN = 1e7
MOST_ATTEMPTS = 64
# pixels decided at once
CHUNK = 1 << 18


def stream_word(stream: int, source: int, attempt: int = 0) -> int:
    return stream + ((16 * attempt + source) << 16)


class Pixels:
    """Some pixels of a block [B, C, H, W] and the words that belong to them."""

    def __init__(self, at: Tensor, shape: Sequence[int], source: Source) -> None:
        _, channels, height, width = shape
        seeds, (_, stream, y0, x0, plane) = seed_tensor(source.seeds), source
        self.place = (shape, source)
        self.at, self.stream = at, stream
        row = at // width
        sample = row // (channels * height)
        own_key = seeds.numel() != 1
        self.x = x0 + at % width
        self.y = y0 + row % height
        self.plane = plane + row // height - (sample * channels if own_key else 0)
        seeds = seeds.to(at.device)
        self.key = seeds[sample] if own_key else seeds.expand(at.numel())

    def kept(self, which: Tensor) -> "Pixels":
        return Pixels(self.at[which], *self.place)

    def words(self, source: int, attempt: int = 0) -> Tensor:
        """One word a pixel, int64 holding 32 bits."""
        w3 = stream_word(self.stream, source, attempt)
        words = philox_words(self.x // 4, self.y, self.plane, w3, self.key & MASK, (self.key >> 32) & MASK)
        return torch.stack(words, dim=-1).gather(-1, (self.x % 4)[:, None])[:, 0]


def fused(a: Tensor, b: Tensor | float, c: Tensor | float) -> Tensor:
    """a * b + c of float32 rounded once: the product is exact in float64."""
    b, c = (v.double() if isinstance(v, Tensor) else v for v in (b, c))
    return (a.double() * b + c).float()


def over(a: Tensor | float, b: Tensor) -> Tensor:
    """A true division: PyTorch's quotients with a number multiply by a reciprocal."""
    return (a if isinstance(a, Tensor) else b.new_tensor(a)) / b


def horner(x: Tensor, coefficients: Sequence[str], step: Callable) -> Tensor:
    """A polynomial, highest power first, from the digits of its float32 coefficients."""
    first, *rest = (float.fromhex(c) for c in coefficients)
    value = torch.full_like(x, first)
    for c in rest:
        value = step(value, x, c)
    return value


LOG = (
    *("-0x1.38c49ep-4", "0x1.055d5ep-3", "-0x1.0d8292p-3", "0x1.22d964p-3"),
    *("-0x1.547288p-3", "0x1.99a01ap-3", "-0x1.000226p-2", "0x1.555554p-2"),
)
LN2_HIGH, LN2_LOW = float.fromhex("0x1.62e43p-1"), float.fromhex("-0x1.05c61p-29")


def log(x: Tensor) -> Tensor:
    """ln of positive float32 within an ulp: x = 2^e (1 + f), e ln 2 + f - f^2 / 2 + f^3 P(f)."""
    bits = x.contiguous().view(torch.int32)
    e = (bits - 0x3F3504F3) >> 23
    f = (bits - (e << 23)).view(torch.float32) - 1
    exponent, f2 = e.float(), f * f
    tail = fused(exponent, LN2_LOW, (f2 * f) * horner(f, LOG, fused))
    return fused(exponent, LN2_HIGH, f + fused(f2, -0.5, tail))


def exp_of_minus(x: Tensor) -> Tensor:
    """e^-x of float32 in [0, 10]: -x = n ln 2 + f, 2^n (1 + f + f^2 Q(f))."""
    n = (x.double() * -float.fromhex("0x1.715476p+0")).round().float()
    f = fused(n, -LN2_LOW, fused(n, -LN2_HIGH, -x))
    q = horner(f, ("0x1.6d9914p-10", "0x1.12281cp-7", "0x1.555486p-5", "0x1.5554bp-3", "0x1p-1"), fused)
    scale = torch.ldexp(torch.ones_like(n), n.int())
    return fused(scale, fused(f * f, q, f), scale)


def first_not_below(level: Tensor, zero: Tensor, mean: Tensor) -> Tensor:
    """The first k whose P(0) + .. + P(k) reaches `level`, P(0) = `zero`."""
    count, probability = torch.zeros_like(level), zero
    for k in range(64):
        more = level > probability
        if not more.any():
            break
        count += more
        level = level - probability
        probability = probability * (mean * (1 / torch.full((), k + 1, dtype=mean.dtype, device="cpu")).item())
    return count


def inversion(mean: Tensor, words: Tensor) -> Tensor:
    """Means below 10: the inverse of the distribution function; a large word is a small level.

    Words below 2^22, the upper tail, are decided in float64: float32 has too few digits below 1.
    """
    level = (((~words & MASK) >> 8).float() + 0.5) * 2.0**-24
    count = first_not_below(level, exp_of_minus(mean), mean)
    tail = words < 1 << 22
    wide, level = mean[tail].double(), 1 - (words[tail].double() + 0.5) * 2.0**-32
    return count.masked_scatter(tail, first_not_below(level, (-wide).exp(), wide).float())


def factorial_correction(z: Tensor) -> Tensor:
    """ln k! - (ln 2 pi) / 2 - z ln z + z with z = k + 1/2, within 2e-9."""
    x = over(1.0, z)
    digits = ("0x1.6eed0cp-13", "-0x1.1a7be4p-11", "-0x1.6af0d6p-13", "0x1.446468p-9", "-0x1.35bb76p-18")
    return horner(x, (*digits, "-0x1.555504p-5"), lambda a, b, c: a * b + c) * x


def deviance(mean: Tensor, z: Tensor, delta: Tensor) -> Tensor:
    """z ln(z / mean) - z + mean with z = mean + delta, by a series where delta is small."""
    v = over(delta, mean + z)
    w = v * v
    digits = ("0x1.e67faep-4", "0x1.242bd4p-3", "0x1.999a6ep-3", "0x1.555556p-2")
    near = v * delta + ((2 * z) * (v * w)) * horner(w, digits, lambda a, b, c: a * b + c)
    return torch.where(w < 0.04, near, z * log(over(z, mean)) - delta)


def attempt_rejection(mean: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Means from 10 on, PTRS (Hoermann 1993): -> (candidates k, whether they are accepted).

    k = floor((2 a / us + b) U + mean + 0.43); then ln P(k) = -(ln 2 pi mean) / 2 - deviance - correction is compared.
    """
    sigma = root(mean)
    b = 2.53 * sigma + 0.931
    a = 0.02483 * b - 0.059
    proposal = (first - 2**31).float() * 2.0**-32
    us = 0.5 - proposal.abs()
    slope = over(a, us)
    shift = ((2 * slope + b) * proposal).clamp(-1e9, 1e9)
    fraction = mean - mean.floor()
    offset = (shift + (fraction + 0.43)).floor()
    count = mean.floor() + offset
    (v,) = uniforms((second,), torch.float32)
    # v <= 0.9277 - 3.6224 / (b - 2)
    quick = (us >= 0.07) & ((0.9277 - v) * (b - 2) >= 3.6224)
    # v (1.1239 + 1.1328 / (b - 3.4)) / (a / us^2 + b), as one quotient
    width = b - 3.4
    above = ((v * us) * (1.1239 * width + 1.1328)) * (float.fromhex("0x1.40d932p+1") * sigma)
    height = over(above, width * (slope + b * us))
    z, delta = count + 0.5, (offset + 0.5) - fraction
    under = log(height) + factorial_correction(z) <= -deviance(mean, z, delta)
    return count, quick | (under & (count >= 0) & ((us >= 0.013) | (v <= us)))


def counts(mean: Tensor, pixels: Pixels) -> Tensor:
    """Counts of float32 means, one a pixel; NaN where a mean is none."""
    out = torch.full_like(mean, math.nan)
    small = (mean >= 0) & (mean < INVERSION_BELOW)
    if small.any():
        out[small] = inversion(mean[small], pixels.kept(small).words(POISSON_FIRST))
    left = ((mean >= INVERSION_BELOW) & (mean <= MOST_MEAN)).nonzero()[:, 0]
    for attempt in range(MOST_ATTEMPTS):
        if not left.numel():
            break
        some = pixels.kept(left)
        out[left], accepted = attempt_rejection(
            mean[left], some.words(POISSON_FIRST, attempt), some.words(POISSON_SECOND, attempt)
        )
        left = left[~accepted]
    return out


def poisson(mean: Tensor, source: Source) -> Tensor:
    """Poisson counts of means [B, C, H, W], in their dtype; drawn for the means in float32."""
    flat, out = mean.float().flatten(), torch.empty(mean.numel(), device=mean.device)
    for start in range(0, flat.numel(), CHUNK):
        part = flat[start : start + CHUNK]
        at = torch.arange(start, start + part.numel(), device=mean.device)
        out[start : start + CHUNK] = counts(part, Pixels(at, mean.shape, source))
    return out.reshape(mean.shape).to(mean.dtype)


def quantile(u: Tensor, lam: Tensor | float) -> Tensor:
    """Tukey's lambda: (u^lam - (1 - u)^lam) / lam of float64 u, ln(u / (1 - u)) at 0."""
    lam = torch.as_tensor(lam, dtype=torch.float64, device=u.device)
    lam = torch.where(lam.abs() < 2.0**-60, 2.0**-60, lam)
    return (torch.expm1(lam * u.log()) - torch.expm1(lam * (-u).log1p())) / lam


def tukey_lambda(shape: Sequence[int], source: Source, lam: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Tukey-lambda noise of shape [B, C, H, W], evaluated in float64 and rounded once."""

    def pixels(words: Words) -> Tensor:
        u = torch.stack(uniforms(torch.broadcast_tensors(*words), torch.float64), dim=-1)
        return quantile(u, lam).float()

    return draw(pixels, shape, source._replace(stream=stream_word(source.stream, READ_TUKEY)), dtype, device)
