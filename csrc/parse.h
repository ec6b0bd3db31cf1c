// numbers from Python -> argument structs; the checks that no tensor is needed for
#pragma once

#include <array>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/arguments.h"

namespace lowlight {

template <class T = void>
T* address(uintptr_t value) {
    return reinterpret_cast<T*>(value);
}

inline DType dtype_code(int code) {
    if (code < 0 || code > 3) throw std::invalid_argument("dtype code: takes 0 to 3, got " + std::to_string(code));
    return static_cast<DType>(code);
}

inline HaarArguments haar_arguments(uintptr_t image, uintptr_t ll, const std::vector<uintptr_t>& details, int dtype,
                                    int64_t planes, int64_t height, int64_t width, bool affine) {
    int64_t levels = int64_t(details.size());
    if (levels < 1 || levels > kMaxLevels)
        throw std::invalid_argument("haar: takes 1 to " + std::to_string(kMaxLevels) + " levels, got " +
                                    std::to_string(levels));
    if (planes < 0 || height < 0 || width < 0 || (height | width) & ((int64_t(1) << levels) - 1))
        throw std::invalid_argument("haar: height and width must be divisible by 2^" + std::to_string(levels) +
                                    ", got " + std::to_string(height) + " x " + std::to_string(width));
    HaarArguments a{address(image), address(ll), {}, dtype_code(dtype), int(levels), planes, height, width, affine};
    for (int64_t l = 0; l < levels; ++l) a.details[l] = address(details[l]);
    return a;
}

// (batch, channels, height, width)
using Sizes = std::array<int64_t, 4>;

inline Block block(const Sizes& size) {
    for (int64_t extent : size)
        if (extent < 0) throw std::invalid_argument("size: must not be negative, got " + std::to_string(extent));
    return Block{size[0], size[1], size[2], size[3]};
}

// (seeds, seed_step, stream, y0, x0, plane, plane_step); the seeds are int64 in memory
using Source = std::array<int64_t, 7>;
// and behind them the seed of all samples, where the address of the seeds is 0
using DeviceSource = std::array<int64_t, 8>;

template <size_t kNumbers>
inline NoiseSource noise_source(const std::array<int64_t, kNumbers>& s) {
    if (s[2] < 0 || s[2] > 0xffffffffll)
        throw std::invalid_argument("stream: takes 0 to 2^32 - 1, got " + std::to_string(s[2]));
    uint64_t seed = kNumbers > 7 ? uint64_t(s[kNumbers - 1]) : 0;
    return NoiseSource{address<const int64_t>(uintptr_t(s[0])), s[1], uint32_t(s[2]), s[3], s[4], s[5], s[6], seed};
}

template <class Numbers>
inline std::optional<NoiseSource> noise_source(const std::optional<Numbers>& source) {
    if (!source) return std::nullopt;
    return noise_source(*source);
}

// tensors: x_t, eps, center, x0_previous, noise, out, x0; rows: address, count, step; t: address or 0
inline StepArguments step_arguments(const std::array<uintptr_t, 7>& tensors, int dtype, const Sizes& size,
                                    const std::array<int64_t, 3>& rows, uintptr_t t,
                                    const std::optional<NoiseSource>& source, double lo, double hi) {
    return StepArguments{address(tensors[0]),
                         address(tensors[1]),
                         address(tensors[2]),
                         address(tensors[3]),
                         address(tensors[4]),
                         address(tensors[5]),
                         address(tensors[6]),
                         dtype_code(dtype),
                         block(size),
                         address(uintptr_t(rows[0])),
                         address<const int64_t>(t),
                         rows[1],
                         rows[2],
                         source.has_value(),
                         source.value_or(NoiseSource{}),
                         lo,
                         hi};
}

// tensors: grad, grad_x0, x_t, eps, then where the gradients to x_t, eps, center and x0_previous go
inline StepGradients step_gradients(const std::array<uintptr_t, 8>& tensors, int dtype, int64_t batch,
                                    int64_t per_sample, const std::array<int64_t, 3>& rows, uintptr_t t, bool clip,
                                    double lo, double hi) {
    return StepGradients{address(tensors[0]),
                         address(tensors[1]),
                         address(tensors[2]),
                         address(tensors[3]),
                         address(tensors[4]),
                         address(tensors[5]),
                         address(tensors[6]),
                         address(tensors[7]),
                         dtype_code(dtype),
                         batch,
                         per_sample,
                         address(uintptr_t(rows[0])),
                         address<const int64_t>(t),
                         rows[1],
                         rows[2],
                         clip,
                         lo,
                         hi};
}

// tensors: x0, center, noise, x_t, anchored noise; table: alpha_bar float64 and its length
inline ForwardArguments forward_arguments(const std::array<uintptr_t, 5>& tensors, int dtype, const Sizes& size,
                                          uintptr_t alpha_bar, int64_t length, uintptr_t t,
                                          const std::optional<NoiseSource>& source) {
    return ForwardArguments{address(tensors[0]),
                            address(tensors[1]),
                            address(tensors[2]),
                            address(tensors[3]),
                            address(tensors[4]),
                            dtype_code(dtype),
                            block(size),
                            address<const double>(alpha_bar),
                            length,
                            address<const int64_t>(t),
                            source.has_value(),
                            source.value_or(NoiseSource{})};
}

// tensors: grad, grad of the noise, then where the gradients to x0, noise and center go
inline ForwardGradients forward_gradients(const std::array<uintptr_t, 5>& tensors, int dtype, int64_t batch,
                                          int64_t per_sample, uintptr_t alpha_bar, int64_t length, uintptr_t t) {
    return ForwardGradients{address(tensors[0]),
                            address(tensors[1]),
                            address(tensors[2]),
                            address(tensors[3]),
                            address(tensors[4]),
                            dtype_code(dtype),
                            batch,
                            per_sample,
                            address<const double>(alpha_bar),
                            length,
                            address<const int64_t>(t)};
}

// indices into a table of `length` rows
inline void check_times(const char* op, const int64_t* t, int64_t n, int64_t lowest, int64_t length) {
    for (int64_t i = 0; t && i < n; ++i)
        if (t[i] < lowest || t[i] >= length)
            throw std::out_of_range(std::string(op) + ": t must lie in [" + std::to_string(lowest) + ", " +
                                    std::to_string(length) + "), got " + std::to_string(t[i]));
}

}  // namespace lowlight
