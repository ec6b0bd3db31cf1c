// the tone curve, one pixel: ((1 + x / f)^gamma - 1) scale / ((1 + 1 / f)^gamma - 1), then what rolls highlights off.
// float has explicit operations, the same bits everywhere; double has the library's exp and log
#pragma once

#include <cmath>

#include "tone_arguments.h"
#include "tukey.h"

namespace lowlight {

LOWLIGHT_FN double power_less_one(double u, double gamma) {
    return exp(gamma * log(u)) - 1.0;
}

// e^t for t up to 0; of a float below -87 it is that of -87
LOWLIGHT_FN float power_below_one(float t) {
    Exponential e = exponential(t);
    return fused(e.scale, e.rest, e.scale);
}
LOWLIGHT_FN double power_below_one(double t) {
    return exp(t);
}

// the numbers of one sample
template <class R>
struct ToneCurve {
    R gamma[kToneChannels], factor[kToneChannels];
    R per_floor, knee, width, per_width, share;
};

template <class R>
LOWLIGHT_FN R no_number() {
    return R(bit_cast<float>(0x7fc00000u));
}

template <class R>
LOWLIGHT_FN ToneCurve<R> tone_curve(const ToneArguments& a, int64_t sample) {
    ToneCurve<R> k;
    k.per_floor = R(1.0 / a.floor);
    k.knee = static_cast<const R*>(a.knee)[sample];
    k.width = R(1) - k.knee < R(1e-4) ? R(1e-4) : R(1) - k.knee;
    k.per_width = R(1) / k.width;
    k.share = R(a.share);
    for (int c = 0; c < kToneChannels; ++c) {
        R gamma = static_cast<const R*>(a.gamma)[kToneChannels * sample + c];
        R scale = static_cast<const R*>(a.scale)[kToneChannels * sample + c];
        // of a NaN, e^t would shift bits out
        bool there = gamma == gamma;
        k.gamma[c] = there ? gamma : R(1);
        k.factor[c] = there ? scale / power_less_one(R(1) + k.per_floor, k.gamma[c]) : no_number<R>();
    }
    return k;
}

// x under the curve of channel c, before highlights are rolled off; NaN stays
template <class R>
LOWLIGHT_FN R tone_raised(R per_floor, R gamma, R factor, R x) {
    R u = R(1) + x * per_floor;
    R y = factor * power_less_one(u, gamma);
    return u > R(0) ? y : no_number<R>();
}

// y, of which what lies above the knee nears 1
template <class R>
LOWLIGHT_FN R tone_bent(R knee, R width, R per_width, R y) {
    R above = y > knee ? (knee - y) * per_width : R(0);
    R bent = R(1) - width * power_below_one(above);
    return y > knee ? bent : y;
}

// by how much the brightest of the channels y is bent, as a factor for all, 1 at black and below; NaN where one of them
// is
template <class R>
LOWLIGHT_FN R tone_ratio(R y0, R y1, R y2, R bent0, R bent1, R bent2) {
    R most = y1 > y0 ? y1 : y0, bent = y1 > y0 ? bent1 : bent0;
    bent = y2 > most ? bent2 : bent;
    most = y2 > most ? y2 : most;
    bool seen = most > R(1e-6);
    R all = y0 + y1 + y2, ratio = (seen ? bent : R(1)) / (seen ? most : R(1));
    return all == all ? ratio : all;
}

// `share` of what keeps the hue, the rest of what each channel does alone
template <class R>
LOWLIGHT_FN R tone_mixed(R share, R y, R bent, R ratio) {
    return bent + share * (y * ratio - bent);
}

}  // namespace lowlight
