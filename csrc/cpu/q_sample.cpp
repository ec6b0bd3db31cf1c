// the anchored forward process and its gradients: one pass over memory, noise drawn on the way
#include "../core/step.h"
#include "noise_line.h"

namespace lowlight {
LOWLIGHT_DECLARE_LEVEL(LOWLIGHT_CPU_LEVEL)
namespace LOWLIGHT_CPU_LEVEL {

// in double, rounded once; t < 0 and alpha_bar = 1 leave x0 as it is
template <class R>
static ForwardRow<R> forward_row(const double* alpha_bar, int64_t t) {
    double bar = t < 0 ? 1.0 : alpha_bar[t];
    double signal = __builtin_sqrt(bar), sigma = __builtin_sqrt(1.0 - bar);
    // (1 - signal) / sigma without cancellation and without 0 / 0
    return ForwardRow<R>{R(signal), R(sigma), R(sigma / (1.0 + signal))};
}

template <class T, bool kCenter>
static void q_sample(const ForwardArguments& a) {
    using R = Real<T>;
    Block size = a.size;
    if (!a.draw) size = one_row_a_sample(size);
    int64_t rows = size.batch * size.channels * size.height, elements = rows * size.width;
    int64_t blocks = (size.width + kBlock - 1) / kBlock, items = rows * blocks;
    bool stream = elements * int64_t(sizeof(T)) >= kStreamBytes;
    LOWLIGHT_PARALLEL(elements)
    for (int64_t item = 0; item < items; ++item) {
        NoiseBuffer drawn;
        alignas(64) R buffers[3][kBlock], noise[kBlock], out[kBlock];
        int64_t row = item / blocks, x = (item - row * blocks) * kBlock, at = row * size.width + x;
        int64_t plane = row / size.height, sample = plane / size.channels;
        int64_t n = size.width - x < kBlock ? size.width - x : kBlock;
        auto input = [&](const void* tensor, int i) { return load(static_cast<const T*>(tensor) + at, buffers[i], n); };
        int64_t t = a.t[sample];
        ForwardRow<R> k = forward_row<R>(a.alpha_bar, t);
        const R *x0 = input(a.x0, 0), *center = kCenter ? input(a.center, 1) : nullptr, *z = nullptr;
        if (a.draw) {
            NoiseLine line = noise_line(a.source, sample, plane - sample * size.channels, row - plane * size.height);
            z = load_noise(draw_line<true>(drawn, line, x, n), buffers[2], n);
        } else {
            z = input(a.noise, 2);
        }
        for (int64_t i = 0; i < n; ++i) {
            noise[i] = anchored_noise<R, kCenter>(k, z[i], kCenter ? center[i] : R(0));
            out[i] = forward_value(k, x0[i], noise[i]);
        }
        // x0 itself, also where the noise is not finite
        store(static_cast<T*>(a.x_t) + at, t < 0 ? x0 : out, n, stream);
        if (a.anchored) store(static_cast<T*>(a.anchored) + at, noise, n, stream);
        if (stream) stream_fence();
    }
}

void q_sample_cpu(const ForwardArguments& a) {
    dispatch(a.dtype, [&](auto tag) {
        using T = decltype(tag);
        a.center ? q_sample<T, true>(a) : q_sample<T, false>(a);
    });
}

template <class T>
static void q_sample_gradients(const ForwardGradients& a) {
    using R = Real<T>;
    int64_t blocks = (a.per_sample + kBlock - 1) / kBlock, items = a.batch * blocks, elements = a.batch * a.per_sample;
    bool stream = elements * int64_t(sizeof(T)) >= kStreamBytes;
    LOWLIGHT_PARALLEL(elements)
    for (int64_t item = 0; item < items; ++item) {
        alignas(64) R buffers[2][kBlock], inner[kBlock], result[kBlock];
        int64_t sample = item / blocks, x = (item - sample * blocks) * kBlock, at = sample * a.per_sample + x;
        int64_t n = a.per_sample - x < kBlock ? a.per_sample - x : kBlock;
        auto input = [&](const void* tensor, int i) { return load(static_cast<const T*>(tensor) + at, buffers[i], n); };
        ForwardRow<R> k = forward_row<R>(a.alpha_bar, a.t[sample]);
        const R *g = input(a.grad, 0), *g_noise = a.grad_noise ? input(a.grad_noise, 1) : nullptr;
        for (int64_t i = 0; i < n; ++i) inner[i] = k.sigma * g[i];
        if (g_noise)
            for (int64_t i = 0; i < n; ++i) inner[i] = inner[i] + g_noise[i];
        auto output = [&](void* tensor, R factor, const R* of) {
            if (!tensor) return;
            for (int64_t i = 0; i < n; ++i) result[i] = factor * of[i];
            store(static_cast<T*>(tensor) + at, result, n, stream);
        };
        output(a.to_x0, k.signal, g);
        output(a.to_noise, R(1), inner);
        output(a.to_center, R(2) * k.anchor, inner);
        if (stream) stream_fence();
    }
}

void q_sample_backward_cpu(const ForwardGradients& a) {
    dispatch(a.dtype, [&](auto tag) { q_sample_gradients<decltype(tag)>(a); });
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
