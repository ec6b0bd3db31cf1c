// Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011
#pragma once

#include "real.h"

namespace lowlight {

struct Words {
    uint32_t w0, w1, w2, w3;
};

LOWLIGHT_FN uint32_t high_product(uint32_t a, uint32_t b) { return uint32_t((uint64_t(a) * b) >> 32); }

LOWLIGHT_FN Words philox(Words counter, uint32_t key0, uint32_t key1) {
    constexpr uint32_t kMultiplier0 = 0xD2511F53u, kMultiplier1 = 0xCD9E8D57u;
    constexpr uint32_t kWeyl0 = 0x9E3779B9u, kWeyl1 = 0xBB67AE85u;
#if defined(__CUDA_ARCH__) || defined(__clang__)
#    pragma unroll
#else
#    pragma GCC unroll 10
#endif
    for (int round = 0; round < 10; ++round) {
        uint32_t high0 = high_product(kMultiplier0, counter.w0), low0 = kMultiplier0 * counter.w0;
        uint32_t high1 = high_product(kMultiplier1, counter.w2), low1 = kMultiplier1 * counter.w2;
        counter = Words{high1 ^ counter.w1 ^ key0, low1, high0 ^ counter.w3 ^ key1, low0};
        key0 += kWeyl0;
        key1 += kWeyl1;
    }
    return counter;
}

}  // namespace lowlight
