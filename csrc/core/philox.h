// Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011
#pragma once

#include "real.h"

namespace lowlight {

struct Words {
    uint32_t w0, w1, w2, w3;
};

// a lane is 64 bits wide and its low half counts: one product gives both halves that a round needs, and nothing has to
// be masked between the rounds. `Lane` is uint64_t or a vector of it.
template <class Lane>
struct Counter {
    Lane w0, w1, w2, w3;
};

// the low half of a lane times a multiplier
struct ScalarProduct {
    LOWLIGHT_METHOD uint64_t operator()(uint64_t lane, uint32_t multiplier) const {
#if defined(__CUDA_ARCH__)
        // the compiler would add the upper half's product, which is 0
        uint64_t product;
        asm("mul.wide.u32 %0, %1, %2;" : "=l"(product) : "r"(uint32_t(lane)), "r"(multiplier));
        return product;
#else
        return uint64_t(uint32_t(lane)) * multiplier;
#endif
    }
};

template <class Lane, class Product>
LOWLIGHT_FN Counter<Lane> philox_rounds(Counter<Lane> counter, uint32_t key0, uint32_t key1, Product product) {
    constexpr uint32_t kMultiplier0 = 0xD2511F53u, kMultiplier1 = 0xCD9E8D57u;
    constexpr uint32_t kWeyl0 = 0x9E3779B9u, kWeyl1 = 0xBB67AE85u;
#if defined(__CUDA_ARCH__) || defined(__clang__)
#    pragma unroll
#elif !defined(__CUDACC__)
#    pragma GCC unroll 10
#endif
    for (int round = 0; round < 10; ++round) {
        Lane product0 = product(counter.w0, kMultiplier0), product1 = product(counter.w2, kMultiplier1);
        counter = Counter<Lane>{(product1 >> 32) ^ counter.w1 ^ uint64_t(key0), product1,
                                (product0 >> 32) ^ counter.w3 ^ uint64_t(key1), product0};
        key0 += kWeyl0;
        key1 += kWeyl1;
    }
    return counter;
}

LOWLIGHT_FN Words philox(Words c, uint32_t key0, uint32_t key1) {
    Counter<uint64_t> r = philox_rounds(Counter<uint64_t>{c.w0, c.w1, c.w2, c.w3}, key0, key1, ScalarProduct());
    return Words{uint32_t(r.w0), uint32_t(r.w1), uint32_t(r.w2), uint32_t(r.w3)};
}

}  // namespace lowlight
