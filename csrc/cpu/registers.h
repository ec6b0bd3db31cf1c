// what products are made of: the registers of a level, and the numbers that one product takes
#pragma once

#include "sums.h"

namespace lowlight {
namespace LOWLIGHT_CPU_LEVEL {

// what one instruction takes: of wider vectors the compiler would keep half in memory; and rows of a product whose sums
// the registers hold, for two registers' columns
#if defined(__AVX512F__)
typedef float Register __attribute__((vector_size(64)));
constexpr int64_t kRows = 12;
#elif defined(__AVX2__)
typedef float Register __attribute__((vector_size(32)));
constexpr int64_t kRows = 6;
#else
typedef float Register __attribute__((vector_size(16)));
constexpr int64_t kRows = 6;
#endif
constexpr int64_t kWidth = sizeof(Register) / sizeof(float);
// columns of a product that lie together in its weights
constexpr int64_t kPanel = 32;
// rows of a block: a multiple of kRows on every level
constexpr int64_t kGroup = 12;

// channels that one product sums
template <class T>
constexpr int64_t kTogether = 4 / sizeof(T);

LOWLIGHT_FN void add_product(Register& sum, Register weight, const float* value) {
    sum += weight * *value;
}

LOWLIGHT_FN void put(float* to, Register v) {
    reinterpret_cast<Loose<Register>*>(to)->value = v;
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
