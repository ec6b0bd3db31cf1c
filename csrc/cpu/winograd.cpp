// conv3x3 by Winograd in float32: the products
#include "winograd_tiles.h"

namespace lowlight {
LOWLIGHT_DECLARE_LEVEL(LOWLIGHT_CPU_LEVEL)
namespace LOWLIGHT_CPU_LEVEL {

// what one instruction multiplies, and rows of a product whose sums the registers hold
#if defined(__AVX512F__)
using Register = Lane;
constexpr int64_t kRows = 12;
#elif defined(__AVX2__)
typedef float Register __attribute__((vector_size(32)));
constexpr int64_t kRows = 6;
#else
typedef float Register __attribute__((vector_size(16)));
constexpr int64_t kRows = 6;
#endif
constexpr int64_t kWidth = sizeof(Register) / sizeof(float);

// to [kRows, kPanel] = from [kRows, channels] times weight [channels, kPanel]
static void products(float* to, const float* from, const float* weight, int64_t channels) {
    for (int64_t part = 0; part < kPanel; part += 2 * kWidth) {
        Register sums[kRows][2] = {};
        for (int64_t c = 0; c < channels; ++c) {
            Register left, right;
            get(left, weight + c * kPanel + part), get(right, weight + c * kPanel + part + kWidth);
#pragma GCC unroll 12
            for (int64_t row = 0; row < kRows; ++row) {
                float value = from[row * channels + c];
                sums[row][0] += left * value, sums[row][1] += right * value;
            }
        }
        for (int64_t row = 0; row < kRows; ++row) memcpy(to + row * kPanel + part, sums[row], sizeof(sums[row]));
    }
}

void winograd_cpu(const WinogradArguments& a) {
    winograd<float, float>(a, kRows, products);
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
