"""Activations of csrc/core/norm.h, within a few ulp of C++'s, not bit for bit; float64 has libdevice's exponential."""

import triton.language as tl

from lowlight_ext.kernels_triton.blocks import INTERPRETED, inlined
from lowlight_ext.kernels_triton.noise import exactly

# silu acts on what was normalised, mish on what is to be
NONE, SILU, MISH = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)
# multiply-adds of one exponential
EXPONENTIAL_FMAS = 8
# where e^x goes from the smallest normal number to infinity
LOWEST, HIGHEST = tl.constexpr(-87.3), tl.constexpr(88.8)
# adding it rounds to the nearest integer, which the low bits then hold
ROUND, LOG2_E = exactly("0x1.8p+23"), exactly("0x1.715476p+0")
# ln 2 in two parts, the first so short that its products are exact
LN2_SHORT, LN2_REST = exactly("-0x1.63p-1"), exactly("0x1.bd0106p-13")
# e^r = 1 + r + r^2 Q(r), highest power first
Q4, Q3 = exactly("0x1.6a2352p-10"), exactly("0x1.123a6cp-7")
Q2, Q1 = exactly("0x1.5558f4p-5"), exactly("0x1.55549p-3")
Q0 = exactly("0x1.fffffcp-2")


@inlined
def multiply_add(a, b, c):
    """Rounded once where the hardware does it at no cost."""
    if INTERPRETED:
        result = a * b + c
    else:
        result = tl.fma(a, b, c)
    return result


@inlined
def quotient(a, b):
    """Correctly rounded: Triton's own division of float32 is not."""
    if a.dtype == tl.float64:
        result = a / b
    else:
        result = tl.div_rn(a, b)
    return result


@inlined
def reciprocal(a):
    """1 / a of a block."""
    return quotient(tl.full(a.shape, 1.0, a.dtype), a)


@inlined
def root(a):
    if a.dtype == tl.float64:
        result = tl.sqrt(a)
    else:
        result = tl.sqrt_rn(a)
    return result


@inlined
def held(x, LO: tl.constexpr, HI: tl.constexpr):
    """In [LO, HI]; NaN stays."""
    return tl.where(x < LO, LO, tl.where(x > HI, HI, x))


@inlined
def exponential(x):
    """e^x; a float32 x is held in [-87.3, 88.8], of which the last gives infinity."""
    if x.dtype == tl.float64:
        result = tl.exp(x)
    else:
        x = held(x, LOWEST, HIGHEST)
        steps = multiply_add(x, LOG2_E, ROUND)
        n = steps - ROUND
        r = multiply_add(n, LN2_REST, multiply_add(n, LN2_SHORT, x))
        q = multiply_add(r, Q4, Q3)
        q = multiply_add(q, r, Q2)
        q = multiply_add(q, r, Q1)
        q = multiply_add(q, r, Q0)
        scale = ((steps.to(tl.int32, bitcast=True) << 23) + 0x3F800000).to(tl.float32, bitcast=True)
        result = (multiply_add(q, r * r, r) + 1.0) * scale
    return result


@inlined
def mish_exponent(x):
    """From 20 on tanh(ln(1 + e^x)) is 1 in float64 too; below -87 x e^x must not grow while the computed e^x stays."""
    return held(x, -87.0, 20.0)


@inlined
def silu(z):
    return quotient(z, 1.0 + exponential(-z))


@inlined
def silu_slope(z):
    e = 1.0 + exponential(-z)
    s = reciprocal(e)
    return s * (1.0 + z * (1.0 - s))


@inlined
def mish(x):
    """x tanh(ln(1 + e^x)) = x n / (n + 2) with n = e^x (e^x + 2): no cancellation on either side."""
    e = exponential(mish_exponent(x))
    n = e * (e + 2.0)
    return x * quotient(n, n + 2.0)


@inlined
def mish_and_slope(x):
    below = mish_exponent(x)
    e = exponential(below)
    n = e * (e + 2.0)
    whole = n + 2.0
    q = reciprocal(whole)
    return x * (n * q), n * q + 4.0 * below * (e * (1.0 + e)) * (q * q)
