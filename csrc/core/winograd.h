// Winograd's F(4 x 4, 3 x 3): a 4 x 4 tile of a 3 x 3 convolution from a 6 x 6 tile of its input, with 36 products in
// the place of 144. Lavin, Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, at the points 0, p,
// -p, q, -q and infinity.
#pragma once

#include "real.h"

namespace lowlight {

// p q = 1 rounds least: a quarter of the largest error that their points, 1 and 2, make
struct BalancedPoints {
    static constexpr float p = 0.70710678118654752f, q = 1.41421356237309505f, pp = 0.5f, qq = 2.0f;
};
// with -1 among them: nothing is there of a picture that nearest neighbours enlarged to twice its size. Beside it 13/8
// rounds least, 0.72 of the largest error that 2 makes.
struct TwicePoints {
    static constexpr float p = 1.0f, q = 1.625f, pp = 1.0f, qq = q * q;
};

// B^T d of a column of the input
template <class At, class V>
LOWLIGHT_FN void winograd_input(const V d[6], V out[6]) {
    constexpr float sum = At::pp + At::qq, product = At::pp * At::qq;
    V even = d[4] - d[2] * At::qq, odd = d[3] - d[1] * At::qq, near = d[4] - d[2] * At::pp, far = d[3] - d[1] * At::pp;
    out[0] = d[0] * product - d[2] * sum + d[4];
    out[1] = even + odd * At::p, out[2] = even - odd * At::p;
    out[3] = near + far * At::q, out[4] = near - far * At::q;
    out[5] = d[1] * product - d[3] * sum + d[5];
}

// A^T m of a column of the products
template <class At, class V>
LOWLIGHT_FN void winograd_output(const V m[6], V out[4]) {
    V sum = m[1] + m[2], difference = m[1] - m[2], outer = m[3] + m[4], turned = m[3] - m[4];
    out[0] = m[0] + sum + outer;
    out[1] = difference * At::p + turned * At::q;
    out[2] = sum * At::pp + outer * At::qq;
    out[3] = difference * (At::p * At::pp) + turned * (At::q * At::qq) + m[5];
}

}  // namespace lowlight
