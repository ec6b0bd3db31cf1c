// noise of a raw sensor and the exposure process, one pixel; R is float or double, digital numbers unless said
// otherwise
#pragma once

#include "poisson.h"
#include "tukey.h"

namespace lowlight {

// parts of the noise, bits as in lowlight_ext/exposure.py
enum RawParts : int { kPartU = 1, kPartP = 2, kPartp = 4, kPartR = 8, kPartg = 16, kPartG = 32 };

constexpr int kRawColumns = 6;

// one sample's parameters, formed in double and rounded once
template <class R>
struct RawRow {
    R to_numbers, gain, inverse_gain, row_scale, read_scale, to_image;
    TukeyShape shape;
};

// columns: K, ratio, g_scale, G_scale, G_shape, R_scale
template <class R>
LOWLIGHT_FN RawRow<R> raw_row(const double* column, double saturation, int parts) {
    return RawRow<R>{R(saturation / column[1]),
                     R(column[0]),
                     R(1.0 / column[0]),
                     R(column[5]),
                     R(parts & kPartG ? column[3] : column[2]),
                     R(column[1] / saturation),
                     tukey_shape(column[4])};
}

// NaN passes
template <class R>
LOWLIGHT_FN R not_below_zero(R x) {
    return x < R(0) ? R(0) : x;
}

template <class R>
LOWLIGHT_FN R unit(R x) {
    x = x < R(0) ? R(0) : x;
    return x > R(1) ? R(1) : x;
}

// u: the rounding to whole numbers
template <class R>
LOWLIGHT_FN R with_quantisation(R y, R uniform) {
    return not_below_zero(y + (uniform - R(0.5)));
}

// the mean of the photons that P counts
template <class R>
LOWLIGHT_FN float photon_mean(RawRow<R> k, R y) {
    return float(not_below_zero(y * k.inverse_gain));
}

// p: shot noise as a Gaussian
template <class R>
LOWLIGHT_FN R with_signal_noise(RawRow<R> k, R y, R z) {
    R variance = k.gain * y;
    return y + square_root(variance < R(1e-10) ? R(1e-10) : variance) * z;
}

// r: one normal a row of the sensor, of which a packed row holds R and G1 of one, B and G2 of the next: pixel 0 of the
// sensor's row in the plane of the sample's first channel
LOWLIGHT_FN float row_normal(NoiseLine line, int64_t channel) {
    line = source_line(line, kRowNormal);
    uint32_t plane = line.plane - uint32_t(channel), row = 2 * line.y + uint32_t(channel >> 1);
    Words w = philox(Words{0, row, plane, line.stream}, line.key0, line.key1);
    return normal_pair(w.w0, w.w1).cosine;
}

// one step of the exposure process, columns: photons of the output, photons of the original, image of a photon
template <class R>
struct ExposureRow {
    R photons, measured, image;
};

template <class R>
LOWLIGHT_FN ExposureRow<R> exposure_row(const double* column) {
    return ExposureRow<R>{R(column[0]), R(column[1]), R(column[2])};
}

template <class R>
LOWLIGHT_FN R exposure_mean(ExposureRow<R> k, R output) {
    return k.photons * unit(output);
}

template <class R>
LOWLIGHT_FN R exposure_value(ExposureRow<R> k, R original, R count) {
    return k.image * (k.measured * unit(original) + count);
}

// of `factor` times unit(x), which passes the gradient on its bounds, like torch.clamp
template <class R>
LOWLIGHT_FN R exposure_gradient(R factor, R grad, R x) {
    return (x >= R(0)) & (x <= R(1)) ? factor * grad : R(0);
}

}  // namespace lowlight
