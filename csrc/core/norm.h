// normalisations and the activations beside them, one element: within a few ulp, not bit for bit (the order of sums
// is each backend's own)
#pragma once

#include <cmath>

#include "real.h"

namespace lowlight {

// silu acts on what was normalised, mish on what is to be
enum class Activation : int { none = 0, silu = 1, mish = 2 };

// rounded once only where the hardware does it at no cost, unlike fused()
LOWLIGHT_FN float multiply_add(float a, float b, float c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__CUDA_ARCH__)
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}
LOWLIGHT_FN double multiply_add(double a, double b, double c) {
    return a * b + c;
}

// e^x = e^rest 2^steps in two parts, so that a loop may run over each by itself: short chains overlap, long ones wait
template <class R>
struct Reduced {
    R rest, steps;
};

// x = n ln 2 + rest with |rest| <= ln 2 / 2. x is held in [-87.3, 88.8], where e^x goes from the smallest normal number
// to infinity, by its bits: float comparisons would cost more than all the rest. NaN becomes some number: callers
// multiply by x, too.
LOWLIGHT_FN Reduced<float> reduced(float x) {
    // adding it rounds to the nearest integer, which the low bits then hold
    constexpr float kRound = 12582912.0f;
    // negative numbers are ordered by magnitude, above all positive ones
    uint32_t magnitude = bit_cast<uint32_t>(x), lowest = 0xc2ae999au;
    int32_t bits = int32_t(magnitude < lowest ? magnitude : lowest), highest = 0x42b1999a;
    x = bit_cast<float>(bits < highest ? bits : highest);
    float steps = multiply_add(x, 0x1.715476p+0f, kRound), n = steps - kRound;
    // ln 2 in two parts
    float rest = multiply_add(n, -0x1.62e43p-1f, x);
    return Reduced<float>{multiply_add(n, 0x1.05c61p-29f, rest), steps};
}

// e^rest = 1 + rest + rest^2 Q(rest), Q the minimax fit of the relative error (3e-9): within 0.75 ulp
LOWLIGHT_FN float power(Reduced<float> p) {
    float r = p.rest, q = 0x1.6a2352p-10f;
    q = multiply_add(q, r, 0x1.123a6cp-7f);
    q = multiply_add(q, r, 0x1.5558f4p-5f);
    q = multiply_add(q, r, 0x1.55549p-3f);
    q = multiply_add(q, r, 0x1.fffffcp-2f);
    float scale = bit_cast<float>((bit_cast<uint32_t>(p.steps) << 23) + 0x3f800000u);
    return (multiply_add(q, r * r, r) + 1.0f) * scale;
}

LOWLIGHT_FN Reduced<double> reduced(double x) {
    return Reduced<double>{x, 0.0};
}
LOWLIGHT_FN double power(Reduced<double> p) {
    return exp(p.rest);
}

// what e is the power of: silu needs e = e^-z, mish e = e^x held below 20, from where on tanh(ln(1 + e^x)) is 1 in
// float64 too, and above -87, from where on x e^x must not grow while the computed e^x stays
template <class R>
LOWLIGHT_FN R mish_exponent(R x) {
    R below = x > R(20) ? R(20) : x;
    return below < R(-87) ? R(-87) : below;
}

template <class R>
LOWLIGHT_FN R silu(R z, R e) {
    return z / (R(1) + e);
}

template <class R>
LOWLIGHT_FN R silu_slope(R z, R e) {
    R s = R(1) / (R(1) + e);
    return s * (R(1) + z * (R(1) - s));
}

// mish(x) = x tanh(ln(1 + e^x)) = x n / (n + 2) with n = e^x (e^x + 2): no cancellation on either side
template <class R>
LOWLIGHT_FN R mish(R x, R e) {
    R n = e * (e + R(2));
    return x * (n / (n + R(2)));
}

template <class R>
LOWLIGHT_FN R mish_slope(R x, R e) {
    R n = e * (e + R(2)), q = R(1) / (n + R(2));
    return n * q + R(4) * mish_exponent(x) * (e * (R(1) + e)) * (q * q);
}

// scale = weight / sqrt(variance + eps), shift = bias
template <class R>
LOWLIGHT_FN R normalised(R v, R mean, R scale, R shift) {
    return (v - mean) * scale + shift;
}

// the gradient to what was normalised from that to the result: level and tilt are what the mean and the variance take
template <class R>
LOWLIGHT_FN R norm_gradient(R grad, R v, R mean, R scale, R level, R tilt) {
    return scale * grad - level - (v - mean) * tilt;
}

}  // namespace lowlight
