// the first half of the NAF block, rows until the gate: norm, 1 x 1, depthwise 3 x 3, product of the halves
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

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
