// pieces every CPU loop is made of: work in blocks that stay in the first-level cache, convert on the way in and out
#pragma once

#if defined(__SSE2__)
#    include <immintrin.h>
#endif
#if defined(_OPENMP)
#    include <omp.h>
#endif

#include "kernels.h"

namespace lowlight {
namespace LOWLIGHT_CPU_LEVEL {

// elements of a block: a dozen float arrays of it fit a first-level cache with room for the streams
constexpr int64_t kBlock = 512;
// below this many elements a parallel start costs more than it gains
constexpr int64_t kGrain = 32768;
// elements a thread takes at a time: on a busy machine the free cores do more of the work
constexpr int64_t kShare = 65536;
// outputs from this size on bypass the caches: they would be evicted before anybody reads them
constexpr int64_t kStreamBytes = int64_t(8) << 20;
// between the layers of a network the next one reads at once: only what no cache holds is streamed
constexpr int64_t kKeptBytes = int64_t(32) << 20;

// a function of whole blocks, called and not inlined: inlining compiles it again at every place
#define LOWLIGHT_BLOCK static __attribute__((noinline, unused))

LOWLIGHT_FN int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}
LOWLIGHT_FN int64_t share_of(int64_t whole, int64_t parts) {
    return (whole + parts - 1) / parts;
}

#define LOWLIGHT_PRAGMA(text) _Pragma(#text)
// over items that hold so many elements together
#define LOWLIGHT_PARALLEL(elements, items) \
    LOWLIGHT_PRAGMA(omp parallel for schedule(dynamic, taken_at_once(elements, items)) if ((elements) > kGrain))

LOWLIGHT_FN int64_t threads() {
#if defined(_OPENMP)
    return omp_get_max_threads();
#else
    return 1;
#endif
}

// items a thread takes at a time: of kShare elements, but so few that every thread has some
LOWLIGHT_FN int64_t taken_at_once(int64_t elements, int64_t items) {
    int64_t each = elements / (items > 0 ? items : 1), usual = kShare / (each > 0 ? each : 1);
    int64_t share = smaller(usual, items / (4 * threads()));
    return share > 0 ? share : 1;
}

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

// numbers of a tensor that are computed in R, their stored type known when the kernel runs: one switch a block costs
// nothing, and the compiler makes two kernels, for float and double, instead of four
template <class R>
struct Stored {
    char* start;
    DType dtype;

    Stored(const void* from, DType dtype_) : start(const_cast<char*>(static_cast<const char*>(from))), dtype(dtype_) {}
    LOWLIGHT_METHOD int64_t bytes() const {
        return sizeof(R) == 8 || dtype == DType::f32 ? int64_t(sizeof(R)) : int64_t(sizeof(Half));
    }
    LOWLIGHT_METHOD bool plain() const { return sizeof(R) == 8 || dtype == DType::f32; }
    LOWLIGHT_METHOD Stored operator+(int64_t i) const { return Stored(start + i * bytes(), dtype); }
    template <class T>
    LOWLIGHT_METHOD T* as() const {
        return reinterpret_cast<T*>(start);
    }
};

template <class R>
LOWLIGHT_FN const R* load(Stored<R> from, R* buffer, int64_t n) {
    if (from.plain()) return from.template as<const R>();
    if constexpr (sizeof(R) == 4) {
        if (from.dtype == DType::f16) return load(from.template as<const Half>(), buffer, n);
        return load(from.template as<const BFloat16>(), buffer, n);
    }
    return buffer;
}

template <class R>
LOWLIGHT_FN void store(Stored<R> to, const R* from, int64_t n, bool stream) {
    if (to.plain()) return store(to.template as<R>(), from, n, stream);
    if constexpr (sizeof(R) == 4) {
        if (to.dtype == DType::f16) return store(to.template as<Half>(), from, n, stream);
        store(to.template as<BFloat16>(), from, n, stream);
    }
}

template <class R>
LOWLIGHT_FN void prefetch(Stored<R> from, int64_t n) {
    prefetch(from.start, n * from.bytes());
}

// calls `body(type tag)` with what a dtype code is computed in
template <class Body>
LOWLIGHT_FN void dispatch_real(DType dtype, Body body) {
    if (dtype == DType::f64) return body(double());
    body(float());
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
