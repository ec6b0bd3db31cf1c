// the diffusion step and the anchored forward process, one pixel; sums run from left to right
#pragma once

#include "haar.h"

namespace lowlight {

// x0 = clamp(p x_t + q eps);  x' = a x0 + b x_t + c (2 center - 1) + d eps + e x0_previous + s z
template <class R>
struct StepRow {
    R p, q, a, b, c, d, e, s;
};

template <class R>
LOWLIGHT_FN StepRow<R> step_row(const void* rows, int64_t index) {
    const R* k = static_cast<const R*>(rows) + 8 * index;
    return StepRow<R>{k[0], k[1], k[2], k[3], k[4], k[5], k[6], k[7]};
}

// -infinity, infinity: no clamp
template <class R>
struct Bounds {
    R lo, hi;
};

template <class R>
LOWLIGHT_FN R step_estimate(StepRow<R> k, R x_t, R eps) {
    return k.p * x_t + k.q * eps;
}

// which of the optional terms there are; an absent one is not added, for 0 * infinity is NaN
struct StepTerms {
    bool center, previous, noise;
};

template <class R>
LOWLIGHT_FN R step_value(StepRow<R> k, StepTerms terms, R x0, R x_t, R eps, R center, R x0_previous, R z) {
    R value = k.a * x0 + k.b * x_t;
    if (terms.center) value = value + k.c * normalised(center);
    value = value + k.d * eps;
    if (terms.previous) value = value + k.e * x0_previous;
    if (terms.noise) value = value + k.s * z;
    return value;
}

// like torch.clamp it passes the gradient on the bounds themselves
template <class R>
LOWLIGHT_FN R clamp_gradient(R grad, R estimate, Bounds<R> clip) {
    return (estimate >= clip.lo) & (estimate <= clip.hi) ? grad : R(0);
}

// what the loss gains by x0, in front of the clamp: from x', and from x0 itself where it was asked for
template <class R>
LOWLIGHT_FN R step_inner(StepRow<R> k, R grad, bool has_x0, R grad_x0) {
    return has_x0 ? k.a * grad + grad_x0 : k.a * grad;
}

template <class R>
struct StepGradient {
    R x_t, eps, center, x0_previous;
};

// of the gradient of x' and what came through the clamp
template <class R>
LOWLIGHT_FN StepGradient<R> step_gradient(StepRow<R> k, R grad, R inner) {
    return StepGradient<R>{k.p * inner + k.b * grad, k.q * inner + k.d * grad, R(2) * k.c * grad, k.e * grad};
}

// x_t = signal x0 + sigma n with n = z + anchor (2 center - 1)
template <class R>
struct ForwardRow {
    R signal, sigma, anchor;
};

// in double, rounded once; t < 0 and alpha_bar = 1 leave x0 as it is
template <class R>
LOWLIGHT_FN ForwardRow<R> forward_row(const double* alpha_bar, int64_t t) {
    double bar = t < 0 ? 1.0 : alpha_bar[t];
    double signal = square_root(bar), sigma = square_root(1.0 - bar);
    // (1 - signal) / sigma without cancellation and without 0 / 0
    return ForwardRow<R>{R(signal), R(sigma), R(sigma / (1.0 + signal))};
}

template <class R>
LOWLIGHT_FN R anchored_noise(ForwardRow<R> k, bool has_center, R z, R center) {
    return has_center ? z + k.anchor * normalised(center) : z;
}

template <class R>
LOWLIGHT_FN R forward_value(ForwardRow<R> k, R x0, R noise) {
    return k.signal * x0 + k.sigma * noise;
}

template <class R>
struct ForwardGradient {
    R x0, noise, center;
};

// of the gradient of x_t, and of n where it was asked for
template <class R>
LOWLIGHT_FN ForwardGradient<R> forward_gradient(ForwardRow<R> k, R grad, bool has_noise, R grad_noise) {
    R inner = has_noise ? k.sigma * grad + grad_noise : k.sigma * grad;
    return ForwardGradient<R>{k.signal * grad, inner, R(2) * k.anchor * inner};
}

}  // namespace lowlight
