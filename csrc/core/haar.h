// the orthonormal 2 x 2 Haar transform, DiffLL's signs and order of bands (PyWavelets: LL = cA, HL = -cV, LH = -cH, HH
// = cD)
#pragma once

#include "real.h"

namespace lowlight {

template <class R>
struct Bands {
    R ll, hl, lh, hh;
};

// pixels of an even and an odd row, in an even (left) and an odd (right) column
template <class R>
struct Square {
    R even_left, even_right, odd_left, odd_right;
};

template <class R>
LOWLIGHT_FN Bands<R> haar_forward(Square<R> v) {
    R left_total = v.even_left + v.odd_left, left_difference = v.even_left - v.odd_left;
    R right_total = v.even_right + v.odd_right, right_difference = v.even_right - v.odd_right;
    return Bands<R>{R(0.5) * (left_total + right_total), R(0.5) * (right_total - left_total),
                    R(-0.5) * (left_difference + right_difference), R(0.5) * (left_difference - right_difference)};
}

template <class R>
LOWLIGHT_FN Square<R> haar_inverse(Bands<R> b) {
    R left_total = b.ll - b.hl, right_total = b.ll + b.hl;
    R left_difference = b.hh - b.lh, right_difference = -(b.lh + b.hh);
    return Square<R>{R(0.5) * (left_total + left_difference), R(0.5) * (right_total + right_difference),
                     R(0.5) * (left_total - left_difference), R(0.5) * (right_total - right_difference)};
}

// [0, 1] -> [-1, 1]
template <class R>
LOWLIGHT_FN R normalised(R v) {
    return R(2) * v - R(1);
}

// comparisons that keep NaN, as torch.clamp does
template <class R>
LOWLIGHT_FN R clamped(R v, R lo, R hi) {
    return v < lo ? lo : (v > hi ? hi : v);
}

// [-1, 1] -> [0, 1], clamped
template <class R>
LOWLIGHT_FN R denormalised(R v) {
    return clamped((v + R(1)) * R(0.5), R(0), R(1));
}

}  // namespace lowlight
