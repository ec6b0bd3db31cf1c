// conv3x3 by Winograd in float32: the products
#include "winograd_tiles.h"

namespace lowlight {
LOWLIGHT_DECLARE_LEVEL(LOWLIGHT_CPU_LEVEL)
namespace LOWLIGHT_CPU_LEVEL {

// what one instruction multiplies, and rows of a product whose sums the registers hold; few rows are left over
#if defined(__AVX512F__)
using Register = Lane;
constexpr int64_t kRows = 12, kFew = 4;
#elif defined(__AVX2__)
typedef float Register __attribute__((vector_size(32)));
constexpr int64_t kRows = 6, kFew = 2;
#else
typedef float Register __attribute__((vector_size(16)));
constexpr int64_t kRows = 6, kFew = 2;
#endif
constexpr int64_t kWidth = sizeof(Register) / sizeof(float);

// to [rows, kPanel] = from [rows, channels], `width` apart, times weight [channels, kPanel]
template <int64_t rows>
static void product(float* to, const float* from, const float* weight, int64_t channels, int64_t width) {
    for (int64_t part = 0; part < kPanel; part += 2 * kWidth) {
        Register sums[rows][2] = {};
        for (int64_t c = 0; c < channels; ++c) {
            Register left, right;
            get(left, weight + c * kPanel + part), get(right, weight + c * kPanel + part + kWidth);
#pragma GCC unroll 12
            for (int64_t row = 0; row < rows; ++row) {
                float value = from[row * width + c];
                sums[row][0] += left * value, sums[row][1] += right * value;
            }
        }
        for (int64_t row = 0; row < rows; ++row) memcpy(to + row * kPanel + part, sums[row], sizeof(sums[row]));
    }
}

static void products(float* to, const float* from, const float* weight, int64_t n, int64_t channels, int64_t width) {
    int64_t row = 0;
    for (; row + kRows <= n; row += kRows)
        product<kRows>(to + row * kPanel, from + row * width, weight, channels, width);
    for (; row < n; row += kFew) product<kFew>(to + row * kPanel, from + row * width, weight, channels, width);
}

void winograd_cpu(const WinogradArguments& a) {
    winograd<float, float>(a, kFew, products);
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
