// the diffusion step and the anchored forward process, one pixel; sums run from left to right
#pragma once

#include "haar.h"

namespace lowlight {

// x0 = clamp(p x_t + q eps);  x' = a x0 + b x_t + c (2 center - 1) + d eps + e x0_previous + s z
template <class R>
struct StepRow {
    R p, q, a, b, c, d, e, s;
};

// -infinity, infinity: no clamp
template <class R>
struct Bounds {
    R lo, hi;
};

template <class R>
LOWLIGHT_FN R step_estimate(StepRow<R> k, R x_t, R eps) {
    return k.p * x_t + k.q * eps;
}

template <class R, bool kCenter, bool kPrevious, bool kNoise>
LOWLIGHT_FN R step_value(StepRow<R> k, R x0, R x_t, R eps, R center, R x0_previous, R z) {
    R value = k.a * x0 + k.b * x_t;
    if (kCenter) value = value + k.c * normalised(center);
    value = value + k.d * eps;
    if (kPrevious) value = value + k.e * x0_previous;
    if (kNoise) value = value + k.s * z;
    return value;
}

// like torch.clamp it passes the gradient on the bounds themselves
template <class R>
LOWLIGHT_FN R clamp_gradient(R grad, R estimate, Bounds<R> clip) {
    return (estimate >= clip.lo) & (estimate <= clip.hi) ? grad : R(0);
}

// x_t = signal x0 + sigma n with n = z + anchor (2 center - 1)
template <class R>
struct ForwardRow {
    R signal, sigma, anchor;
};

template <class R, bool kCenter>
LOWLIGHT_FN R anchored_noise(ForwardRow<R> k, R z, R center) {
    return kCenter ? z + k.anchor * normalised(center) : z;
}

template <class R>
LOWLIGHT_FN R forward_value(ForwardRow<R> k, R x0, R noise) {
    return k.signal * x0 + k.sigma * noise;
}

}  // namespace lowlight
