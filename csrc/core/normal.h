// uniforms and normals of Philox words. Every operation below is exact, correctly rounded, or an explicit fused
// multiply-add, in a fixed order: a CPU level, CUDA and Triton that follow it give the same bits.
#pragma once

#include "real.h"

namespace lowlight {

// u = ((word >> 9) + 0.5) 2^-23, never 0 or 1: the bits of 1 + (word >> 9) 2^-23, and an exact difference
LOWLIGHT_FN float uniform(uint32_t word) {
    return bit_cast<float>(shifted_right(0x7fu, word, 9)) - 0x1.fffffep-1f;
}

// kTimes ln u, kTimes 1 or -2, of a normal u > 0, within 0.9 ulp: u = 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)),
// ln u = e ln 2 + f - f^2 / 2 + f^3 P(f); P is the minimax fit of the relative error (6e-9). Powers of two in the
// constants change no rounding. Of anything else some number: unsigned differences wrap where signed ones would
// overflow
template <int kTimes = 1>
LOWLIGHT_FN float log_uniform(float u) {
    constexpr uint32_t kSqrtHalf = 0x3f3504f3u;
    uint32_t bits = bit_cast<uint32_t>(u) - kSqrtHalf, top = bits & 0xff800000u;
    float f = bit_cast<float>(bits - top + kSqrtHalf) - 1.0f;
    // e 2^23
    float exponent = float(int32_t(top));
    float f2 = f * f;
    float p = kTimes * -0x1.38c49ep-4f;
    p = fused(p, f, kTimes * 0x1.055d5ep-3f);
    p = fused(p, f, kTimes * -0x1.0d8292p-3f);
    p = fused(p, f, kTimes * 0x1.22d964p-3f);
    p = fused(p, f, kTimes * -0x1.547288p-3f);
    p = fused(p, f, kTimes * 0x1.99a01ap-3f);
    p = fused(p, f, kTimes * -0x1.000226p-2f);
    p = fused(p, f, kTimes * 0x1.555554p-2f);
    // ln 2 in two parts
    float tail = fused(exponent, kTimes * -0x1.05c61p-52f, (f2 * f) * p);
    tail = kTimes == -2 ? f2 + tail : fused(kTimes * -0.5f, f2, tail);
    float rest = kTimes == 1 ? f + tail : fused(float(kTimes), f, tail);
    return fused(exponent, kTimes * 0x1.62e43p-24f, rest);
}

struct Turn {
    float cosine, sine;
};

// radius times cos and sin of 2 pi u, each of the two within 0.9 ulp, near their zeros too: the quadrant and the rest
// r = 4 u - quadrant in [-1/2, 1/2] are exact; sin(pi r / 2) = r pi/2 + r S(r^2), cos(pi r / 2) = 1 + r^2 C(r^2)
LOWLIGHT_FN Turn turn(uint32_t word, float radius) {
    // half a quadrant further on: two bits of the quadrant, and r + 1/2 in the others
    uint32_t place = word + (1u << 29);
    float r = bit_cast<float>(((place >> 7) & 0x7ffffcu) | 0x3f800002u) - 1.5f;
    float z = r * r;
    float s = -0x1.2da156p-8f;
    s = fused(s, z, 0x1.465eeap-4f);
    s = fused(s, z, -0x1.4abbbap-1f);
    // what pi/2 lacks in float32
    s = fused(s, z, -0x1.a32bd2p-25f);
    s = fused(r, 0x1.921fb6p+0f, r * s);
    float c = 0x1.d4f7eep-11f;
    c = fused(c, z, -0x1.55b2b6p-6f);
    c = fused(c, z, 0x1.03c1bp-2f);
    c = fused(c, z, -0x1.3bd3ccp+0f);
    c = fused(c, z, 1.0f);
    bool swap = has_bits(place, 0x40000000u);
    // the other half of the circle
    radius = bit_cast<float>(bit_cast<uint32_t>(radius) ^ (place & 0x80000000u));
    return Turn{radius * (swap ? -s : c), radius * (swap ? c : s)};
}

// Box-Muller: r cos(2 pi u_odd), r sin(2 pi u_odd) with r = sqrt(-2 ln u_even)
LOWLIGHT_FN Turn normal_pair(uint32_t even, uint32_t odd) {
    return turn(odd, root(log_uniform<-2>(uniform(even))));
}

}  // namespace lowlight
