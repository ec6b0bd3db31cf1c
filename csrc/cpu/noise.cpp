// fills tensors with counter-based noise
#include "noise_line.h"

namespace lowlight {
LOWLIGHT_DECLARE_LEVEL(LOWLIGHT_CPU_LEVEL)
namespace LOWLIGHT_CPU_LEVEL {

template <class T, bool kNormal>
static void fill(const NoiseArguments& a) {
    const Block& size = a.size;
    int64_t rows = size.batch * size.channels * size.height, elements = rows * size.width;
    int64_t blocks = (size.width + kBlock - 1) / kBlock, items = rows * blocks;
    bool stream = elements * int64_t(sizeof(T)) >= kStreamBytes;
    LOWLIGHT_PARALLEL(elements, items)
    for (int64_t item = 0; item < items; ++item) {
        NoiseBuffer buffer;
        alignas(64) Real<T> values[kBlock];
        int64_t row = item / blocks, x = (item - row * blocks) * kBlock;
        int64_t plane = row / size.height, sample = plane / size.channels;
        int64_t n = size.width - x < kBlock ? size.width - x : kBlock;
        NoiseLine line = noise_line(a.source, sample, plane - sample * size.channels, row - plane * size.height);
        const Real<T>* drawn = load_noise(draw_line<kNormal>(buffer, line, x, n), values, n);
        store(static_cast<T*>(a.out) + row * size.width + x, drawn, n, stream);
        if (stream) stream_fence();
    }
}

void noise_cpu(const NoiseArguments& a) {
    dispatch(a.dtype, [&](auto tag) {
        using T = decltype(tag);
        a.normal ? fill<T, true>(a) : fill<T, false>(a);
    });
}

void philox_cpu(const PhiloxArguments& a) {
    int64_t* words = a.words;
    LOWLIGHT_PARALLEL(a.n, a.n)
    for (int64_t i = 0; i < a.n; ++i) {
        const int64_t *c = a.counter + 4 * i, *k = a.key + 2 * i;
        Words w = philox(Words{uint32_t(c[0]), uint32_t(c[1]), uint32_t(c[2]), uint32_t(c[3])}, uint32_t(k[0]),
                         uint32_t(k[1]));
        words[4 * i] = w.w0;
        words[4 * i + 1] = w.w1;
        words[4 * i + 2] = w.w2;
        words[4 * i + 3] = w.w3;
    }
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
