// noise of a piece of a row, into a buffer: what noise.cpp stores, and step.cpp and q_sample.cpp add on the way
#pragma once

#include "../core/noise.h"
#include "blocks.h"

#if defined(__ARM_NEON)
#    include <arm_neon.h>
#endif

namespace lowlight {
namespace LOWLIGHT_CPU_LEVEL {

#if defined(__AVX512F__)
constexpr int kLanes = 8;
#elif defined(__AVX2__)
constexpr int kLanes = 4;
#else
constexpr int kLanes = 2;
#endif
typedef uint64_t Lanes __attribute__((vector_size(8 * kLanes)));

// the low half of every lane times a multiplier, one instruction (compilers would multiply all 64 bits)
struct LaneProduct {
    LOWLIGHT_METHOD Lanes operator()(Lanes lanes, uint32_t multiplier) const {
#if defined(__AVX512F__)
        return Lanes(_mm512_mul_epu32(__m512i(lanes), _mm512_set1_epi64(multiplier)));
#elif defined(__AVX2__)
        return Lanes(_mm256_mul_epu32(__m256i(lanes), _mm256_set1_epi64x(multiplier)));
#elif defined(__SSE2__)
        return Lanes(_mm_mul_epu32(__m128i(lanes), _mm_set1_epi64x(multiplier)));
#elif defined(__ARM_NEON)
        return Lanes(vmull_n_u32(vmovn_u64(uint64x2_t(lanes)), multiplier));
#else
        return (lanes & uint64_t(0xffffffffu)) * uint64_t(multiplier);
#endif
    }
};

struct NoiseBuffer {
    // kBlock pixels from any x on touch kBlock / 4 + 1 counters; rounded up so that no loop has a remainder
    static constexpr int64_t kCounters = kBlock / 4 + 16;
    alignas(64) uint32_t w0[kCounters], w1[kCounters], w2[kCounters], w3[kCounters];
    alignas(64) float pixels[4 * kCounters];
};

// `counters` is a multiple of 16; even counters in one vector, odd ones in the other, so that the low halves of both
// interleave into words in order
LOWLIGHT_FN void draw_words(NoiseBuffer& buffer, NoiseLine line, uint32_t counter, int64_t counters) {
    uint32_t* words[4] = {buffer.w0, buffer.w1, buffer.w2, buffer.w3};
    const Lanes zero = {}, low_half = zero + 0xffffffffu;
    Lanes steps = {};
    for (int i = 0; i < kLanes; ++i) steps[i] = 2 * i;
    for (int64_t i = 0; i < counters; i += 2 * kLanes) {
        Lanes even = steps + uint64_t(counter + uint32_t(i)), odd = even + 1;
        Lanes y = zero + line.y, plane = zero + line.plane, stream = zero + line.stream;
        auto a = philox_rounds(Counter<Lanes>{even, y, plane, stream}, line.key0, line.key1, LaneProduct());
        auto b = philox_rounds(Counter<Lanes>{odd, y, plane, stream}, line.key0, line.key1, LaneProduct());
        Lanes evens[4] = {a.w0, a.w1, a.w2, a.w3}, odds[4] = {b.w0, b.w1, b.w2, b.w3};
        for (int k = 0; k < 4; ++k) {
            Lanes pair = (evens[k] & low_half) | (odds[k] << 32);
            memcpy(words[k] + i, &pair, sizeof(pair));
        }
    }
}

// noise of pixels x .. x + n - 1 (n <= kBlock) of a row
template <bool kNormal>
static __attribute__((noinline)) const float* draw_line(NoiseBuffer& buffer, NoiseLine line, int64_t x, int64_t n) {
    int64_t first = line.x + x, skip = first & 3;
    uint32_t counter = uint32_t(uint64_t(first >> 2));
    int64_t counters = (((skip + n + 3) >> 2) + 15) & ~int64_t(15);
    draw_words(buffer, line, counter, counters);
    for (int64_t i = 0; i < counters; ++i) {
        float* pixel = buffer.pixels + 4 * i;
        if (kNormal) {
            Turn low = normal_pair(buffer.w0[i], buffer.w1[i]), high = normal_pair(buffer.w2[i], buffer.w3[i]);
            pixel[0] = low.cosine;
            pixel[1] = low.sine;
            pixel[2] = high.cosine;
            pixel[3] = high.sine;
        } else {
            pixel[0] = uniform(buffer.w0[i]);
            pixel[1] = uniform(buffer.w1[i]);
            pixel[2] = uniform(buffer.w2[i]);
            pixel[3] = uniform(buffer.w3[i]);
        }
    }
    return buffer.pixels + skip;
}

// noise is float; double arithmetic widens it
LOWLIGHT_FN const float* load_noise(const float* from, float*, int64_t) {
    return from;
}
LOWLIGHT_FN const double* load_noise(const float* from, double* buffer, int64_t n) {
    for (int64_t i = 0; i < n; ++i) buffer[i] = double(from[i]);
    return buffer;
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
