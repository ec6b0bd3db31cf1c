// the diffusion step: one pass over memory, noise drawn on the way
#include "../core/step.h"

#include "noise_line.h"

namespace lowlight {
LOWLIGHT_DECLARE_LEVEL(LOWLIGHT_CPU_LEVEL)
namespace LOWLIGHT_CPU_LEVEL {

// one block of n pixels, everything in the accumulator's type; x0 and out are buffers
template <class R, bool kCenter, bool kPrevious, bool kNoise>
static void step_block(StepRow<R> k, Bounds<R> clip, const R* x_t, const R* eps, const R* center, const R* previous,
                       const R* z, R* out, R* x0, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
        R estimate = clamped(step_estimate(k, x_t[i], eps[i]), clip.lo, clip.hi);
        x0[i] = estimate;
        out[i] = step_value(k, StepTerms{kCenter, kPrevious, kNoise}, estimate, x_t[i], eps[i],
                            kCenter ? center[i] : R(0), kPrevious ? previous[i] : R(0), kNoise ? z[i] : R(0));
    }
}

// step_block for the terms that there are
template <class R, class... Given>
static void step_terms(bool center, bool previous, bool noise, Given... given) {
    auto with_noise = [&](auto c, auto p) {
        noise ? step_block<R, c.value, p.value, true>(given...) : step_block<R, c.value, p.value, false>(given...);
    };
    auto with_previous = [&](auto c) { previous ? with_noise(c, std::true_type()) : with_noise(c, std::false_type()); };
    center ? with_previous(std::true_type()) : with_previous(std::false_type());
}

template <class R>
static void step(const StepArguments& a) {
    Block size = a.size;
    // without drawing a sample is one long row
    if (!a.draw) size = one_row_a_sample(size);
    int64_t rows = size.batch * size.channels * size.height, elements = rows * size.width;
    int64_t blocks = (size.width + kBlock - 1) / kBlock, items = rows * blocks;
    bool stream = elements * Stored<R>(nullptr, a.dtype).bytes() >= kStreamBytes;
    LOWLIGHT_PARALLEL(elements, items)
    for (int64_t item = 0; item < items; ++item) {
        NoiseBuffer drawn;
        alignas(64) R buffers[5][kBlock], out[kBlock], x0[kBlock];
        int64_t row = item / blocks, x = (item - row * blocks) * kBlock, at = row * size.width + x;
        int64_t plane = row / size.height, sample = plane / size.channels;
        int64_t n = size.width - x < kBlock ? size.width - x : kBlock;
        auto input = [&](const void* tensor, int i) { return load(Stored<R>(tensor, a.dtype) + at, buffers[i], n); };
        StepRow<R> k = step_row<R>(a.rows, a.t ? a.t[sample] : sample * a.row_step);
        const R* z = nullptr;
        // drawing costs more than the rest: not for a row that does not use it
        if (a.draw && k.s != R(0)) {
            NoiseLine line = noise_line(a.source, sample, plane - sample * size.channels, row - plane * size.height);
            z = load_noise(draw_line<true>(drawn, line, x, n), buffers[4], n);
        } else if (a.draw) {
            for (int64_t i = 0; i < n; ++i) buffers[4][i] = R(0);
            z = buffers[4];
        } else if (a.noise) {
            z = input(a.noise, 4);
        }
        step_terms<R>(a.center, a.x0_previous, z, k, Bounds<R>{R(a.lo), R(a.hi)}, input(a.x_t, 0), input(a.eps, 1),
                      a.center ? input(a.center, 2) : nullptr, a.x0_previous ? input(a.x0_previous, 3) : nullptr, z,
                      out, x0, n);
        store(Stored<R>(a.out, a.dtype) + at, out, n, stream);
        if (a.x0) store(Stored<R>(a.x0, a.dtype) + at, x0, n, stream);
        if (stream) stream_fence();
    }
}

void step_cpu(const StepArguments& a) {
    dispatch_real(a.dtype, [&](auto tag) { step<decltype(tag)>(a); });
}

template <class R>
static void step_gradients(const StepGradients& a) {
    int64_t blocks = (a.per_sample + kBlock - 1) / kBlock, items = a.batch * blocks, elements = a.batch * a.per_sample;
    bool stream = elements * Stored<R>(nullptr, a.dtype).bytes() >= kStreamBytes;
    LOWLIGHT_PARALLEL(elements, items)
    for (int64_t item = 0; item < items; ++item) {
        alignas(64) R buffers[4][kBlock], inner[kBlock], result[kBlock];
        int64_t sample = item / blocks, x = (item - sample * blocks) * kBlock, at = sample * a.per_sample + x;
        int64_t n = a.per_sample - x < kBlock ? a.per_sample - x : kBlock;
        auto input = [&](const void* tensor, int i) { return load(Stored<R>(tensor, a.dtype) + at, buffers[i], n); };
        StepRow<R> k = step_row<R>(a.rows, a.t ? a.t[sample] : sample * a.row_step);
        const R *g = input(a.grad, 0), *g0 = a.grad_x0 ? input(a.grad_x0, 1) : nullptr;
        if (g0)
            for (int64_t i = 0; i < n; ++i) inner[i] = step_inner(k, g[i], true, g0[i]);
        else
            for (int64_t i = 0; i < n; ++i) inner[i] = step_inner(k, g[i], false, R(0));
        if (a.clip) {
            const R *x_t = input(a.x_t, 2), *eps = input(a.eps, 3);
            for (int64_t i = 0; i < n; ++i)
                inner[i] = clamp_gradient(inner[i], step_estimate(k, x_t[i], eps[i]), Bounds<R>{R(a.lo), R(a.hi)});
        }
        auto output = [&](void* tensor, auto value) {
            if (!tensor) return;
            for (int64_t i = 0; i < n; ++i) result[i] = value(i);
            store(Stored<R>(tensor, a.dtype) + at, result, n, stream);
        };
        output(a.to_x_t, [&](int64_t i) { return step_gradient(k, g[i], inner[i]).x_t; });
        output(a.to_eps, [&](int64_t i) { return step_gradient(k, g[i], inner[i]).eps; });
        output(a.to_center, [&](int64_t i) { return step_gradient(k, g[i], inner[i]).center; });
        output(a.to_previous, [&](int64_t i) { return step_gradient(k, g[i], inner[i]).x0_previous; });
        if (stream) stream_fence();
    }
}

void step_backward_cpu(const StepGradients& a) {
    dispatch_real(a.dtype, [&](auto tag) { step_gradients<decltype(tag)>(a); });
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
