// the NAF block in two passes over a picture: rows until the gate, whose mean is what channel attention asks for, then
// pixels until the end. What is wider than the picture lies in the caches alone.
#pragma once

#include "naf_rows.h"

namespace lowlight {
namespace LOWLIGHT_CPU_LEVEL {

// the project weights of one sample, times the channel attention of what enters them
template <class T>
static void attend(const NafArguments& a, const NafWeights<T>& weights, const float* sums, T* project) {
    int64_t channels = a.channels;
    Lines<float> mean(channels), attention(channels);
    for (int64_t c = 0; c < channels; ++c) {
        double sum = 0;
        for (int64_t row = 0; row < a.height; ++row) sum += double(sums[row * channels + c]);
        mean.values[c] = float(sum / double(a.height * a.width));
    }
    memcpy(attention.values, weights.attention_bias, channels * sizeof(float));
    for (int64_t from = 0; from < channels; ++from)
        for (int64_t c = 0; c < channels; ++c)
            attention.values[c] += weights.attention[from * channels + c] * mean.values[from];
    for (int64_t first = 0; first < channels; first += kPanel)
        for (int64_t c = 0; c < channels; c += kTogether<T>)
            for (int64_t lane = 0; lane < kPanel; lane += kWidth) {
                Register scaled[kTogether<T>];
                for (int64_t i = 0; i < kTogether<T>; ++i) {
                    get(scaled[i], weights.project + first * channels + (c + i) * kPanel + lane);
                    scaled[i] *= attention.values[c + i];
                }
                put_together(project + first * channels + c * kPanel + lane * kTogether<T>, scaled);
            }
}

// what a block of pixels is between its products: each [pixels, channels]
template <class T>
struct Between {
    Lines<float> y;
    Lines<T> normal, half;
    explicit Between(int64_t n) : y(n), normal(n), half(n) {}
};

// n pixels at x, gated in out -> out
template <class T, int64_t kFixed>
static void finish(const NafArguments& a, const NafWeights<T>& weights, const T* project, const T* x, T* out, int64_t n,
                   Between<T>& between) {
    Channels<kFixed> channels{a.channels};
    float* y = between.y.values;
    T *normal = between.normal.values, *half = between.half.values;
    auto into_y = [&](int64_t begin, const T* from, int64_t count) {
        convolve(from, project, channels, count, [&](int64_t pixel, int64_t c, Register sums) {
            if (pixel >= count) return;
            Register bias, before;
            get(bias, weights.project_bias + c), get(before, x + (begin + pixel) * channels + c);
            sums += bias, sums += before;
            put(y + (begin + pixel) * channels + c, sums);
        });
    };
    // what lies beyond the last group is not ours to read
    int64_t whole = n / kPixels * kPixels;
    into_y(0, out, whole);
    if (whole < n) {
        memcpy(half, out + whole * channels, (n - whole) * channels * sizeof(T));
        into_y(whole, half, n - whole);
    }
    normalise(y, normal, n, channels, float(a.eps));
    for (int64_t panel = 0; panel < channels / kLane; ++panel) {
        const T* matrix = weights.widen + panel * channels * kPanel;
        const float* bias = weights.widen_bias + panel * kPanel;
        for (int64_t group = 0; group < n; group += kPixels)
            products<2>(
                normal + group * channels, matrix, channels, [&](int64_t pixel, int64_t lane, const Register* sums) {
                    Register left, right;
                    get(left, bias + lane), get(right, bias + kLane + lane);
                    put(half + (group + pixel) * channels + panel * kLane + lane, (left + sums[0]) * (right + sums[1]));
                });
    }
    convolve(half, weights.shrink, channels, n, [&](int64_t pixel, int64_t c, Register sums) {
        if (pixel >= n) return;
        Register bias, before;
        get(bias, weights.shrink_bias + c), get(before, y + pixel * channels + c);
        sums += bias, sums += before;
        put(out + pixel * channels + c, sums);
    });
}

template <class T, int64_t kFixed>
static void naf_block(const NafArguments& a) {
    NafWeights<T> weights(a.weights, a.channels);
    int64_t pixels = a.height * a.width, matrix = share_of(a.channels, kPanel) * kPanel * a.channels;
    Lines<float> sums(a.batch * a.height * a.channels);
    Lines<T> project(a.batch * matrix);
    memset(sums.values, 0, a.batch * a.height * a.channels * sizeof(float));
    gated<T, kFixed>(a, weights, sums.values);
    for (int64_t sample = 0; sample < a.batch; ++sample)
        attend(a, weights, sums.values + sample * a.height * a.channels, project.values + sample * matrix);
    int64_t groups = share_of(pixels * a.batch, kGroup * threads());
    int64_t some = smaller(groups * kGroup, kShared), blocks = share_of(pixels, some), items = a.batch * blocks;
    LOWLIGHT_PRAGMA(omp parallel if (items > 1)) {
        Between<T> between(some * a.channels);
        LOWLIGHT_PRAGMA(omp for schedule(dynamic))
        for (int64_t item = 0; item < items; ++item) {
            int64_t sample = item / blocks, first = item % blocks * some, at = (sample * pixels + first) * a.channels;
            finish<T, kFixed>(a, weights, project.values + sample * matrix, static_cast<const T*>(a.x) + at,
                              static_cast<T*>(a.out) + at, smaller(some, pixels - first), between);
        }
    }
}

// of maps of T
template <class T>
static void naf_block(const NafArguments& a) {
    a.channels == 16 ? naf_block<T, 16>(a) : a.channels == 32 ? naf_block<T, 32>(a) : naf_block<T, 0>(a);
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
