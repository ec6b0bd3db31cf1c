// NAFNet in bfloat16, with the instructions of AVX512-BF16: maps and what enters products rounded, sums and what
// is added in float32
#include "../naf_block.h"
#include "../naf_scale.h"

namespace lowlight {
namespace LOWLIGHT_CPU_LEVEL {

// bfloat16 of this level, so that the templates find what follows
struct Short {
    uint16_t bits;
};

LOWLIGHT_FN void get(Register& to, const Short* from) {
    __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    to = reinterpret_cast<Register>(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

LOWLIGHT_FN __m256i rounded(Register v) {
    return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(reinterpret_cast<__m512>(v)));
}

LOWLIGHT_FN void put(Short* to, Register v) {
    __m256i bits = rounded(v);
    memcpy(to, &bits, sizeof(bits));
}

LOWLIGHT_FN void put_together(Short* to, const Register* v) {
    __m512i low = _mm512_cvtepu16_epi32(rounded(v[0])), high = _mm512_cvtepu16_epi32(rounded(v[1]));
    __m512i pairs = _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
    memcpy(to, &pairs, sizeof(pairs));
}

LOWLIGHT_FN void add_product(Register& sum, Register weight, const Short* pair) {
    int32_t both;
    memcpy(&both, pair, sizeof(both));
    sum = reinterpret_cast<Register>(_mm512_dpbf16_ps(reinterpret_cast<__m512>(sum), reinterpret_cast<__m512bh>(weight),
                                                      reinterpret_cast<__m512bh>(_mm512_set1_epi32(both))));
}

void naf_block_half_cpu(const NafArguments& a) {
    naf_block<Short>(a);
}
void naf_down_half_cpu(const NafScaleArguments& a) {
    naf_scale<Short, false>(a);
}
void naf_up_half_cpu(const NafScaleArguments& a) {
    naf_scale<Short, true>(a);
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
