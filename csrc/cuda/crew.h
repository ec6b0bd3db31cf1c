// work that the threads of a block do together. A body runs in steps: crew.each(step) calls step(thread) once on every
// thread, crew.sum adds up what some of them hold, and crew.finished_sum makes something of the sums, once for all.
// Plain C++: crew.cuh is the crew of a CUDA block; a test has one that runs a step for one thread after the other, and
// adds in the same order.
#pragma once

#include "grid.h"

// loops over arrays that are to lie in registers, and loops that gain nothing by being unrolled
#if defined(__CUDA_ARCH__)
#    define LOWLIGHT_UNROLL _Pragma("unroll")
#    define LOWLIGHT_ROLLED _Pragma("unroll 1")
#    define LOWLIGHT_FOUR_AT_ONCE _Pragma("unroll 4")
#else
#    define LOWLIGHT_UNROLL
#    define LOWLIGHT_ROLLED
#    define LOWLIGHT_FOUR_AT_ONCE
#endif

namespace lowlight {

constexpr int kWarp = 32;

// A body has: `items` blocks of work, `threads` (a power of two, kWarp to kMostThreads) that share one,
// kSharedBytes for its largest sum, and run(crew, item). Every thread passes every crew.sum.

// of a power of two
LOWLIGHT_FN int bits_below(int power) {
#if defined(__CUDA_ARCH__)
    return 31 - __clz(power);
#else
    return __builtin_ctz(power);
#endif
}

// The sum over those threads whose numbers differ in the bits from `low` to below `high` alone, both powers of two. In
// a warp they add in pairs, the widest apart first; where high > kWarp, and > low, every warp then writes what its
// lanes hold (2^lanes different sums), each sum is added up by one thread, warp after warp, and all threads read their
// own. So all of them have the same bits.
struct WarpSum {
    // bits: of the lanes of different sums, of the way from a warp of a sum to the next, of these
    int lanes, step, warps;

    LOWLIGHT_METHOD WarpSum(int low, int high)
        : lanes(bits_below(low < kWarp ? low : kWarp)),
          step(low < kWarp ? 0 : bits_below(low / kWarp)),
          warps(bits_below(high / kWarp) - step) {}

    template <int kCount, class R>
    LOWLIGHT_METHOD void write(R* parts, int thread, const R* sums) const {
        int warp = thread / kWarp, lane = thread % kWarp;
        if (lane >> lanes) return;
        LOWLIGHT_UNROLL
        for (int i = 0; i < kCount; ++i) parts[((warp * kCount + i) << lanes) + lane] = sums[i];
    }

    // and finish(sums), of kCount / kPart numbers that lie kPart apart
    template <int kCount, int kPart, class R, class Finish>
    LOWLIGHT_METHOD void add(const R* parts, R* totals, int thread, int threads, Finish finish) const {
        constexpr int kTogether = kCount / kPart;
        int all = (threads / kWarp >> warps << lanes) * kPart, next = kCount << lanes << step;
        LOWLIGHT_ROLLED
        for (int number = thread; number < all; number += threads) {
            int lane = number & ((1 << lanes) - 1), rest = number >> lanes, i = rest % kPart, set = rest / kPart;
            int warp = (set >> step << step << warps) + (set & ((1 << step) - 1));
            const R* from = parts + ((warp * kCount + i) << lanes) + lane;
            R sums[kTogether] = {};
            LOWLIGHT_FOUR_AT_ONCE
            for (int w = 0; w < 1 << warps; ++w, from += next) {
                LOWLIGHT_UNROLL
                for (int j = 0; j < kTogether; ++j) sums[j] += from[j * kPart << lanes];
            }
            finish(sums);
            R* to = totals + ((set << lanes) + lane) * kCount + i;
            LOWLIGHT_UNROLL
            for (int j = 0; j < kTogether; ++j) to[j * kPart] = sums[j];
        }
    }

    template <int kCount, class R>
    LOWLIGHT_METHOD void read(const R* totals, int thread, R* sums) const {
        int warp = thread / kWarp, set = (warp >> step >> warps << step) + (warp & ((1 << step) - 1));
        const R* from = totals + ((set << lanes) + (thread & ((1 << lanes) - 1))) * kCount;
        alignas(16) R found[kCount];
        if constexpr (sizeof(found) % 16 == 0) {
            move_wide<sizeof(found)>(found, from);
        } else {
            LOWLIGHT_UNROLL
            for (int i = 0; i < kCount; ++i) found[i] = from[i];
        }
        LOWLIGHT_UNROLL
        for (int i = 0; i < kCount; ++i) sums[i] = found[i];
    }
};

// numbers that a sum of `count` numbers over the threads from `low` on takes in shared memory: what the warps wrote,
// and from its end on backwards the sums, half as many at most
constexpr int shared_numbers(int threads, int low, int count) {
    return threads / kWarp * (low < kWarp ? low : kWarp) * count * 3 / 2;
}

// where these begin
template <int kCount, class R>
LOWLIGHT_FN R* totals_of(const WarpSum& sum, void* shared, int bytes, int threads) {
    return static_cast<R*>(shared) + bytes / int(sizeof(R)) - (threads / kWarp >> sum.warps << sum.lanes) * kCount;
}

// the same where no sum leaves its warp
template <int kCount, int kPart, class R, class Finish>
LOWLIGHT_FN void finish_own(R* sums, Finish finish) {
    constexpr int kTogether = kCount / kPart;
    LOWLIGHT_UNROLL
    for (int i = 0; i < kPart; ++i) {
        R together[kTogether];
        LOWLIGHT_UNROLL
        for (int j = 0; j < kTogether; ++j) together[j] = sums[i + j * kPart];
        finish(together);
        LOWLIGHT_UNROLL
        for (int j = 0; j < kTogether; ++j) sums[i + j * kPart] = together[j];
    }
}

// the least power of two that is not below n, within [least, most], powers of two themselves
LOWLIGHT_FN int power_of_two(int64_t n, int least, int most) {
    int power = least;
    while (power < most && power < n) power *= 2;
    return power;
}

LOWLIGHT_FN int64_t ceil_divide(int64_t n, int64_t by) {
    return (n + by - 1) / by;
}

// elements that a thread takes at once: 16 bytes, two times 16 of float64. They stay together where they are not
// aligned, too, and are then read one by one: the order of sums does not hang on addresses.
template <class T>
constexpr int kVector = sizeof(T) < 4 ? 8 : 4;
template <class T, bool kAligned>
using Vector = Group<kVector<T>, kAligned>;
// vectors that fill 32 registers
template <class T>
constexpr int kSlots = 128 / (kVector<T> * int(sizeof(Real<T>)));

// calls run(true or false, as a type) where rows of `width` elements at these addresses are whole aligned vectors
template <class T, class Run>
const char* with_alignment(int64_t width, uintptr_t misaligned, Run run) {
    if (width % kVector<T> == 0 && misaligned == 0) return run(std::true_type());
    return run(std::false_type());
}

// elementwise: wide groups, or single elements side by side
template <class T, class Run>
const char* with_vectors(int64_t width, uintptr_t misaligned, Run run) {
    if (width % kVector<T> == 0 && misaligned == 0) return run(Vector<T, true>(0, 0, 0, 0));
    return run(Group<1, false>(0, 0, 0, 0));
}

}  // namespace lowlight
