// what the bindings hand to the loops and launchers of the normalisations
#pragma once

#include "arguments.h"

namespace lowlight {

// x, grad, out, to_x: [batch, channels, inner], or [batch, inner, channels] where channels_last; weight, bias,
// to_weight, to_bias: [channels] and stats: [2, batch, groups] (mean, 1 / sqrt(variance + eps)) of the accumulator's
// type; optional ones may be null. A layer norm over channels has stats [2, batch, inner] and no groups.
struct NormArguments {
    const void *x, *weight, *bias;
    void *out, *stats;
    DType dtype;
    bool channels_last;
    int activation;
    int64_t batch, channels, inner, groups;
    double eps;
    void* workspace;  // CUDA's: see table.h
};

struct NormGradients {
    const void *grad, *x, *stats, *weight, *bias;
    void *to_x, *to_weight, *to_bias;
    DType dtype;
    bool channels_last;
    int activation;
    int64_t batch, channels, inner, groups;
    void* workspace;
};

// x [rows, 2, n] -> out [rows, n]; backward: grad [rows, n] -> to_x [rows, 2, n]
struct GateArguments {
    const void *x, *grad;
    void* out;
    DType dtype;
    int64_t rows, n;
};

}  // namespace lowlight
