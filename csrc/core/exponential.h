// e^t from explicit operations, the same bits everywhere
#pragma once

#include "real.h"

namespace lowlight {

// e^t = scale (1 + rest): scale a power of two, |rest| below 0.42
struct Exponential {
    float scale, rest;
};

// t in [-87, 88], beyond taken as the bound; `rest` within 2e-8 of its size: t = n ln 2 + f, rest = f + f^2 Q(f),
// minimax
LOWLIGHT_FN Exponential exponential(float t) {
    constexpr float kRounder = 0x1.8p+23f;
    t = t < -87.0f ? -87.0f : t;
    t = t > 88.0f ? 88.0f : t;
    float shifted = fused(t, 0x1.715476p+0f, kRounder);
    int32_t n = bit_cast<int32_t>(shifted) - bit_cast<int32_t>(kRounder);
    float whole = shifted - kRounder;
    // ln 2 in two parts
    float f = fused(whole, -0x1.62e43p-1f, t);
    f = fused(whole, 0x1.05c61p-29f, f);
    float q = 0x1.6d9914p-10f;
    q = fused(q, f, 0x1.12281cp-7f);
    q = fused(q, f, 0x1.555486p-5f);
    q = fused(q, f, 0x1.5554bp-3f);
    q = fused(q, f, 0.5f);
    return Exponential{bit_cast<float>((n + 127) << 23), fused(f * f, q, f)};
}

}  // namespace lowlight
