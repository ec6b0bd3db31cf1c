// uniforms and normals of Philox words. Every operation below is exact, correctly rounded, or an explicit fused
// multiply-add, in a fixed order: a CPU level, CUDA and Triton that follow it give the same bits.
#pragma once

#include "real.h"

namespace lowlight {

// u = ((word >> 9) + 0.5) 2^-23 = m 2^-24 with m odd: exact in float32, never 0 or 1
LOWLIGHT_FN int32_t odd_numerator(uint32_t word) {
    return int32_t((word >> 8) | 1u);
}

LOWLIGHT_FN float uniform(uint32_t word) {
    return float(odd_numerator(word)) * 0x1p-24f;
}

// ln u of a normal u > 0, within 0.9 ulp: u = 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)),
// ln u = e ln 2 + f - f^2 / 2 + f^3 P(f); P is the minimax fit of the relative error (6e-9). Of anything else some
// number: unsigned differences wrap where signed ones would overflow
LOWLIGHT_FN float log_uniform(float u) {
    constexpr uint32_t kSqrtHalf = 0x3f3504f3u;
    uint32_t bits = bit_cast<uint32_t>(u);
    int32_t e = int32_t(bits - kSqrtHalf) >> 23;
    float f = bit_cast<float>(bits - (uint32_t(e) << 23)) - 1.0f;
    float exponent = float(e);
    float f2 = f * f;
    float p = -0x1.38c49ep-4f;
    p = fused(p, f, 0x1.055d5ep-3f);
    p = fused(p, f, -0x1.0d8292p-3f);
    p = fused(p, f, 0x1.22d964p-3f);
    p = fused(p, f, -0x1.547288p-3f);
    p = fused(p, f, 0x1.99a01ap-3f);
    p = fused(p, f, -0x1.000226p-2f);
    p = fused(p, f, 0x1.555554p-2f);
    // ln 2 in two parts
    float tail = fused(exponent, -0x1.05c61p-29f, (f2 * f) * p);
    tail = fused(-0.5f, f2, tail);
    return fused(exponent, 0x1.62e43p-1f, f + tail);
}

struct Turn {
    float cosine, sine;
};

// cos and sin of 2 pi m 2^-24, each within 0.9 ulp, near their zeros too: the quadrant and the rest
// r = 4 u - quadrant in [-1/2, 1/2] are exact; sin(pi r / 2) = r pi/2 + r S(r^2), cos(pi r / 2) = 1 + r^2 C(r^2)
LOWLIGHT_FN Turn turn(int32_t m) {
    int32_t quadrant = (m + (1 << 21)) >> 22;
    float r = float(m - (quadrant << 22)) * 0x1p-22f;
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
    bool swap = (quadrant & 1) != 0;
    uint32_t cosine = bit_cast<uint32_t>(swap ? s : c) ^ (uint32_t((quadrant + 1) & 2) << 30);
    uint32_t sine = bit_cast<uint32_t>(swap ? c : s) ^ (uint32_t(quadrant & 2) << 30);
    return Turn{bit_cast<float>(cosine), bit_cast<float>(sine)};
}

// Box-Muller: r cos(2 pi u_odd), r sin(2 pi u_odd) with r = sqrt(-2 ln u_even)
LOWLIGHT_FN Turn normal_pair(uint32_t even, uint32_t odd) {
    float radius = square_root(-2.0f * log_uniform(uniform(even)));
    Turn direction = turn(odd_numerator(odd));
    return Turn{radius * direction.cosine, radius * direction.sine};
}

}  // namespace lowlight
