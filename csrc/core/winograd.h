// Winograd's F(4 x 4, 3 x 3): a 4 x 4 tile of a 3 x 3 convolution from a 6 x 6 tile of its input, with 36 products in
// the place of 144. Lavin, Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, but for the points: 0,
// near, -near, far, -far and infinity. With 11/16 and 3/2 of white noise the error, by the formula of Barabasz et al.,
// "Error Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks", TOMS 2020, is 0.45 of
// that with 1 and 2, and of the worst of the 16 pixels 0.24.
#pragma once

#include "real.h"

namespace lowlight {

constexpr float kNear = 0.6875f, kFar = 1.5f, kNear2 = kNear * kNear, kFar2 = kFar * kFar;

// B^T d of a column of the input
template <class V>
LOWLIGHT_FN void winograd_input(const V d[6], V out[6]) {
    V even = d[4] - d[2] * kFar2, odd = d[3] * kNear - d[1] * (kNear * kFar2);
    V level = d[4] - d[2] * kNear2, steep = d[3] * kFar - d[1] * (kFar * kNear2);
    out[0] = d[0] * (kNear2 * kFar2) - d[2] * (kNear2 + kFar2) + d[4];
    out[1] = even + odd, out[2] = even - odd;
    out[3] = level + steep, out[4] = level - steep;
    out[5] = d[1] * (kNear2 * kFar2) - d[3] * (kNear2 + kFar2) + d[5];
}

// A^T m of a column of the products
template <class V>
LOWLIGHT_FN void winograd_output(const V m[6], V out[4]) {
    V sum = m[1] + m[2], difference = m[1] - m[2], outer = m[3] + m[4], turned = m[3] - m[4];
    out[0] = m[0] + sum + outer;
    out[1] = difference * kNear + turned * kFar;
    out[2] = sum * kNear2 + outer * kFar2;
    out[3] = difference * (kNear * kNear2) + turned * (kFar * kFar2) + m[5];
}

}  // namespace lowlight
