// work that the threads of a block do together. A body runs in steps: crew.each(step) calls step(thread) once on every
// thread, crew.sum adds up what some of them hold. Plain C++: crew.cuh is the crew of a CUDA block; a test has one that
// runs a step for one thread after the other, and adds in the same order.
#pragma once

#include "grid.h"

// loops over arrays that are to lie in registers, and loops that gain nothing by being unrolled
#if defined(__CUDA_ARCH__)
#    define LOWLIGHT_UNROLL _Pragma("unroll")
#    define LOWLIGHT_ROLLED _Pragma("unroll 1")
#else
#    define LOWLIGHT_UNROLL
#    define LOWLIGHT_ROLLED
#endif

namespace lowlight {

constexpr int kWarp = 32;

// A body has: `items` blocks of work, `threads` (a power of two, kWarp to kMostThreads) that share one,
// kSharedBytes for its largest sum, and run(crew, item). Every thread passes every crew.sum.

// The sum over those threads whose numbers differ in the bits from `low` to below `high` alone, both powers of two. In
// a warp they add in pairs, the widest apart first; where high > kWarp every warp then writes what its lanes hold
// (`lanes` different sums), and every thread adds what the warps of its own sum wrote, in turn. So all of them have the
// same bits.
struct WarpSum {
    int lanes, step, warps;  // of one sum: its warps, and from one of these to the next

    LOWLIGHT_METHOD WarpSum(int low, int high)
        : lanes(low < kWarp ? low : kWarp), step(low < kWarp ? 1 : low / kWarp), warps(high / kWarp / step) {}

    template <int kCount, class R>
    LOWLIGHT_METHOD void write(R* shared, int thread, const R* sums) const {
        int warp = thread / kWarp, lane = thread % kWarp;
        if (lane >= lanes) return;
        LOWLIGHT_UNROLL
        for (int i = 0; i < kCount; ++i) shared[(warp * kCount + i) * lanes + lane] = sums[i];
    }

    template <int kCount, class R>
    LOWLIGHT_METHOD void read(const R* shared, int thread, R* sums) const {
        int warp = thread / kWarp, first = warp - warp / step % warps * step, lane = thread % lanes;
        LOWLIGHT_UNROLL
        for (int i = 0; i < kCount; ++i) sums[i] = R(0);
        // the warps outside, and their loop kept: unrolled for every number it is most of a kernel
        LOWLIGHT_ROLLED
        for (int w = 0; w < warps; ++w) {
            const R* of = shared + (first + w * step) * kCount * lanes + lane;
            LOWLIGHT_UNROLL
            for (int i = 0; i < kCount; ++i) sums[i] += of[i * lanes];
        }
    }
};

// numbers that a sum of `count` numbers over the threads from `low` on takes in shared memory
constexpr int shared_numbers(int threads, int low, int count) {
    return threads / kWarp * (low < kWarp ? low : kWarp) * count;
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
