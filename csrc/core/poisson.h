// Poisson counts, exact up to float32: below 10 inversion of the distribution function, from 10 on transformed
// rejection (PTRS; Hoermann, "The transformed rejection method for generating Poisson random variables", 1993). Every
// operation is correctly rounded or an explicit fused multiply-add in a fixed order, so that every decision, and with
// it every count, is the same on a CPU level, CUDA, Triton and the reference.
#pragma once

#include "exponential.h"
#include "normal.h"
#include "sources.h"

namespace lowlight {

constexpr float kInversionBelow = 10.0f;
// counts beyond 2^24 are no longer integers in float32
constexpr float kMostMean = 1e7f;
// an attempt fails for at most a quarter of the pixels: 4^-64 never comes
constexpr uint32_t kMostAttempts = 64;

LOWLIGHT_FN bool poisson_mean_is_valid(float mean) {
    return (mean >= 0.0f) & (mean <= kMostMean);
}

// ---- inversion: the first k with left <= P(k), where left = level - P(0) - .. - P(k - 1)

// R is float, double or a vector of floats
template <class R>
struct Inversion {
    R left, probability;
};

// e^-mean
LOWLIGHT_FN float poisson_zero(float mean) {
    Exponential e = exponential(-mean);
    return fused(e.scale, e.rest, e.scale);
}

// `inverse` is 1 / (k + 1)
template <class R>
LOWLIGHT_FN void inversion_next(Inversion<R>& state, R mean, R inverse) {
    state.left = state.left - state.probability;
    state.probability = state.probability * (mean * inverse);
}

// a large word is a small level; words below 2^22, the upper tail, want more digits than float32 has
LOWLIGHT_FN bool inversion_is_tail(uint32_t word) {
    return (word >> 22) == 0;
}

LOWLIGHT_FN float inversion_level(uint32_t word) {
    return (float(int32_t(~word >> 8)) + 0.5f) * 0x1p-24f;
}

template <class R>
LOWLIGHT_FN float invert(Inversion<R> state, R mean) {
    int k = 0;
    for (; k < 64 && state.left > state.probability; ++k) inversion_next(state, mean, R(1) / R(k + 1));
    return float(k);
}

LOWLIGHT_FN float poisson_inversion(float mean, uint32_t word) {
    return invert(Inversion<float>{inversion_level(word), poisson_zero(mean)}, mean);
}

// the same in double, for one pixel in a thousand; e^-mean as the 32nd power of a Taylor series
LOWLIGHT_FN float poisson_tail(float mean, uint32_t word) {
    double x = double(mean) * -0x1p-5, zero = 1.0;
    for (int i = 12; i > 0; --i) zero = 1.0 + zero * x / double(i);
    for (int i = 0; i < 5; ++i) zero = zero * zero;
    double level = 1.0 - (double(word) + 0.5) * 0x1p-32;
    return invert(Inversion<double>{level, zero}, double(mean));
}

// ---- transformed rejection: k = floor((2 a / us + b) U + mean + 0.43) with us = 1/2 - |U|, U in [-1/2, 1/2]

struct Hat {
    float root, a, b;
};

struct Candidate {
    float count;      // k
    float offset;     // k - floor(mean)
    float us, slope;  // slope = a / us
};

// towards minus infinity, for |x| below 2^31
LOWLIGHT_FN float floor_of(float x) {
    float whole = float(int32_t(x));
    return whole > x ? whole - 1.0f : whole;
}

LOWLIGHT_FN Hat poisson_hat(float mean) {
    float deviation = root(mean);
    float b = 2.53f * deviation + 0.931f;
    return Hat{deviation, 0.02483f * b - 0.059f, b};
}

LOWLIGHT_FN Candidate poisson_candidate(float mean, Hat hat, uint32_t word) {
    float proposal = float(int32_t(word ^ 0x80000000u)) * 0x1p-32f;
    float us = 0.5f - (proposal < 0.0f ? -proposal : proposal);
    float slope = hat.a / us;
    float shift = (2.0f * slope + hat.b) * proposal;
    // such candidates are rejected; the bounds keep them integers
    shift = shift < -1e9f ? -1e9f : shift;
    shift = shift > 1e9f ? 1e9f : shift;
    // the integer part of the mean apart: its digits would push those of the shift out
    float whole = floor_of(mean);
    float offset = floor_of(shift + ((mean - whole) + 0.43f));
    return Candidate{whole + offset, offset, us, slope};
}

// inside the hat's squeeze; for most pixels the only test
LOWLIGHT_FN bool poisson_accepts_quickly(Hat hat, Candidate c, uint32_t word) {
    // v <= 0.9277 - 3.6224 / (b - 2)
    return (c.us >= 0.07f) & ((0.9277f - uniform(word)) * (hat.b - 2.0f) >= 3.6224f);
}

// what ln k! is more than (ln 2 pi) / 2 + z ln z - z, z = k + 1/2, within 2e-9 for every k >= 0
LOWLIGHT_FN float factorial_correction(float z) {
    float x = reciprocal(z);
    float c = 0x1.6eed0cp-13f;
    c = c * x + -0x1.1a7be4p-11f;
    c = c * x + -0x1.6af0d6p-13f;
    c = c * x + 0x1.446468p-9f;
    c = c * x + -0x1.35bb76p-18f;
    c = c * x + -0x1.555504p-5f;
    return c * x;
}

// z ln(z / mean) - z + mean, z = mean + delta, with the digits of delta: by v = delta / (z + mean) it is
// v delta + 2 z v^3 (1/3 + v^2 / 5 + ..), a minimax fit for |v| below 0.2
LOWLIGHT_FN float poisson_deviance(float mean, float z, float delta) {
    float v = delta / (mean + z), w = v * v;
    float series = 0x1.e67faep-4f;
    series = series * w + 0x1.242bd4p-3f;
    series = series * w + 0x1.999a6ep-3f;
    series = series * w + 0x1.555556p-2f;
    float near = v * delta + ((2.0f * z) * (v * w)) * series;
    float far = z * log_uniform(z / mean) - delta;
    return w < 0.04f ? near : far;
}

// ln P(k) = -(ln 2 pi mean) / 2 - deviance - correction, against the height of the proposal under the hat, which is
// v (1.1239 + 1.1328 / (b - 3.4)) / (a / us^2 + b), as one quotient
LOWLIGHT_FN bool poisson_accepts(float mean, Hat hat, Candidate c, uint32_t word) {
    constexpr float kRootTwoPi = 0x1.40d932p+1f;
    float v = uniform(word);
    float width = hat.b - 3.4f;
    float above = ((v * c.us) * (1.1239f * width + 1.1328f)) * (kRootTwoPi * hat.root);
    float height = above / (width * (c.slope + hat.b * c.us));
    float delta = (c.offset + 0.5f) - (mean - floor_of(mean));
    // rejected below whatever the logarithm of a negative number gives
    float z = c.count + 0.5f;
    bool under = log_uniform(height) + factorial_correction(z) <= -poisson_deviance(mean, z, delta);
    return under & (c.count >= 0.0f) & ((c.us >= 0.013f) | (v <= c.us));
}

// ---- one pixel; words(attempt, source) -> uint32_t

template <class Words>
LOWLIGHT_FN float poisson_rejection(float mean, uint32_t attempt, Words words) {
    Hat hat = poisson_hat(mean);
    Candidate c{mean, 0.0f, 0.0f, 0.0f};
    for (; attempt < kMostAttempts; ++attempt) {
        c = poisson_candidate(mean, hat, words(attempt, kPoissonFirst));
        uint32_t word = words(attempt, kPoissonSecond);
        if (poisson_accepts_quickly(hat, c, word) || poisson_accepts(mean, hat, c, word)) break;
    }
    return c.count;
}

// NaN for a mean that is not in [0, 1e7]
template <class Words>
LOWLIGHT_FN float poisson(float mean, Words words) {
    if (!poisson_mean_is_valid(mean)) return bit_cast<float>(0x7fc00000u);
    if (mean >= kInversionBelow) return poisson_rejection(mean, 0, words);
    uint32_t word = words(0, kPoissonFirst);
    return inversion_is_tail(word) ? poisson_tail(mean, word) : poisson_inversion(mean, word);
}

}  // namespace lowlight
