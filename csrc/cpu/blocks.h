// pieces every CPU loop is made of: work in blocks that stay in the first-level cache, convert on the way in and out
#pragma once

#if defined(__SSE2__)
#    include <immintrin.h>
#endif

#include "kernels.h"

namespace lowlight {
namespace LOWLIGHT_CPU_LEVEL {

// elements of a block: a dozen float arrays of it fit a first-level cache with room for the streams
constexpr int64_t kBlock = 512;
// below this many elements a parallel start costs more than it gains
constexpr int64_t kGrain = 32768;
// what a thread takes at a time: on a busy machine the free cores do more of the work
constexpr int64_t kShare = 65536;
// outputs from this size on bypass the caches: they would be evicted before anybody reads them
constexpr int64_t kStreamBytes = int64_t(8) << 20;
// between the layers of a network the next one reads at once: only what no cache holds is streamed
constexpr int64_t kKeptBytes = int64_t(32) << 20;

#define LOWLIGHT_PRAGMA(text) _Pragma(#text)
// over items of at most kBlock elements
#define LOWLIGHT_PARALLEL(elements) \
    LOWLIGHT_PRAGMA(omp parallel for schedule(dynamic, kShare / kBlock) if ((elements) > kGrain))

template <class T, class R>
LOWLIGHT_FN const R* load(const T* from, R* buffer, int64_t n) {
    for (int64_t i = 0; i < n; ++i) buffer[i] = widen(from[i]);
    return buffer;
}

// already what is computed in: no copy
LOWLIGHT_FN const float* load(const float* from, float*, int64_t) {
    return from;
}
LOWLIGHT_FN const double* load(const double* from, double*, int64_t) {
    return from;
}

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

// asks for n elements that are read soon; an address beyond the tensor does no harm
template <class T>
LOWLIGHT_FN void prefetch(const T* from, int64_t n) {
    const char* line = reinterpret_cast<const char*>(from);
    for (int64_t i = 0; i < n * int64_t(sizeof(T)); i += 64) __builtin_prefetch(line + i);
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
        case DType::f32:
            return body(float());
        case DType::f64:
            return body(double());
        case DType::f16:
            return body(Half());
        case DType::bf16:
            return body(BFloat16());
    }
}

// std::vector would be shared by the levels at link time
template <class T>
struct Scratch {
    T* values;
    explicit Scratch(int64_t n) : values(new T[n]) {}
    ~Scratch() { delete[] values; }
    Scratch(const Scratch&) = delete;
};

LOWLIGHT_FN Block one_row_a_sample(Block size) {
    return Block{size.batch, 1, 1, size.channels * size.height * size.width};
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
