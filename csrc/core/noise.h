// where the noise of a pixel comes from, and the noise of the four pixels of one counter
#pragma once

#include "arguments.h"
#include "normal.h"
#include "philox.h"

namespace lowlight {

// one row of noise: the key and the counter words that stay the same along x
struct NoiseLine {
    uint32_t key0, key1, y, plane, stream;
    int64_t x;  // of the row's first pixel
};

LOWLIGHT_FN NoiseLine noise_line(const NoiseSource& source, int64_t sample, int64_t channel, int64_t y) {
    uint64_t seed = source.seeds ? uint64_t(source.seeds[sample * source.seed_step]) : source.seed;
    return NoiseLine{uint32_t(seed),          uint32_t(seed >> 32),
                     uint32_t(source.y0 + y), uint32_t(source.plane + sample * source.plane_step + channel),
                     source.stream,           source.x0};
}

// pixels 4 counter .. 4 counter + 3 of the row that starts at x = 0
template <bool kNormal>
LOWLIGHT_FN void draw_four(NoiseLine line, uint32_t counter, float* pixels) {
    Words w = philox(Words{counter, line.y, line.plane, line.stream}, line.key0, line.key1);
    if (kNormal) {
        Turn low = normal_pair(w.w0, w.w1), high = normal_pair(w.w2, w.w3);
        pixels[0] = low.cosine, pixels[1] = low.sine, pixels[2] = high.cosine, pixels[3] = high.sine;
    } else {
        pixels[0] = uniform(w.w0), pixels[1] = uniform(w.w1), pixels[2] = uniform(w.w2), pixels[3] = uniform(w.w3);
    }
}

}  // namespace lowlight
