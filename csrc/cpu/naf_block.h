// the NAF block in two passes over a picture: rows until the gate, whose mean is what channel attention asks for, then
// pixels until the end. What is wider than the picture lies in the caches alone.
#pragma once

#include "../core/naf_arguments.h"
#include "naf_products.h"

namespace lowlight {
namespace LOWLIGHT_CPU_LEVEL {

// numbers of the rows that a strip of the picture keeps
constexpr int64_t kStripNumbers = 65536;
// a band of fewer rows computes too many of its neighbours'
constexpr int64_t kLeastRows = 4;

// Columns [left, right) of a sample, whose rows are gated from the top to the bottom, `rows` at a time. With the two
// beside them they lie in a ring of [rows + 2, columns + 2, 2 channels], zero beyond the picture.
template <class T, int64_t kFixed>
struct Strip {
    const NafArguments& a;
    const NafWeights<T>& weights;
    Channels<kFixed> channels;
    int64_t left, right, rows, line;  // line: numbers of a row of the ring
    Lines<float> ring;
    Lines<T> normal;

    Strip(const NafArguments& a_, const NafWeights<T>& weights_, int64_t left_, int64_t right_, int64_t most)
        : a(a_),
          weights(weights_),
          channels{a_.channels},
          left(left_),
          right(right_),
          rows(smaller(share_of(kShared, right_ - left_), most)),
          line((right_ - left_ + 2) * 2 * a_.channels),
          ring((rows + 2) * line),
          normal((rows + 2) * line / 2 + kGroup * a_.channels) {}

    float* row_of(int64_t row) { return ring.values + (row + 1) % (rows + 2) * line; }

    // norm and 1 x 1 convolution of rows [first, end) of x, some of them beyond the picture
    void expand(const T* x, int64_t first, int64_t end) {
        for (; first < 0; ++first) memset(row_of(first), 0, line * sizeof(float));
        for (; end > a.height && end > first; --end) memset(row_of(end - 1), 0, line * sizeof(float));
        int64_t begin = left > 0 ? left - 1 : 0, stop = right < a.width ? right + 1 : right, columns = stop - begin;
        int64_t n = (end - first) * columns, width = 2 * channels, margin = (begin - (left - 1)) * width;
        for (int64_t row = first; row < end; ++row) {
            if (margin) memset(row_of(row), 0, width * sizeof(float));
            if (stop == right) memset(row_of(row) + line - width, 0, width * sizeof(float));
            normalise(x + (row * a.width + begin) * channels, normal.values + (row - first) * columns * channels,
                      columns, channels, float(a.eps));
        }
        for (int64_t panel = 0; panel < channels / kLane; ++panel) {
            const T* matrix = weights.expand + panel * channels * kPanel;
            const float* bias = weights.expand_bias + panel * kPanel;
            int64_t row = first, column = 0;
            float* next = row_of(row) + margin + panel * kPanel;
            for (int64_t pixel = 0; pixel < n; pixel += kPixels) {
                float* to[kPixels];
                for (int64_t i = 0; i < kPixels; ++i) {
                    to[i] = next, next += width;
                    if (++column == columns) column = 0, next = row_of(++row) + margin + panel * kPanel;
                }
                int64_t count = n - pixel;
                products<2>(normal.values + pixel * channels, matrix, channels,
                            [&](int64_t i, int64_t lane, const Register* sums) {
                                if (i >= count) return;
                                Register first_half, second_half;
                                get(first_half, bias + lane), get(second_half, bias + kLane + lane);
                                first_half += sums[0], second_half += sums[1];
                                memcpy(to[i] + lane, &first_half, sizeof(Register));
                                memcpy(to[i] + kLane + lane, &second_half, sizeof(Register));
                            });
            }
        }
    }

    // 3 x 3 of each channel and gate of a row -> out [columns, channels], added to sums [channels]
    void gate(int64_t row, T* out, float* sums) {
        int64_t width = 2 * channels;
        const float* lines[3] = {row_of(row - 1), row_of(row), row_of(row + 1)};
        for (int64_t panel = 0; panel < channels / kLane; ++panel)
            for (int64_t lane = 0; lane < kLane; lane += kWidth) {
                Register kernel[2][9], bias[2], total;
                int64_t at = panel * kPanel + lane;
                for (int64_t half = 0; half < 2; ++half, at += kLane) {
                    get(bias[half], weights.depthwise_bias + at);
                    for (int64_t tap = 0; tap < 9; ++tap) get(kernel[half][tap], weights.depthwise + tap * width + at);
                }
                get(total, sums + panel * kLane + lane);
                const float *above = lines[0] + panel * kPanel + lane, *here = lines[1] + panel * kPanel + lane,
                            *below = lines[2] + panel * kPanel + lane;
                T* to = out + panel * kLane + lane;
                for (int64_t column = left; column < right; ++column) {
                    Register made[2] = {bias[0], bias[1]}, value;
#pragma GCC unroll 3
                    for (int64_t tap = 0; tap < 3; ++tap)
                        for (int64_t half = 0; half < 2; ++half) {
                            get(value, above + tap * width + half * kLane), made[half] += kernel[half][tap] * value;
                            get(value, here + tap * width + half * kLane), made[half] += kernel[half][tap + 3] * value;
                            get(value, below + tap * width + half * kLane), made[half] += kernel[half][tap + 6] * value;
                        }
                    made[0] *= made[1], total += made[0];
                    put(to, made[0]);
                    above += width, here += width, below += width, to += channels;
                }
                memcpy(sums + panel * kLane + lane, &total, sizeof(Register));
            }
    }

    // rows [top, bottom); sums [height, channels]
    void run(const T* x, T* out, float* sums, int64_t top, int64_t bottom) {
        expand(x, top - 1, top + 1);
        for (int64_t first = top; first < bottom; first += rows) {
            int64_t end = smaller(first + rows, bottom);
            expand(x, first + 1, end + 1);
            for (int64_t row = first; row < end; ++row)
                gate(row, out + (row * a.width + left) * channels, sums + row * channels);
        }
    }
};

// x -> the gated picture in out, the sums of its rows in sums [batch, height, channels]
template <class T, int64_t kFixed>
static void gated(const NafArguments& a, const NafWeights<T>& weights, float* sums) {
    int64_t bands = share_of(threads(), a.batch), most = a.height / kLeastRows, size = a.height * a.width * a.channels;
    bands = smaller(bands, most < 1 ? 1 : most);
    int64_t rows = share_of(a.height, bands), items = a.batch * bands;
    int64_t strips = share_of(a.width, 1 + kStripNumbers / (6 * a.channels)), columns = share_of(a.width, strips);
    LOWLIGHT_PRAGMA(omp parallel for schedule(dynamic) if (items > 1))
    for (int64_t item = 0; item < items; ++item) {
        int64_t sample = item / bands, top = item % bands * rows, bottom = smaller(top + rows, a.height);
        if (top >= bottom) continue;
        float* into = sums + sample * a.height * a.channels;
        for (int64_t left = 0; left < a.width; left += columns) {
            Strip<T, kFixed> strip(a, weights, left, smaller(left + columns, a.width), bottom - top);
            strip.run(static_cast<const T*>(a.x) + sample * size, static_cast<T*>(a.out) + sample * size, into, top,
                      bottom);
        }
    }
}

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
