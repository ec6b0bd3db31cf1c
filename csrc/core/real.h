// number formats and the few operations whose rounding the formulas rely on; host and device
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__CUDACC__)
#    define LOWLIGHT_FN static __host__ __device__ __forceinline__
#    define LOWLIGHT_METHOD __host__ __device__ __forceinline__
#else
// internal linkage: the same header is compiled once a CPU level, and the linker must not merge the results
#    define LOWLIGHT_FN static inline __attribute__((always_inline, unused))
#    define LOWLIGHT_METHOD inline __attribute__((always_inline))
#endif

namespace lowlight {

struct Half {
    uint16_t bits;
};

struct BFloat16 {
    uint16_t bits;
};

// dtype codes of the Python side
enum class DType : int { f32 = 0, f64 = 1, f16 = 2, bf16 = 3 };

// what a stored type is computed in
template <class T>
struct Accumulator {
    using type = float;
};
template <>
struct Accumulator<double> {
    using type = double;
};
template <class T>
using Real = typename Accumulator<T>::type;

template <class To, class From>
LOWLIGHT_FN To bit_cast(From value) {
    static_assert(sizeof(To) == sizeof(From), "bit_cast needs equal sizes");
    To result;
    memcpy(&result, &value, sizeof(To));
    return result;
}

// a * b + c rounded once. Without the instruction (x86-64 baseline): the product of two floats is exact in double,
// the sum is rounded to odd, and 53 odd-rounded bits round to 24 without a second error. Finite operands only.
LOWLIGHT_FN float fused(float a, float b, float c) {
#if defined(__CUDA_ARCH__)
    return __fmaf_rn(a, b, c);
#elif defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    return __builtin_fmaf(a, b, c);
#else
    double product = double(a) * double(b), addend = c;
    double sum = product + addend;
    double part = sum - product;
    double error = (product - (sum - part)) + (addend - part);
    int64_t bits = bit_cast<int64_t>(sum);
    // towards the error by one, if there is one and the last bit is even
    int64_t step = (bit_cast<int64_t>(error) ^ bits) < 0 ? -1 : 1;
    bool even = (bits & 1) == 0;
    return float(bit_cast<double>(error != 0.0 && even ? bits + step : bits));
#endif
}

// correctly rounded everywhere, whatever nvcc's -prec-sqrt says
LOWLIGHT_FN float square_root(float x) {
#if defined(__CUDA_ARCH__)
    return __fsqrt_rn(x);
#else
    return __builtin_sqrtf(x);
#endif
}

LOWLIGHT_FN double square_root(double x) {
#if defined(__CUDA_ARCH__)
    return __dsqrt_rn(x);
#else
    return __builtin_sqrt(x);
#endif
}

// square_root, and 1 / x, of numbers whose size lies between 2^-100 and 2^100: nvcc's own steps for them, without its
// branch for what is subnormal or infinite
LOWLIGHT_FN float root(float x) {
#if defined(__CUDA_ARCH__)
    float inverse;
    asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(x));
    float about = x * inverse;
    return fused(fused(-about, about, x), 0.5f * inverse, about);
#else
    return square_root(x);
#endif
}

LOWLIGHT_FN float reciprocal(float x) {
#if defined(__CUDA_ARCH__)
    float about;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(about) : "f"(x));
    return fused(about, -fused(x, about, -1.0f), about);
#else
    return 1.0f / x;
#endif
}

// the compiler would shift the bit to the end first
LOWLIGHT_FN bool has_bits(uint32_t word, uint32_t bits) {
#if defined(__CUDA_ARCH__)
    asm("and.b32 %0, %1, %2;" : "=r"(word) : "r"(word), "r"(bits));
    return word != 0;
#else
    return (word & bits) != 0;
#endif
}

// the low 32 bits of (high 2^32 + low) >> by, in one instruction
LOWLIGHT_FN uint32_t shifted_right(uint32_t high, uint32_t low, int by) {
#if defined(__CUDA_ARCH__)
    return __funnelshift_r(low, high, by);
#else
    return (high << (32 - by)) | (low >> by);
#endif
}

LOWLIGHT_FN float widen(float x) {
    return x;
}
LOWLIGHT_FN double widen(double x) {
    return x;
}
LOWLIGHT_FN float widen(BFloat16 x) {
    return bit_cast<float>(uint32_t(x.bits) << 16);
}

LOWLIGHT_FN float widen(Half x) {
#if defined(__CUDA_ARCH__)
    // the same value in one instruction, without cuda_fp16.h, which compiles longer than a kernel
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x.bits));
    return wide;
#else
    uint32_t magnitude = uint32_t(x.bits & 0x7fffu) << 13;
    uint32_t sign = uint32_t(x.bits & 0x8000u) << 16;
    // exponent 0: the bits of 2^-14 + fraction, less 2^-14, is the subnormal exactly
    float subnormal = bit_cast<float>(magnitude + 0x38800000u) - bit_cast<float>(0x38800000u);
    uint32_t normal = magnitude + (magnitude >= 0x0f800000u ? 0x70000000u : 0x38000000u);
    return bit_cast<float>((magnitude < 0x00800000u ? bit_cast<uint32_t>(subnormal) : normal) | sign);
#endif
}

// round to nearest even; NaN becomes the quiet NaN
LOWLIGHT_FN BFloat16 to_bfloat16(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    BFloat16 narrow;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(narrow.bits) : "f"(x));
    return narrow;
#else
    uint32_t bits = bit_cast<uint32_t>(x);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return BFloat16{uint16_t((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded)};
#endif
}

LOWLIGHT_FN Half to_half(float x) {
#if defined(__CUDA_ARCH__)
    Half narrow;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(narrow.bits) : "f"(x));
    return narrow;
#else
    uint32_t bits = bit_cast<uint32_t>(x);
    uint32_t sign = (bits >> 16) & 0x8000u;
    uint32_t magnitude = bits & 0x7fffffffu;
    // below 2^-14: adding 0.5 lines the unit of a subnormal half up with the last bit of the float
    float clamped = bit_cast<float>(magnitude < 0x38800000u ? magnitude : 0u);
    uint32_t subnormal = bit_cast<uint32_t>(clamped + 0.5f) - 0x3f000000u;
    uint32_t normal = (magnitude - 0x38000000u + 0x0fffu + ((magnitude >> 13) & 1u)) >> 13;
    uint32_t finite = magnitude < 0x38800000u ? subnormal : normal;
    uint32_t special = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
    return Half{uint16_t((magnitude >= 0x47800000u ? special : finite) | sign)};
#endif
}

template <class T>
LOWLIGHT_FN T narrow(Real<T> x) {
    if constexpr (std::is_same_v<T, BFloat16>)
        return to_bfloat16(x);
    else if constexpr (std::is_same_v<T, Half>)
        return to_half(x);
    else
        return x;
}

}  // namespace lowlight
