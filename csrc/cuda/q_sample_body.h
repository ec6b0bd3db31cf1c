// what one thread does for anchored_q_sample and its gradients
#pragma once

#include "../core/step.h"
#include "noise_body.h"

namespace lowlight {

// a time beyond the table, which the host cannot always see, gives NaN; one below 0 keeps the picture
template <class R>
LOWLIGHT_FN ForwardRow<R> checked_forward_row(const double* alpha_bar, int64_t length, int64_t t) {
    R nan = R(bit_cast<float>(0x7fc00000u));
    return t < length ? forward_row<R>(alpha_bar, t) : ForwardRow<R>{nan, nan, nan};
}

template <class T, class G, bool kDraw>
struct ForwardBody : Lines<G, kDraw> {
    using R = Real<T>;
    static constexpr bool kKeepsShared = kDraw;
    struct Shared {
        ForwardRow<R> row;
        bool kept;
        NoiseLine line;
    };
    ForwardArguments a;

    ForwardBody(const ForwardArguments& a) : Lines<G, kDraw>(a.size, a.source), a(a) {}

    LOWLIGHT_METHOD Shared prepare(int64_t plane) const {
        int64_t t = a.t[this->sample(plane)];
        return Shared{checked_forward_row<R>(a.alpha_bar, a.length, t), t < 0, this->noise(a.source, plane)};
    }

    LOWLIGHT_METHOD void operator()(const Shared& shared, int64_t plane, int64_t line, int64_t index) const {
        G group = this->group(plane, line, index);
        R x0[G::kPixels], center[G::kPixels] = {}, noise[G::kPixels], x_t[G::kPixels];
        load_group<T>(a.x0, group, x0);
        if (a.center) load_group<T>(a.center, group, center);
        if constexpr (kDraw) {
            float drawn[G::kPixels];
            draw_group<true, G>(below(shared.line, line), index, drawn);
            for (int i = 0; i < G::kPixels; ++i) noise[i] = R(drawn[i]);
        } else {
            load_group<T>(a.noise, group, noise);
        }
        for (int i = 0; i < G::kPixels; ++i) {
            noise[i] = anchored_noise(shared.row, a.center != nullptr, noise[i], center[i]);
            // x0 itself, also where the noise is not finite
            x_t[i] = shared.kept ? x0[i] : forward_value(shared.row, x0[i], noise[i]);
        }
        store_group<T>(a.x_t, group, x_t);
        if (a.anchored) store_group<T>(a.anchored, group, noise);
    }
};

template <class Runner>
const char* run_q_sample(const ForwardArguments& a, Runner runner) {
    uintptr_t misaligned = misalignment(a.x0, a.center, a.noise, a.x_t, a.anchored);
    return with_lines(a.dtype, a.size, a.draw, a.source, misaligned, [&](auto tag, auto group, auto draw) {
        return run_body(ForwardBody<decltype(tag), decltype(group), decltype(draw)::value>(a), runner);
    });
}

template <class T, class G>
struct ForwardGradientBody : Lines<G, false> {
    using R = Real<T>;
    using Shared = ForwardRow<R>;
    ForwardGradients a;

    ForwardGradientBody(const ForwardGradients& a) : Lines<G, false>(a.batch, a.per_sample), a(a) {}

    LOWLIGHT_METHOD Shared prepare(int64_t sample) const {
        return checked_forward_row<R>(a.alpha_bar, a.length, a.t[sample]);
    }

    LOWLIGHT_METHOD void operator()(const Shared& row, int64_t sample, int64_t line, int64_t index) const {
        G group = this->group(sample, line, index);
        R grad[G::kPixels], grad_noise[G::kPixels] = {};
        load_group<T>(a.grad, group, grad);
        if (a.grad_noise) load_group<T>(a.grad_noise, group, grad_noise);
        R to_x0[G::kPixels], to_noise[G::kPixels], to_center[G::kPixels];
        for (int i = 0; i < G::kPixels; ++i) {
            ForwardGradient<R> slope = forward_gradient(row, grad[i], a.grad_noise != nullptr, grad_noise[i]);
            to_x0[i] = slope.x0, to_noise[i] = slope.noise, to_center[i] = slope.center;
        }
        if (a.to_x0) store_group<T>(a.to_x0, group, to_x0);
        if (a.to_noise) store_group<T>(a.to_noise, group, to_noise);
        if (a.to_center) store_group<T>(a.to_center, group, to_center);
    }
};

template <class Runner>
const char* run_q_sample_backward(const ForwardGradients& a, Runner runner) {
    uintptr_t misaligned = misalignment(a.grad, a.grad_noise, a.to_x0, a.to_noise, a.to_center);
    return with_samples(a.dtype, a.per_sample, misaligned, [&](auto tag, auto group) {
        return run_body(ForwardGradientBody<decltype(tag), decltype(group)>(a), runner);
    });
}

}  // namespace lowlight
