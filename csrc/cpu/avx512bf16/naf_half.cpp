// NAFNet in bfloat16, with the instructions of AVX512-BF16: maps and what enters products rounded, sums and what
// is added in float32
#include "../naf_block.h"
#include "../naf_scale.h"
#include "short.h"

namespace lowlight {
namespace LOWLIGHT_CPU_LEVEL {

LOWLIGHT_FN void put_together(Short* to, const Register* v) {
    __m512i low = _mm512_cvtepu16_epi32(rounded(v[0])), high = _mm512_cvtepu16_epi32(rounded(v[1]));
    __m512i pairs = _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
    memcpy(to, &pairs, sizeof(pairs));
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
