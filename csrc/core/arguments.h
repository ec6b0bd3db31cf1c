// what the bindings hand to a CPU loop or a CUDA launcher: plain pointers and sizes, all in elements
#pragma once

#include "fields.h"
#include "real.h"

namespace lowlight {

// where the noise of pixel (sample, channel, y, x) of a [batch, channels, height, width] block is drawn:
// key = seeds[sample * seed_step], plane = plane + sample * plane_step + channel, y = y + y0, x = x + x0
struct NoiseSource {
    const int64_t* seeds;  // null: `seed` is the one of all samples
    int64_t seed_step;
    uint32_t stream;
    int64_t y0, x0;
    int64_t plane, plane_step;
    uint64_t seed = 0;
};

struct Block {
    int64_t batch, channels, height, width;
};

struct NoiseArguments {
    void* out;  // [batch, channels, height, width]
    DType dtype;
    bool normal;  // else uniform
    Block size;
    NoiseSource source;
};

// words [n, 4] of counters [n, 4] and keys [n, 2], the low 32 bits of each
struct PhiloxArguments {
    const int64_t *counter, *key;
    int64_t* words;
    int64_t n;
};

constexpr int kMaxLevels = 3;

struct Details {
    void *finest, *next, *coarsest;
    LOWLIGHT_METHOD void* operator[](int64_t level) const { return level == 0 ? finest : level == 1 ? next : coarsest; }
};

// image [planes, height, width] <-> ll [planes, height >> levels, width >> levels] and
// details[l] [3, planes, height >> (l + 1), width >> (l + 1)] in the order HL, LH, HH, finest first
struct HaarArguments {
    void* image;
    void* ll;
    Details details;
    DType dtype;
    int levels;
    int64_t planes, height, width;
    bool affine;  // 2x - 1 going in, clamp((x + 1) / 2, 0, 1) coming out
};

// every tensor [batch, channels, height, width]; optional ones may be null
struct StepArguments {
    const void *x_t, *eps, *center, *x0_previous, *noise;
    void *out, *x0;
    DType dtype;
    Block size;
    const void* rows;  // [.., 8] float (double for f64): row of sample b is t ? t[b] : b * row_step
    const int64_t* t;
    int64_t row_count, row_step;
    bool draw;  // z from `source`
    NoiseSource source;
    double lo, hi;  // -infinity, infinity: no clamp
};

struct StepGradients {
    const void *grad, *grad_x0, *x_t, *eps;
    void *to_x_t, *to_eps, *to_center, *to_previous;  // null: not wanted
    DType dtype;
    int64_t batch, per_sample;
    const void* rows;
    const int64_t* t;
    int64_t row_count, row_step;
    bool clip;
    double lo, hi;
};

struct ForwardArguments {
    const void *x0, *center, *noise;
    void *x_t, *anchored;  // anchored noise, may be null
    DType dtype;
    Block size;
    const double* alpha_bar;  // [length]
    int64_t length;
    const int64_t* t;  // [batch], below 0: x_t = x0
    bool draw;
    NoiseSource source;
};

struct ForwardGradients {
    const void *grad, *grad_noise;
    void *to_x0, *to_noise, *to_center;
    DType dtype;
    int64_t batch, per_sample;
    const double* alpha_bar;
    int64_t length;
    const int64_t* t;
};

}  // namespace lowlight
