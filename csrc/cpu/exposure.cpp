// noise of a raw sensor and the exposure process: one pass over memory, everything random drawn on the way
#include "../core/exposure.h"

#include "poisson_line.h"

namespace lowlight {
LOWLIGHT_DECLARE_LEVEL(LOWLIGHT_CPU_LEVEL)
namespace LOWLIGHT_CPU_LEVEL {

// everything a block draws with
struct RawBuffer {
    WordBuffer words;
    alignas(64) float mean[kBlock], drawn[kPadded];
};

// y [n] in digital numbers -> with its noise
template <class R>
static void add_noise(const RawNoiseArguments& a, RawRow<R> k, RawBuffer& b, NoiseLine line, int64_t x, int64_t n,
                      R of_row, R* y) {
    if (a.parts & kPartU) {
        const uint32_t* words = draw_pixel_words(b.words, line, kQuantisation, x, n);
        for (int64_t i = 0; i < n; ++i) y[i] = with_quantisation(y[i], R(uniform(words[i])));
    }
    if (a.parts & kPartP) {
        for (int64_t i = 0; i < n; ++i) b.mean[i] = photon_mean(k, y[i]);
        poisson_line(line, x, n, b.mean, b.drawn);
        for (int64_t i = 0; i < n; ++i) y[i] = k.gain * R(b.drawn[i]);
    } else if (a.parts & kPartp) {
        const float* z = draw_line<true>(b.words.noise, source_line(line, kSignalNormal), x, n);
        for (int64_t i = 0; i < n; ++i) y[i] = with_signal_noise(k, y[i], R(z[i]));
    }
    if (a.parts & kPartR)
        for (int64_t i = 0; i < n; ++i) y[i] = y[i] + of_row;
    const float* z = b.drawn;
    if (a.parts & kPartg)
        z = draw_line<true>(b.words.noise, source_line(line, kReadNormal), x, n);
    else if (a.parts & kPartG)
        tukey_line(b.words, k.shape, line, x, n, b.drawn);
    if (a.parts & (kPartg | kPartG))
        for (int64_t i = 0; i < n; ++i) y[i] = y[i] + k.read_scale * R(z[i]);
}

template <class T>
static void raw_noise(const RawNoiseArguments& a) {
    using R = Real<T>;
    const Block& size = a.size;
    int64_t rows = size.batch * size.channels * size.height, elements = rows * size.width;
    int64_t blocks = (size.width + kBlock - 1) / kBlock, items = rows * blocks;
    bool stream = elements * int64_t(sizeof(T)) >= kStreamBytes;
    LOWLIGHT_PARALLEL(elements, items)
    for (int64_t item = 0; item < items; ++item) {
        RawBuffer buffer;
        alignas(64) R buffers[kBlock], values[kBlock];
        int64_t row = item / blocks, x = (item - row * blocks) * kBlock, at = row * size.width + x;
        int64_t plane = row / size.height, sample = plane / size.channels;
        int64_t channel = plane - sample * size.channels, y = row - plane * size.height;
        int64_t n = size.width - x < kBlock ? size.width - x : kBlock;
        RawRow<R> k = raw_row<R>(a.rows + kRawColumns * sample * a.row_step, a.saturation, a.parts);
        NoiseLine line = noise_line(a.source, sample, channel, y);
        const R* clean = load(static_cast<const T*>(a.clean) + at, buffers, n);
        for (int64_t i = 0; i < n; ++i) values[i] = clean[i] * k.to_numbers;
        R of_row = a.parts & kPartR ? k.row_scale * R(row_normal(line, channel)) : R(0);
        add_noise(a, k, buffer, line, x, n, of_row, values);
        for (int64_t i = 0; i < n; ++i) {
            R value = values[i] * k.to_image;
            values[i] = a.clip ? unit(value) : value;
        }
        store(static_cast<T*>(a.out) + at, values, n, stream);
        if (stream) stream_fence();
    }
}

void raw_noise_cpu(const RawNoiseArguments& a) {
    dispatch(a.dtype, [&](auto tag) { raw_noise<decltype(tag)>(a); });
}

template <class T>
static void exposure_step(const ExposureArguments& a) {
    using R = Real<T>;
    const Block& size = a.size;
    int64_t rows = size.batch * size.channels * size.height, elements = rows * size.width;
    int64_t blocks = (size.width + kBlock - 1) / kBlock, items = rows * blocks;
    bool stream = elements * int64_t(sizeof(T)) >= kStreamBytes;
    LOWLIGHT_PARALLEL(elements, items)
    for (int64_t item = 0; item < items; ++item) {
        alignas(64) R buffers[3][kBlock], values[kBlock];
        alignas(64) float mean[kBlock], drawn[kPadded];
        int64_t row = item / blocks, x = (item - row * blocks) * kBlock, at = row * size.width + x;
        int64_t plane = row / size.height, sample = plane / size.channels;
        int64_t n = size.width - x < kBlock ? size.width - x : kBlock;
        auto input = [&](const void* tensor, int i) { return load(static_cast<const T*>(tensor) + at, buffers[i], n); };
        ExposureRow<R> k = exposure_row<R>(a.rows + 3 * sample * a.row_step);
        const R *output = input(a.output, 0), *original = input(a.original, 1), *counts = values;
        if (a.counts)
            counts = input(a.counts, 2);
        else
            for (int64_t i = 0; i < n; ++i) values[i] = exposure_mean(k, output[i]);
        if (a.draw) {
            for (int64_t i = 0; i < n; ++i) mean[i] = float(values[i]);
            NoiseLine line = noise_line(a.source, sample, plane - sample * size.channels, row - plane * size.height);
            poisson_line(line, x, n, mean, drawn);
            counts = load_noise(drawn, values, n);
        }
        for (int64_t i = 0; i < n; ++i) values[i] = exposure_value(k, original[i], counts[i]);
        store(static_cast<T*>(a.out) + at, values, n, stream);
        if (stream) stream_fence();
    }
}

void exposure_step_cpu(const ExposureArguments& a) {
    dispatch(a.dtype, [&](auto tag) { exposure_step<decltype(tag)>(a); });
}

template <class T>
static void exposure_gradients(const ExposureGradients& a) {
    using R = Real<T>;
    int64_t blocks = (a.per_sample + kBlock - 1) / kBlock, items = a.batch * blocks, elements = a.batch * a.per_sample;
    bool stream = elements * int64_t(sizeof(T)) >= kStreamBytes;
    LOWLIGHT_PARALLEL(elements, items)
    for (int64_t item = 0; item < items; ++item) {
        alignas(64) R buffers[2][kBlock], result[kBlock];
        int64_t sample = item / blocks, x = (item - sample * blocks) * kBlock, at = sample * a.per_sample + x;
        int64_t n = a.per_sample - x < kBlock ? a.per_sample - x : kBlock;
        auto input = [&](const void* tensor, int i) { return load(static_cast<const T*>(tensor) + at, buffers[i], n); };
        ExposureRow<R> k = exposure_row<R>(a.rows + 3 * sample * a.row_step);
        const R* grad = input(a.grad, 0);
        auto output = [&](void* tensor, const void* of, R factor) {
            if (!tensor) return;
            const R* value = input(of, 1);
            for (int64_t i = 0; i < n; ++i) result[i] = exposure_gradient(factor, grad[i], value[i]);
            store(static_cast<T*>(tensor) + at, result, n, stream);
        };
        output(a.to_output, a.output, k.image * k.photons);
        output(a.to_original, a.original, k.image * k.measured);
        if (stream) stream_fence();
    }
}

void exposure_step_backward_cpu(const ExposureGradients& a) {
    dispatch(a.dtype, [&](auto tag) { exposure_gradients<decltype(tag)>(a); });
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
