// the matrix products of a Winograd convolution: a few rows of points in the first-level cache, weights from beyond it
#pragma once

#include "sums.h"

namespace lowlight {
namespace LOWLIGHT_CPU_LEVEL {

// rows of a product for what is left over; whether the next weights are asked for ahead: few rows go through them
// faster than they come by themselves
#if defined(__AVX512F__)
constexpr int64_t kFew = 4;
constexpr bool kAhead = false;
#else
constexpr int64_t kFew = 3;
constexpr bool kAhead = true;
#endif
constexpr int64_t kPack = 2 * kWidth;

// the first kPack columns of to [rows, kPanel] = from [rows, channels], `width` apart, times weight [channels, kPack],
// in which channels that one product sums lie side by side
template <int64_t rows, class T>
static void product(float* to, const T* from, const T* weight, int64_t channels, int64_t width) {
    Register sums[rows][2];
#pragma GCC unroll 12
    for (int64_t row = 0; row < rows; ++row) sums[row][0] = sums[row][1] = Register{};
    // there is a channel, and the compiler should know: else it keeps the sums in memory too
    int64_t c = 0;
    do {
        const float* next = reinterpret_cast<const float*>(weight + c * kPack);
        Register left, right;
        get(left, next), get(right, next + kWidth);
        if (kAhead) __builtin_prefetch(weight + (channels + c) * kPack, 0, 2);
#pragma GCC unroll 12
        for (int64_t row = 0; row < rows; ++row) {
            const T* value = from + row * width + c;
            add_product(sums[row][0], left, value), add_product(sums[row][1], right, value);
        }
    } while ((c += kTogether<T>) < channels);
#pragma GCC unroll 12
    for (int64_t row = 0; row < rows; ++row)
        put(to + row * kPanel, sums[row][0]), put(to + row * kPanel + kWidth, sums[row][1]);
}

// to [n, kPanel] = from [n, channels], `width` apart, times weight [kPanel / kPack, channels, kPack]; n: a multiple of
// kFew
template <class T>
static void products(float* to, const T* from, const T* weight, int64_t n, int64_t channels, int64_t width) {
    for (int64_t part = 0; part < kPanel; part += kPack, to += kPack, weight += channels * kPack) {
        int64_t row = 0;
        for (; row + kRows <= n; row += kRows)
            product<kRows>(to + row * kPanel, from + row * width, weight, channels, width);
        for (; row < n; row += kFew) product<kFew>(to + row * kPanel, from + row * width, weight, channels, width);
    }
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
