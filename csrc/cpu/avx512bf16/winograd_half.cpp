// conv3x3 by Winograd in bfloat16, with the instructions of AVX512-BF16: points and weights rounded, sums in float32
#include "../winograd_tiles.h"
#include "short.h"

namespace lowlight {
namespace LOWLIGHT_CPU_LEVEL {

// to [rows, kPanel] = from [rows, channels], `width` apart, times weight [channels / 2, kPanel, 2]: two channels a
// product
template <int64_t rows>
static void product(float* to, const Short* from, const Short* weight, int64_t channels, int64_t width) {
    __m512 sums[rows][2];
    for (auto& row : sums) row[0] = row[1] = _mm512_setzero_ps();
    for (int64_t c = 0; c < channels; c += 2) {
        __m512bh left, right;
        memcpy(&left, weight + c * kPanel, sizeof(left)), memcpy(&right, weight + c * kPanel + kPanel, sizeof(right));
#pragma GCC unroll 12
        for (int64_t row = 0; row < rows; ++row) {
            __m512bh pair = both(from + row * width + c);
            sums[row][0] = _mm512_dpbf16_ps(sums[row][0], left, pair);
            sums[row][1] = _mm512_dpbf16_ps(sums[row][1], right, pair);
        }
    }
    memcpy(to, sums, sizeof(sums));
}

// rows of a product whose sums the registers hold; few rows are left over
constexpr int64_t kRows = 12, kFew = 4;

static void products(float* to, const Short* from, const Short* weight, int64_t n, int64_t channels, int64_t width) {
    int64_t row = 0;
    for (; row + kRows <= n; row += kRows)
        product<kRows>(to + row * kPanel, from + row * width, weight, channels, width);
    for (; row < n; row += kFew) product<kFew>(to + row * kPanel, from + row * width, weight, channels, width);
}

void winograd_half_cpu(const WinogradArguments& a) {
    winograd<Short, Short>(a, kFew, products);
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
