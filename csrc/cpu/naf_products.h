// 1 x 1 convolutions of a few pixels, and the norm before them: everything in registers and the first-level cache
#pragma once

#include "sums.h"

namespace lowlight {
namespace LOWLIGHT_CPU_LEVEL {

// channels of a panel's halves; pixels whose sums the registers hold
constexpr int64_t kLane = kPanel / 2, kPixels = kRows;
// pixels that a panel of weights is read for
constexpr int64_t kShared = 96;

// numbers that begin at a line of the cache, not set: whole groups are multiplied, and what is not of a pixel is not
// stored
template <class T>
struct Lines {
    Scratch<char> memory;
    T* values;
    explicit Lines(int64_t n) : memory(n * int64_t(sizeof(T)) + 64) {
        values = reinterpret_cast<T*>(memory.values + (-reinterpret_cast<uintptr_t>(memory.values) & 63));
    }
};

// a register of each of these channels, side by side
LOWLIGHT_FN void put_together(float* to, const Register* v) {
    memcpy(to, v, sizeof(*v));
}
// a number of channels that the compiler knows, or 0: the addresses of a block are then numbers in the instructions
template <int64_t kFixed>
struct Channels {
    int64_t given;
    LOWLIGHT_METHOD operator int64_t() const { return kFixed ? kFixed : given; }
};

// from [kPixels, channels] times a panel [channels, kPanel]: store(pixel, lane, sums), from `lane` of the first and of
// the second half of the panel on; kHalves 1: of the first alone
template <int kHalves, int64_t kFixed, class T, class Store>
LOWLIGHT_FN void products(const T* from, const T* panel, Channels<kFixed> channels, Store store) {
    for (int64_t lane = 0; lane < kLane; lane += kWidth) {
        Register sums[kPixels][kHalves] = {};
        for (int64_t c = 0; c < channels; c += kTogether<T>) {
            Register weight[kHalves];
            for (int64_t half = 0; half < kHalves; ++half)
                memcpy(&weight[half], panel + c * kPanel + kTogether<T> * (half * kLane + lane), sizeof(Register));
#pragma GCC unroll 12
            for (int64_t pixel = 0; pixel < kPixels; ++pixel)
                for (int64_t half = 0; half < kHalves; ++half)
                    add_product(sums[pixel][half], weight[half], from + pixel * channels + c);
        }
#pragma GCC unroll 12
        for (int64_t pixel = 0; pixel < kPixels; ++pixel) store(pixel, lane, sums[pixel]);
    }
}

// as many outputs as there are channels, of n pixels: store(pixel, channel, sums)
template <int64_t kFixed, class T, class Store>
LOWLIGHT_FN void convolve(const T* from, const T* panels, Channels<kFixed> channels, int64_t n, Store store) {
    for (int64_t first = 0; first < channels; first += kPanel) {
        const T* panel = panels + first * channels;
        for (int64_t group = 0; group < n; group += kPixels) {
            if (first + kLane < channels)
                products<2>(from + group * channels, panel, channels,
                            [&](int64_t pixel, int64_t lane, const Register* sums) {
                                store(group + pixel, first + lane, sums[0]);
                                store(group + pixel, first + kLane + lane, sums[1]);
                            });
            else
                products<1>(from + group * channels, panel, channels,
                            [&](int64_t pixel, int64_t lane, const Register* sums) {
                                store(group + pixel, first + lane, *sums);
                            });
        }
    }
}

typedef float Quarter __attribute__((vector_size(16)));
#if defined(__clang__)
#    define LOWLIGHT_PICK(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int Picks __attribute__((vector_size(16)));
#    define LOWLIGHT_PICK(a, b, ...) __builtin_shuffle(a, b, Picks{__VA_ARGS__})
#endif

// the sums of the lanes of four registers
LOWLIGHT_FN Quarter across_four(const Register* v) {
    Quarter q[4];
    for (int i = 0; i < 4; ++i) {
        Quarter part[sizeof(Register) / sizeof(Quarter)];
        memcpy(part, v + i, sizeof(part));
        if constexpr (kWidth == 16)
            q[i] = (part[0] + part[1]) + (part[2] + part[3]);
        else
            q[i] = kWidth == 8 ? part[0] + part[kWidth / 8] : part[0];
    }
    Quarter low = LOWLIGHT_PICK(q[0], q[1], 0, 4, 1, 5) + LOWLIGHT_PICK(q[0], q[1], 2, 6, 3, 7);
    Quarter high = LOWLIGHT_PICK(q[2], q[3], 0, 4, 1, 5) + LOWLIGHT_PICK(q[2], q[3], 2, 6, 3, 7);
    return LOWLIGHT_PICK(low, high, 0, 1, 4, 5) + LOWLIGHT_PICK(low, high, 2, 3, 6, 7);
}

// to = (from - mean) / sqrt(variance + eps) of every pixel, four at a time; the last ones are read and written again
template <int64_t kFixed, class From, class To>
LOWLIGHT_FN void normalise(const From* from, To* to, int64_t n, Channels<kFixed> channels, float eps) {
    float share = 1 / float(channels);
    for (int64_t first = 0; first < n; first += 4) {
        const From* x[4];
        To* y[4];
        for (int64_t i = 0; i < 4; ++i) {
            int64_t at = (first + i < n ? first + i : n - 1) * channels;
            x[i] = from + at, y[i] = to + at;
        }
        Register sums[4] = {}, value;
        for (int64_t c = 0; c < channels; c += kWidth)
            for (int64_t i = 0; i < 4; ++i) get(value, x[i] + c), sums[i] += value;
        Quarter mean = across_four(sums) * share, scale;
        for (int64_t i = 0; i < 4; ++i) sums[i] = Register{};
        for (int64_t c = 0; c < channels; c += kWidth)
            for (int64_t i = 0; i < 4; ++i) get(value, x[i] + c), value -= mean[i], sums[i] += value * value;
        scale = across_four(sums) * share + eps;
        for (int64_t i = 0; i < 4; ++i) scale[i] = square_root(scale[i]);
        scale = 1 / scale;
        for (int64_t c = 0; c < channels; c += kWidth)
            for (int64_t i = 0; i < 4; ++i) {
                get(value, x[i] + c), value = (value - mean[i]) * scale[i];
                put(y[i] + c, value);
            }
    }
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
