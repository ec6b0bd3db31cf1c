// pieces every CPU loop is made of: work in blocks that stay in the first-level cache, convert on the way in and out
#pragma once

#if defined(__SSE2__)
#    include <immintrin.h>
#endif

#include <cstdlib>

#include "../core/normal.h"
#include "../core/philox.h"
#include "kernels.h"

namespace lowlight {
namespace LOWLIGHT_CPU_LEVEL {

// elements of a block: four float arrays of it fill a third of a first-level cache
constexpr int64_t kBlock = 1024;
// below this many elements a parallel start costs more than it gains
constexpr int64_t kGrain = 32768;
// outputs from this size on bypass the caches: they would be evicted before anybody reads them
constexpr int64_t kStreamBytes = int64_t(8) << 20;

#define LOWLIGHT_PRAGMA(text) _Pragma(#text)
#define LOWLIGHT_PARALLEL(elements) LOWLIGHT_PRAGMA(omp parallel for schedule(static) if ((elements) > kGrain))

template <class T, class R>
LOWLIGHT_FN const R* load(const T* from, R* buffer, int64_t n) {
    for (int64_t i = 0; i < n; ++i) buffer[i] = widen(from[i]);
    return buffer;
}

// already what is computed in: no copy
LOWLIGHT_FN const float* load(const float* from, float*, int64_t) { return from; }
LOWLIGHT_FN const double* load(const double* from, double*, int64_t) { return from; }

LOWLIGHT_FN void stream_bytes(void* to, const void* from, int64_t n) {
    char* target = static_cast<char*>(to);
    const char* source = static_cast<const char*>(from);
#if defined(__AVX512F__)
    using Line = __m512i;
#elif defined(__AVX2__)
    using Line = __m256i;
#elif defined(__SSE2__)
    using Line = __m128i;
#endif
#if defined(__SSE2__)
    constexpr int64_t kLine = sizeof(Line);
    int64_t head = -reinterpret_cast<intptr_t>(target) & 63;
    head = head < n ? head : n;
    memcpy(target, source, head);
    target += head, source += head, n -= head;
    for (; n >= kLine; target += kLine, source += kLine, n -= kLine) {
#    if defined(__AVX512F__)
        _mm512_stream_si512(reinterpret_cast<Line*>(target), _mm512_loadu_si512(source));
#    elif defined(__AVX2__)
        _mm256_stream_si256(reinterpret_cast<Line*>(target), _mm256_loadu_si256(reinterpret_cast<const Line*>(source)));
#    else
        _mm_stream_si128(reinterpret_cast<Line*>(target), _mm_loadu_si128(reinterpret_cast<const Line*>(source)));
#    endif
    }
#endif
    memcpy(target, source, n);
}

// makes streamed stores visible before the parallel region ends
LOWLIGHT_FN void stream_fence() {
#if defined(__SSE2__)
    _mm_sfence();
#endif
}

template <class T, class R>
LOWLIGHT_FN void store(T* to, const R* from, int64_t n, bool stream) {
    static_assert(sizeof(T) <= sizeof(R), "narrowing or plain");
    if (!stream) {
        for (int64_t i = 0; i < n; ++i) to[i] = narrow<T>(from[i]);
    } else if (sizeof(T) == sizeof(R)) {
        stream_bytes(to, from, n * int64_t(sizeof(T)));
    } else {
        alignas(64) T narrowed[kBlock];
        for (int64_t i = 0; i < n; ++i) narrowed[i] = narrow<T>(from[i]);
        stream_bytes(to, narrowed, n * int64_t(sizeof(T)));
    }
}

// calls `body(type tag)` with the stored type of a dtype code
template <class Body>
LOWLIGHT_FN void dispatch(DType dtype, Body body) {
    switch (dtype) {
        case DType::f32: return body(float());
        case DType::f64: return body(double());
        case DType::f16: return body(Half());
        case DType::bf16: return body(BFloat16());
    }
}

// one row of noise: the key and the counter words that stay the same along x
struct NoiseLine {
    uint32_t key0, key1, y, plane, stream;
    int64_t x;  // of the row's first pixel
};

LOWLIGHT_FN NoiseLine noise_line(const NoiseSource& source, int64_t sample, int64_t channel, int64_t y) {
    uint64_t seed = uint64_t(source.seeds[sample * source.seed_step]);
    return NoiseLine{uint32_t(seed),
                     uint32_t(seed >> 32),
                     uint32_t(source.y0 + y),
                     uint32_t(source.plane + sample * source.plane_step + channel),
                     source.stream,
                     source.x0};
}

LOWLIGHT_FN Block one_row_a_sample(Block size) {
    return Block{size.batch, 1, 1, size.channels * size.height * size.width};
}

struct NoiseBuffer {
    // kBlock pixels from any x on touch kBlock / 4 + 1 counters; rounded up so that no loop has a remainder
    static constexpr int64_t kCounters = kBlock / 4 + 16;
    alignas(64) uint32_t w0[kCounters], w1[kCounters], w2[kCounters], w3[kCounters];
    alignas(64) float pixels[4 * kCounters];
};

// noise of pixels x .. x + n - 1 (n <= kBlock) of a row
template <bool kNormal>
LOWLIGHT_FN const float* draw_line(NoiseBuffer& buffer, NoiseLine line, int64_t x, int64_t n) {
    int64_t first = line.x + x, skip = first & 3;
    uint32_t counter = uint32_t(uint64_t(first >> 2));
    int64_t counters = (((skip + n + 3) >> 2) + 15) & ~int64_t(15);
    for (int64_t i = 0; i < counters; ++i) {
        Words words = philox(Words{counter + uint32_t(i), line.y, line.plane, line.stream}, line.key0, line.key1);
        buffer.w0[i] = words.w0;
        buffer.w1[i] = words.w1;
        buffer.w2[i] = words.w2;
        buffer.w3[i] = words.w3;
    }
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
LOWLIGHT_FN const float* load_noise(const float* from, float*, int64_t) { return from; }
LOWLIGHT_FN const double* load_noise(const float* from, double* buffer, int64_t n) {
    for (int64_t i = 0; i < n; ++i) buffer[i] = double(from[i]);
    return buffer;
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
