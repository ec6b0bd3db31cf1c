// words of the further sources of a pixel, and the noise that is made of them
#pragma once

#include "../core/sources.h"
#include "../core/tukey.h"
#include "noise_line.h"

namespace lowlight {
namespace LOWLIGHT_CPU_LEVEL {

struct WordBuffer {
    NoiseBuffer noise;
    alignas(64) uint32_t pixels[4 * NoiseBuffer::kCounters];
};

// words of one source for pixels x .. x + n - 1 (n <= kBlock) of a row
LOWLIGHT_FN const uint32_t* draw_pixel_words(WordBuffer& buffer, NoiseLine line, uint32_t source, int64_t x,
                                             int64_t n) {
    line = source_line(line, source);
    int64_t first = line.x + x, skip = first & 3;
    int64_t counters = (((skip + n + 3) >> 2) + 15) & ~int64_t(15);
    NoiseBuffer& noise = buffer.noise;
    draw_words(noise, line, uint32_t(uint64_t(first >> 2)), counters);
    for (int64_t i = 0; i < counters; ++i) {
        buffer.pixels[4 * i] = noise.w0[i];
        buffer.pixels[4 * i + 1] = noise.w1[i];
        buffer.pixels[4 * i + 2] = noise.w2[i];
        buffer.pixels[4 * i + 3] = noise.w3[i];
    }
    return buffer.pixels + skip;
}

LOWLIGHT_FN void tukey_line(WordBuffer& buffer, TukeyShape shape, NoiseLine line, int64_t x, int64_t n, float* out) {
    const uint32_t* words = draw_pixel_words(buffer, line, kReadTukey, x, n);
    for (int64_t i = 0; i < n; ++i) out[i] = tukey_quantile(shape, words[i]);
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
