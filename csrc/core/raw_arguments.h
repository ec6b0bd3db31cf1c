// what the bindings hand to the loops and launchers of the raw-space operators
#pragma once

#include "arguments.h"

namespace lowlight {

struct PoissonArguments {
    const void* mean;  // [batch, channels, height, width]
    void* out;
    DType dtype;
    Block size;
    NoiseSource source;
    int64_t* wrong;  // on the CPU, may be null: counts the means that are none (NaN, below 0, above kMostMean)
};

struct TukeyArguments {
    void* out;
    DType dtype;
    Block size;
    NoiseSource source;
    double lambda;
};

struct RawNoiseArguments {
    const void* clean;  // [batch, 4, height, width], R, G1, B, G2
    void* out;
    DType dtype;
    Block size;
    NoiseSource source;
    const double* rows;  // [1 or batch, 6]: K, ratio, g_scale, G_scale, G_shape, R_scale
    int64_t row_step;
    double saturation;
    int parts;
    bool clip;  // to [0, 1]
};

struct ExposureArguments {
    const void *output, *original, *counts;  // counts may be null
    void* out;
    DType dtype;
    Block size;
    const double* rows;  // [1 or batch, 3]: see ExposureRow
    int64_t row_step;
    bool draw;  // counts from `source`; neither: the mean itself
    NoiseSource source;
};

struct ExposureGradients {
    const void *grad, *output, *original;
    void *to_output, *to_original;  // null: not wanted
    DType dtype;
    int64_t batch, per_sample;
    const double* rows;
    int64_t row_step;
};

}  // namespace lowlight
