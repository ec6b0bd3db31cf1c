// the ways between NAFNet's levels: products of pixels that are gathered, and given where they belong
#pragma once

#include "../core/naf_arguments.h"
#include "naf_products.h"

namespace lowlight {
namespace LOWLIGHT_CPU_LEVEL {

template <class T, bool kUp>
static void naf_scale(const NafScaleArguments& a) {
    const T *x = static_cast<const T*>(a.x), *skip = static_cast<const T*>(a.skip);
    const T* weights = static_cast<const T*>(a.weights);
    T* out = static_cast<T*>(a.out);
    int64_t side = kUp ? 1 : 2, width = a.width / side, pixels = a.batch * (a.height / side) * width;
    Channels<0> inputs{side * side * a.channels};
    int64_t outputs = 2 * a.channels, run = side * a.channels, half = a.channels / 2;
    const float* bias = reinterpret_cast<const float*>(weights + inputs * outputs);
    int64_t items = share_of(pixels, kShared);
    LOWLIGHT_PRAGMA(omp parallel if (items > 1)) {
        Lines<T> gathered(kShared * inputs);
        T* from = gathered.values;
        LOWLIGHT_PRAGMA(omp for schedule(dynamic))
        for (int64_t item = 0; item < items; ++item) {
            int64_t first = item * kShared, n = smaller(kShared, pixels - first), at[kShared];
            for (int64_t i = 0; i < n; ++i) {
                // of all samples' rows, one under the other
                int64_t row = (first + i) / width, column = (first + i) % width;
                for (int64_t line = 0; line < side; ++line)
                    memcpy(from + i * inputs + line * run, x + ((row * side + line) * width + column) * run,
                           run * sizeof(T));
                at[i] = kUp ? (2 * row * width + column) * a.channels : (first + i) * outputs;
            }
            for (int64_t channel = 0; channel < outputs; channel += kPanel) {
                int64_t to[2] = {channel, channel + kLane};
                for (int64_t i = 0; i < 2 && kUp; ++i) {
                    int64_t part = to[i] / half;
                    to[i] += ((part / 2 * 2 * width + part % 2) - part) * half;
                }
                for (int64_t group = 0; group < n; group += kPixels)
                    products<2>(from + group * inputs, weights + channel * inputs, inputs,
                                [&](int64_t pixel, int64_t lane, const Register* sums) {
                                    if (group + pixel >= n) return;
                                    for (int64_t i = 0; i < 2; ++i) {
                                        int64_t place = at[group + pixel] + to[i] + lane;
                                        Register more;
                                        if (kUp)
                                            get(more, skip + place);
                                        else
                                            get(more, bias + to[i] + lane);
                                        put(out + place, sums[i] + more);
                                    }
                                });
            }
        }
    }
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
