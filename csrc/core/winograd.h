// Winograd's F(4 x 4, 3 x 3): a 4 x 4 tile of a 3 x 3 convolution from a 6 x 6 tile of its input, with 36 products in
// the place of 144. Lavin, Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016; points 0, 1, -1, 2,
// -2.
#pragma once

#include "real.h"

namespace lowlight {

// B^T d of a column of the input
template <class V>
LOWLIGHT_FN void winograd_input(const V d[6], V out[6]) {
    V even = d[4] - d[2] * 4.0f, odd = d[3] - d[1] * 4.0f, near = d[4] - d[2], far = (d[3] - d[1]) * 2.0f;
    out[0] = d[0] * 4.0f - d[2] * 5.0f + d[4];
    out[1] = even + odd, out[2] = even - odd;
    out[3] = near + far, out[4] = near - far;
    out[5] = d[1] * 4.0f - d[3] * 5.0f + d[5];
}

// A^T m of a column of the products
template <class V>
LOWLIGHT_FN void winograd_output(const V m[6], V out[4]) {
    V sum = m[1] + m[2], difference = m[1] - m[2], outer = m[3] + m[4], turned = m[3] - m[4];
    out[0] = m[0] + sum + outer;
    out[1] = difference + turned * 2.0f;
    out[2] = sum + outer * 4.0f;
    out[3] = difference + turned * 8.0f + m[5];
}

}  // namespace lowlight
