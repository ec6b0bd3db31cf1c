// conv3x3 by Winograd in bfloat16, with the instructions of AVX512-BF16: points and weights rounded, sums in float32
#include "../winograd_tiles.h"

namespace lowlight {
namespace LOWLIGHT_CPU_LEVEL {

// bfloat16 of this level, so that the templates find what follows
struct Short {
    uint16_t bits;
};

LOWLIGHT_FN void get(Lane& to, const Short* from) {
    __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    to = reinterpret_cast<Lane>(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

// to nearest even whatever MXCSR says, and what is below 2^-126 to 0; so round the products, too
LOWLIGHT_FN void put(Short* to, const Lane& v) {
    __m256bh narrow = _mm512_cvtneps_pbh(reinterpret_cast<__m512>(v));
    memcpy(to, &narrow, sizeof(narrow));
}

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
            int32_t pair;
            memcpy(&pair, from + row * width + c, sizeof(pair));
            __m512bh both = reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair));
            sums[row][0] = _mm512_dpbf16_ps(sums[row][0], left, both);
            sums[row][1] = _mm512_dpbf16_ps(sums[row][1], right, both);
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
