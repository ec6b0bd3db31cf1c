// what one thread does for diffusion_step and its gradients
#pragma once

#include "../core/step.h"
#include "noise_body.h"

namespace lowlight {

// The host cannot look at rows and times that lie on the device, least of all while a CUDA graph is recorded: what it
// would refuse (a time outside the table, s without noise) gives NaN, and reads nothing that is not there.
template <class R>
LOWLIGHT_FN StepRow<R> checked_row(const void* rows, const int64_t* t, int64_t count, int64_t step, int64_t sample,
                                   bool may_have_noise) {
    int64_t index = t ? t[sample] : sample * step;
    R nan = R(bit_cast<float>(0x7fc00000u));
    StepRow<R> refused{nan, nan, nan, nan, nan, nan, nan, nan};
    if (index < 0 || index >= count) return refused;
    StepRow<R> row = step_row<R>(rows, index);
    return may_have_noise || row.s == R(0) ? row : refused;
}

template <class T, class G, bool kDraw>
struct StepBody : Lines<G, kDraw> {
    using R = Real<T>;
    static constexpr bool kKeepsShared = kDraw;
    struct Shared {
        StepRow<R> row;
        Bounds<R> clip;
        NoiseLine line;
    };
    StepArguments a;

    StepBody(const StepArguments& a) : Lines<G, kDraw>(a.size, a.source), a(a) {}

    LOWLIGHT_METHOD Shared prepare(int64_t plane) const {
        return Shared{checked_row<R>(a.rows, a.t, a.row_count, a.row_step, this->sample(plane), kDraw || a.noise),
                      Bounds<R>{R(a.lo), R(a.hi)}, this->noise(a.source, plane)};
    }

    LOWLIGHT_METHOD void operator()(const Shared& shared, int64_t plane, int64_t line, int64_t index) const {
        G group = this->group(plane, line, index);
        StepRow<R> k = shared.row;
        StepTerms terms{a.center != nullptr, a.x0_previous != nullptr, kDraw || a.noise != nullptr};
        R x_t[G::kPixels], eps[G::kPixels], center[G::kPixels] = {}, previous[G::kPixels] = {}, z[G::kPixels] = {};
        load_group<T>(a.x_t, group, x_t);
        load_group<T>(a.eps, group, eps);
        if (terms.center) load_group<T>(a.center, group, center);
        if (terms.previous) load_group<T>(a.x0_previous, group, previous);
        if constexpr (kDraw) {
            // drawing costs more than the rest: not for a row that does not use it
            if (k.s != R(0)) {
                float drawn[G::kPixels];
                draw_group<true, G>(below(shared.line, line), index, drawn);
                for (int i = 0; i < G::kPixels; ++i) z[i] = R(drawn[i]);
            }
        } else if (terms.noise) {
            load_group<T>(a.noise, group, z);
        }
        R x0[G::kPixels], out[G::kPixels];
        for (int i = 0; i < G::kPixels; ++i) {
            x0[i] = clamped(step_estimate(k, x_t[i], eps[i]), shared.clip.lo, shared.clip.hi);
            out[i] = step_value(k, terms, x0[i], x_t[i], eps[i], center[i], previous[i], z[i]);
        }
        store_group<T>(a.out, group, out);
        if (a.x0) store_group<T>(a.x0, group, x0);
    }
};

template <class Runner>
const char* run_step(const StepArguments& a, Runner runner) {
    uintptr_t misaligned = misalignment(a.x_t, a.eps, a.center, a.x0_previous, a.noise, a.out, a.x0);
    return with_lines(a.dtype, a.size, a.draw, a.source, misaligned, [&](auto tag, auto group, auto draw) {
        return run_body(StepBody<decltype(tag), decltype(group), decltype(draw)::value>(a), runner);
    });
}

template <class T, class G>
struct StepGradientBody : Lines<G, false> {
    using R = Real<T>;
    struct Shared {
        StepRow<R> row;
        Bounds<R> clip;
    };
    StepGradients a;

    StepGradientBody(const StepGradients& a) : Lines<G, false>(a.batch, a.per_sample), a(a) {}

    LOWLIGHT_METHOD Shared prepare(int64_t sample) const {
        return Shared{checked_row<R>(a.rows, a.t, a.row_count, a.row_step, sample, true), Bounds<R>{R(a.lo), R(a.hi)}};
    }

    LOWLIGHT_METHOD void operator()(const Shared& shared, int64_t sample, int64_t line, int64_t index) const {
        G group = this->group(sample, line, index);
        StepRow<R> k = shared.row;
        R grad[G::kPixels], grad_x0[G::kPixels] = {}, x_t[G::kPixels] = {}, eps[G::kPixels] = {};
        load_group<T>(a.grad, group, grad);
        if (a.grad_x0) load_group<T>(a.grad_x0, group, grad_x0);
        if (a.clip) load_group<T>(a.x_t, group, x_t), load_group<T>(a.eps, group, eps);
        R to_x_t[G::kPixels], to_eps[G::kPixels], to_center[G::kPixels], to_previous[G::kPixels];
        for (int i = 0; i < G::kPixels; ++i) {
            R inner = step_inner(k, grad[i], a.grad_x0 != nullptr, grad_x0[i]);
            if (a.clip) inner = clamp_gradient(inner, step_estimate(k, x_t[i], eps[i]), shared.clip);
            StepGradient<R> slope = step_gradient(k, grad[i], inner);
            to_x_t[i] = slope.x_t, to_eps[i] = slope.eps;
            to_center[i] = slope.center, to_previous[i] = slope.x0_previous;
        }
        if (a.to_x_t) store_group<T>(a.to_x_t, group, to_x_t);
        if (a.to_eps) store_group<T>(a.to_eps, group, to_eps);
        if (a.to_center) store_group<T>(a.to_center, group, to_center);
        if (a.to_previous) store_group<T>(a.to_previous, group, to_previous);
    }
};

template <class Runner>
const char* run_step_backward(const StepGradients& a, Runner runner) {
    uintptr_t misaligned =
        misalignment(a.grad, a.grad_x0, a.x_t, a.eps, a.to_x_t, a.to_eps, a.to_center, a.to_previous);
    return with_samples(a.dtype, a.per_sample, misaligned, [&](auto tag, auto group) {
        return run_body(StepGradientBody<decltype(tag), decltype(group)>(a), runner);
    });
}

}  // namespace lowlight
