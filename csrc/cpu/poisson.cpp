// fills tensors with Poisson counts and Tukey-lambda noise
#include "poisson_line.h"

namespace lowlight {
LOWLIGHT_DECLARE_LEVEL(LOWLIGHT_CPU_LEVEL)
namespace LOWLIGHT_CPU_LEVEL {

template <class T>
static void count_photons(const PoissonArguments& a) {
    using R = Real<T>;
    const Block& size = a.size;
    int64_t rows = size.batch * size.channels * size.height, elements = rows * size.width;
    int64_t blocks = (size.width + kBlock - 1) / kBlock, items = rows * blocks, wrong = 0;
    bool stream = elements * int64_t(sizeof(T)) >= kStreamBytes;
    LOWLIGHT_PARALLEL(elements, items)
    for (int64_t item = 0; item < items; ++item) {
        alignas(64) R buffers[kBlock], out[kBlock];
        alignas(64) float mean[kBlock], counts[kPadded];
        int64_t row = item / blocks, x = (item - row * blocks) * kBlock, at = row * size.width + x;
        int64_t plane = row / size.height, sample = plane / size.channels;
        int64_t n = size.width - x < kBlock ? size.width - x : kBlock;
        NoiseLine line = noise_line(a.source, sample, plane - sample * size.channels, row - plane * size.height);
        const R* given = load(static_cast<const T*>(a.mean) + at, buffers, n);
        for (int64_t i = 0; i < n; ++i) mean[i] = float(given[i]);
        if (int64_t bad = poisson_line(line, x, n, mean, counts)) {
            LOWLIGHT_PRAGMA(omp atomic)
            wrong += bad;
        }
        store(static_cast<T*>(a.out) + at, load_noise(counts, out, n), n, stream);
        if (stream) stream_fence();
    }
    if (a.wrong) *a.wrong = wrong;
}

void poisson_cpu(const PoissonArguments& a) {
    dispatch(a.dtype, [&](auto tag) { count_photons<decltype(tag)>(a); });
}

template <class T>
static void fill(const TukeyArguments& a) {
    const Block& size = a.size;
    int64_t rows = size.batch * size.channels * size.height, elements = rows * size.width;
    int64_t blocks = (size.width + kBlock - 1) / kBlock, items = rows * blocks;
    bool stream = elements * int64_t(sizeof(T)) >= kStreamBytes;
    TukeyShape shape = tukey_shape(a.lambda);
    LOWLIGHT_PARALLEL(elements, items)
    for (int64_t item = 0; item < items; ++item) {
        WordBuffer buffer;
        alignas(64) float values[kBlock];
        alignas(64) Real<T> widened[kBlock];
        int64_t row = item / blocks, x = (item - row * blocks) * kBlock;
        int64_t plane = row / size.height, sample = plane / size.channels;
        int64_t n = size.width - x < kBlock ? size.width - x : kBlock;
        NoiseLine line = noise_line(a.source, sample, plane - sample * size.channels, row - plane * size.height);
        tukey_line(buffer, shape, line, x, n, values);
        store(static_cast<T*>(a.out) + row * size.width + x, load_noise(values, widened, n), n, stream);
        if (stream) stream_fence();
    }
}

void tukey_lambda_cpu(const TukeyArguments& a) {
    dispatch(a.dtype, [&](auto tag) { fill<decltype(tag)>(a); });
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
