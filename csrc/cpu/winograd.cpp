// conv3x3 by Winograd in float32: the products
#include "winograd_tiles.h"

namespace lowlight {
LOWLIGHT_DECLARE_LEVEL(LOWLIGHT_CPU_LEVEL)
namespace LOWLIGHT_CPU_LEVEL {

// rows of a product whose sums the registers hold, and of one for what is left over; columns of both
#if defined(__AVX512F__)
constexpr int64_t kRows = 12, kFew = 4;
// whether the next weights are asked for ahead: few rows go through them faster than they come by themselves
constexpr bool kAhead = false;
#else
constexpr int64_t kRows = 6, kFew = 3;
constexpr bool kAhead = true;
#endif
constexpr int64_t kPack = 2 * kLane;

// the first kPack columns of to [rows, kPanel] = from [rows, channels], `width` apart, times weight [channels, kPack]
template <int64_t rows>
static void product(float* to, const float* from, const float* weight, int64_t channels, int64_t width) {
    Lane sums[rows][2] = {};
    // there is a channel, and the compiler should know: else it keeps the sums in memory too
    int64_t c = 0;
    do {
        Lane left, right;
        get(left, weight + c * kPack), get(right, weight + c * kPack + kLane);
        if (kAhead) __builtin_prefetch(weight + (channels + c) * kPack, 0, 2);
#pragma GCC unroll 12
        for (int64_t row = 0; row < rows; ++row) {
            float value = from[row * width + c];
            sums[row][0] += left * value, sums[row][1] += right * value;
        }
    } while (++c < channels);
    for (int64_t row = 0; row < rows; ++row) memcpy(to + row * kPanel, sums[row], sizeof(sums[row]));
}

// weight: [kPanel / kPack, channels, kPack]
static void products(float* to, const float* from, const float* weight, int64_t n, int64_t channels, int64_t width) {
    for (int64_t part = 0; part < kPanel; part += kPack, to += kPack, weight += channels * kPack) {
        int64_t row = 0;
        for (; row + kRows <= n; row += kRows)
            product<kRows>(to + row * kPanel, from + row * width, weight, channels, width);
        for (; row < n; row += kFew) product<kFew>(to + row * kPanel, from + row * width, weight, channels, width);
    }
}

void winograd_cpu(const WinogradArguments& a) {
    winograd<float, float>(a, kFew, products);
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
