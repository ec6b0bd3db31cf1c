// what the bindings hand to the convolution
#pragma once

#include "arguments.h"

namespace lowlight {

// conv3x3 of stride 1 that keeps the size, float32, everything channels last: out [batch, height, width, out_channels]
// = v where v > 0, else v * slope, v being the convolution * scale + bias + plus. Convolved are x [.., channels] and
// beside it, side by side, [.., beside_channels]; with twice of half the size, each pixel of theirs being two by two.
// weight: its Winograd transform, [panels, 36, 32 / pack, channels + beside_channels, pack] for 32 output channels a
// panel, the last one filled up; it has 16 or more, as have both inputs. bias, scale: [out_channels] of sample b at b *
// step. dilation: of the 3 x 3, 1 or more. reflect: beyond the edge the picture is reflected, else it is 0. dilation is
// 1 with reflect, and with twice, which does not go with reflect.
struct WinogradArguments {
    const void *x, *beside, *weight, *bias, *scale, *plus;  // beside, scale, plus: null for none
    void* out;
    int64_t batch, height, width, channels, beside_channels, out_channels, dilation, step;
    bool reflect, twice;
    double slope;
};

}  // namespace lowlight
