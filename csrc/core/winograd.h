// Winograd's F(4 x 4, 3 x 3): a 4 x 4 tile of a 3 x 3 convolution from a 6 x 6 tile of its input, with 36 products in
// the place of 144. Lavin, Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, but for the points: 0,
// near, -near, far, -far and infinity.
#pragma once

#include "real.h"

namespace lowlight {

// With these, of white noise, the error is 0.45 of that with 1 and 2, of the worst of the 16 pixels 0.24, by the
// formula of Barabasz et al., "Error Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural
// Networks", TOMS 2020.
struct FinePoints {
    static constexpr float near = 0.6875f, far = 1.5f;
};
// With 1 beside another, B^T d of pixels that are two by two alike is 0 at -1; with 13/8 the worst is 0.72 of that
// with 2.
struct PointsOfTwice {
    static constexpr float near = 1.0f, far = 1.625f;
};

// B^T d of a column of the input
template <class Points, class V>
LOWLIGHT_FN void winograd_input(const V d[6], V out[6]) {
    constexpr float near = Points::near, far = Points::far, near2 = near * near, far2 = far * far;
    V even = d[4] - d[2] * far2, odd = d[3] * near - d[1] * (near * far2);
    V level = d[4] - d[2] * near2, steep = d[3] * far - d[1] * (far * near2);
    out[0] = d[0] * (near2 * far2) - d[2] * (near2 + far2) + d[4];
    out[1] = even + odd, out[2] = even - odd;
    out[3] = level + steep, out[4] = level - steep;
    out[5] = d[1] * (near2 * far2) - d[3] * (near2 + far2) + d[5];
}

// A^T m of a column of the products
template <class Points, class V>
LOWLIGHT_FN void winograd_output(const V m[6], V out[4]) {
    constexpr float near = Points::near, far = Points::far, near2 = near * near, far2 = far * far;
    V sum = m[1] + m[2], difference = m[1] - m[2], outer = m[3] + m[4], turned = m[3] - m[4];
    out[0] = m[0] + sum + outer;
    out[1] = difference * near + turned * far;
    out[2] = sum * near2 + outer * far2;
    out[3] = difference * (near * near2) + turned * (far * far2) + m[5];
}

}  // namespace lowlight
