// the anchored forward process and its gradients: one pass over memory, noise drawn on the way
#include "../core/step.h"
#include "noise_line.h"

namespace lowlight {
LOWLIGHT_DECLARE_LEVEL(LOWLIGHT_CPU_LEVEL)
namespace LOWLIGHT_CPU_LEVEL {

template <class R, bool kCenter>
static void q_sample(const ForwardArguments& a) {
    Block size = a.size;
    if (!a.draw) size = one_row_a_sample(size);
    int64_t rows = size.batch * size.channels * size.height, elements = rows * size.width;
    int64_t blocks = (size.width + kBlock - 1) / kBlock, items = rows * blocks;
    bool stream = elements * Stored<R>(nullptr, a.dtype).bytes() >= kStreamBytes;
    LOWLIGHT_PARALLEL(elements, items)
    for (int64_t item = 0; item < items; ++item) {
        NoiseBuffer drawn;
        alignas(64) R buffers[3][kBlock], noise[kBlock], out[kBlock];
        int64_t row = item / blocks, x = (item - row * blocks) * kBlock, at = row * size.width + x;
        int64_t plane = row / size.height, sample = plane / size.channels;
        int64_t n = size.width - x < kBlock ? size.width - x : kBlock;
        auto input = [&](const void* tensor, int i) { return load(Stored<R>(tensor, a.dtype) + at, buffers[i], n); };
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
            noise[i] = anchored_noise(k, kCenter, z[i], kCenter ? center[i] : R(0));
            out[i] = forward_value(k, x0[i], noise[i]);
        }
        // x0 itself, also where the noise is not finite
        store(Stored<R>(a.x_t, a.dtype) + at, t < 0 ? x0 : out, n, stream);
        if (a.anchored) store(Stored<R>(a.anchored, a.dtype) + at, noise, n, stream);
        if (stream) stream_fence();
    }
}

void q_sample_cpu(const ForwardArguments& a) {
    dispatch_real(a.dtype, [&](auto tag) {
        using R = decltype(tag);
        a.center ? q_sample<R, true>(a) : q_sample<R, false>(a);
    });
}

template <class R>
static void q_sample_gradients(const ForwardGradients& a) {
    int64_t blocks = (a.per_sample + kBlock - 1) / kBlock, items = a.batch * blocks, elements = a.batch * a.per_sample;
    bool stream = elements * Stored<R>(nullptr, a.dtype).bytes() >= kStreamBytes;
    LOWLIGHT_PARALLEL(elements, items)
    for (int64_t item = 0; item < items; ++item) {
        alignas(64) R buffers[2][kBlock], result[kBlock];
        int64_t sample = item / blocks, x = (item - sample * blocks) * kBlock, at = sample * a.per_sample + x;
        int64_t n = a.per_sample - x < kBlock ? a.per_sample - x : kBlock;
        auto input = [&](const void* tensor, int i) { return load(Stored<R>(tensor, a.dtype) + at, buffers[i], n); };
        ForwardRow<R> k = forward_row<R>(a.alpha_bar, a.t[sample]);
        const R *g = input(a.grad, 0), *g_noise = a.grad_noise ? input(a.grad_noise, 1) : nullptr;
        auto output = [&](void* tensor, auto part) {
            if (!tensor) return;
            if (g_noise)
                for (int64_t i = 0; i < n; ++i) result[i] = part(forward_gradient(k, g[i], true, g_noise[i]));
            else
                for (int64_t i = 0; i < n; ++i) result[i] = part(forward_gradient(k, g[i], false, R(0)));
            store(Stored<R>(tensor, a.dtype) + at, result, n, stream);
        };
        output(a.to_x0, [](ForwardGradient<R> v) { return v.x0; });
        output(a.to_noise, [](ForwardGradient<R> v) { return v.noise; });
        output(a.to_center, [](ForwardGradient<R> v) { return v.center; });
        if (stream) stream_fence();
    }
}

void q_sample_backward_cpu(const ForwardGradients& a) {
    dispatch_real(a.dtype, [&](auto tag) { q_sample_gradients<decltype(tag)>(a); });
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
