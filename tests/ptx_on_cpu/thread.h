// what a translated kernel includes: its thread, and PTX's arithmetic where C++ has no operator for it
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

namespace ptx {

struct Dim {
    unsigned x, y, z;
};
struct Thread;

// what a thread asks of the machine; `line` is the PTX's. Only `shuffle` and `barrier` come back later, and what a
// launch may not do never does
struct Machine {
    virtual void* global(uint64_t address, unsigned bytes, int line) = 0;
    virtual void* shared_read(Thread&, uint32_t offset, unsigned bytes, int line) = 0;
    virtual void* shared_write(Thread&, uint32_t offset, unsigned bytes, int line) = 0;
    virtual void barrier(Thread&, int line) = 0;
    virtual uint32_t shuffle(Thread&, uint32_t value, uint32_t lanes, uint32_t clamp, uint32_t members, int line) = 0;

  protected:
    ~Machine() = default;
};

struct Thread {
    Dim tid, ctaid, ntid, nctaid;
    int number;  // in its block
    Machine* machine;
};

using Body = void (*)(Thread&, const char* const* parameters);

template <class To, class From>
inline To bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "registers of one size");
    To to;
    memcpy(&to, &from, sizeof(to));
    return to;
}

// division by 0 gives all ones; the least number by -1 itself
template <class T>
inline T quotient(T a, T b) {
    if (b == 0) return T(~T(0));
    return std::is_signed_v<T> && b == T(-1) ? T(0 - std::make_unsigned_t<T>(a)) : T(a / b);
}
template <class T>
inline T remainder(T a, T b) {
    if (b == 0) return a;
    return std::is_signed_v<T> && b == T(-1) ? T(0) : T(a % b);
}

// shifts by the width and more leave nothing, or the sign
template <class T>
inline T shift_left(T a, uint32_t by) {
    return by >= 8 * sizeof(T) ? T(0) : T(std::make_unsigned_t<T>(a) << by);
}
template <class T>
inline T shift_right(T a, uint32_t by) {
    uint32_t most_by = 8 * sizeof(T) - 1;
    if (by > most_by && std::is_unsigned_v<T>) return T(0);
    return T(a >> (by > most_by ? most_by : by));
}

inline uint32_t leading_zeros(uint32_t a) {
    return a ? uint32_t(__builtin_clz(a)) : 32;
}

// the low `count` bits of a in the place of those of b from `first` on; of both numbers the device takes eight bits
inline uint32_t inserted(uint32_t a, uint32_t b, uint32_t first, uint32_t count) {
    first &= 255, count &= 255;
    uint32_t bits = shift_left(count >= 32 ? ~0u : (1u << count) - 1, first);
    return (shift_left(a, first) & bits) | (b & ~bits);
}

// four bytes chosen of eight, each with its sign spread where the choice says so
inline uint32_t permute(uint32_t a, uint32_t b, uint32_t choice) {
    uint64_t from = uint64_t(b) << 32 | a;
    uint32_t to = 0;
    for (int i = 0; i < 4; ++i) {
        uint32_t one = choice >> 4 * i & 15;
        uint8_t byte = uint8_t(from >> 8 * (one & 7));
        if (one & 8) byte = byte & 0x80 ? 0xff : 0;
        to |= uint32_t(byte) << 8 * i;
    }
    return to;
}

// towards zero; beyond the range its end, of NaN 0
template <class I, class F>
inline I truncated(F f) {
    if (f != f) return 0;
    if (f >= F(std::numeric_limits<I>::max())) return std::numeric_limits<I>::max();
    return f <= F(std::numeric_limits<I>::min()) ? std::numeric_limits<I>::min() : I(f);
}

inline float half_to_float(uint16_t half) {
    int exponent = half >> 10 & 31, fraction = half & 1023;
    float size = exponent == 31 ? (fraction ? NAN : INFINITY)
                 : exponent     ? std::ldexp(float(fraction + 1024), exponent - 25)
                                : std::ldexp(float(fraction), -24);
    return half & 0x8000 ? -size : size;
}

// to the nearest, of two the even one; a NaN becomes the one that the device makes
inline uint16_t float_to_half(float value) {
    if (value != value) return 0x7fff;
    uint16_t sign = std::signbit(value) ? 0x8000 : 0;
    double size = std::fabs(double(value));
    int exponent = size < 0x1p-14 ? -14 : std::isinf(size) ? 16 : std::ilogb(size);
    double units = std::nearbyint(std::ldexp(size, 10 - exponent));
    return sign | (exponent > 15 ? 0x7c00 : ((exponent + 14) << 10) + int(units));
}
inline uint16_t float_to_bfloat16(float value) {
    if (value != value) return 0x7fff;
    uint32_t word = bits<uint32_t>(value);
    return uint16_t((word + 0x7fff + (word >> 16 & 1)) >> 16);
}

}  // namespace ptx
