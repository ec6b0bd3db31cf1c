// bfloat16 of this level, so that the templates of the loops find what goes with it
#pragma once

#include "../registers.h"

namespace lowlight {
namespace LOWLIGHT_CPU_LEVEL {

struct Short {
    uint16_t bits;
};

LOWLIGHT_FN void get(Register& to, const Short* from) {
    __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    to = reinterpret_cast<Register>(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

// AVX512-BF16 rounds to nearest even and takes denormal numbers for 0, whatever MXCSR says: here and in the products
LOWLIGHT_FN __m256i rounded(const Register& v) {
    return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(reinterpret_cast<__m512>(v)));
}

LOWLIGHT_FN void put(Short* to, const Register& v) {
    __m256i bits = rounded(v);
    memcpy(to, &bits, sizeof(bits));
}

// two channels side by side, for every column of a product
LOWLIGHT_FN __m512bh both(const Short* pair) {
    int32_t bits;
    memcpy(&bits, pair, sizeof(bits));
    return reinterpret_cast<__m512bh>(_mm512_set1_epi32(bits));
}

LOWLIGHT_FN void add_product(Register& sum, Register weight, const Short* pair) {
    sum = reinterpret_cast<Register>(
        _mm512_dpbf16_ps(reinterpret_cast<__m512>(sum), reinterpret_cast<__m512bh>(weight), both(pair)));
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
