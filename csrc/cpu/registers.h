// the vector registers of a level, and what products are made of
#pragma once

#include "blocks.h"

namespace lowlight {
namespace LOWLIGHT_CPU_LEVEL {

// what one instruction takes: wider vectors the compiler keeps in memory, and moves half by half; and rows of a product
// whose sums the registers hold, for two registers' columns
#if defined(__AVX512F__)
constexpr int64_t kRegisterBytes = 64, kRows = 12;
#elif defined(__AVX2__)
constexpr int64_t kRegisterBytes = 32, kRows = 6;
#else
constexpr int64_t kRegisterBytes = 16, kRows = 6;
#endif

template <class R>
struct Vector;
template <>
struct Vector<float> {
    typedef float type __attribute__((vector_size(kRegisterBytes)));
};
template <>
struct Vector<double> {
    typedef double type __attribute__((vector_size(kRegisterBytes)));
};
using Register = Vector<float>::type;
template <class R>
constexpr int64_t kWidthOf = kRegisterBytes / sizeof(R);
constexpr int64_t kWidth = kWidthOf<float>;

// A vector at any address. Of memcpy GCC makes moves of 16 bytes where it does not see that one end is a register, and
// a wider load from there waits for all of them.
template <class V>
struct __attribute__((packed, may_alias)) Loose {
    V value;
};
// into a number or a vector
template <class V, class R>
LOWLIGHT_FN void get(V& to, const R* from) {
    to = reinterpret_cast<const Loose<V>*>(from)->value;
}
LOWLIGHT_FN void put(float* to, Register v) {
    reinterpret_cast<Loose<Register>*>(to)->value = v;
}
LOWLIGHT_FN void put(double* to, Vector<double>::type v) {
    reinterpret_cast<Loose<Vector<double>::type>*>(to)->value = v;
}

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

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
