// numbers from Python -> argument structs of the normalisations
#pragma once

#include "core/norm_arguments.h"
#include "parse.h"

namespace lowlight {

inline void check_groups(int64_t batch, int64_t channels, int64_t inner, int64_t groups) {
    if (batch < 1 || channels < 1 || inner < 1) throw std::invalid_argument("norm: takes no empty tensors");
    if (groups < 1 || channels % groups)
        throw std::invalid_argument("norm: groups must divide the channels, got " + std::to_string(groups) + " and " +
                                    std::to_string(channels));
}

inline int activation_code(int code) {
    if (code < 0 || code > 2) throw std::invalid_argument("norm: activation takes 0 to 2, got " + std::to_string(code));
    return code;
}

// batch, channels, inner, groups
using NormSizes = std::array<int64_t, 4>;

// tensors: x, weight, bias, out, stats
inline NormArguments norm_arguments(const std::array<uintptr_t, 5>& t, int dtype, bool channels_last, int activation,
                                    const NormSizes& size, double eps) {
    check_groups(size[0], size[1], size[2], size[3]);
    return NormArguments{address(t[0]),
                         address(t[1]),
                         address(t[2]),
                         address(t[3]),
                         address(t[4]),
                         dtype_code(dtype),
                         channels_last,
                         activation_code(activation),
                         size[0],
                         size[1],
                         size[2],
                         size[3],
                         eps};
}

// tensors: grad, x, stats, weight, bias, then where the gradients to x, weight and bias go
inline NormGradients norm_gradients(const std::array<uintptr_t, 8>& t, int dtype, bool channels_last, int activation,
                                    const NormSizes& size) {
    check_groups(size[0], size[1], size[2], size[3]);
    return NormGradients{address(t[0]),
                         address(t[1]),
                         address(t[2]),
                         address(t[3]),
                         address(t[4]),
                         address(t[5]),
                         address(t[6]),
                         address(t[7]),
                         dtype_code(dtype),
                         channels_last,
                         activation_code(activation),
                         size[0],
                         size[1],
                         size[2],
                         size[3]};
}

}  // namespace lowlight
