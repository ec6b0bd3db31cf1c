// what the bindings hand to the convolution
#pragma once

#include "arguments.h"

namespace lowlight {

// conv3x3 of stride 1 that keeps the size, float32: x [batch, height, width, channels], out [batch, height, width,
// out_channels], bias [out_channels], both numbers of channels multiples of 16. weight: its Winograd transform,
// [panels, 36, channels, 32] for 32 output channels a panel, the last one filled up. dilation: of the 3 x 3, 1
// or more. reflect: beyond the edge the picture is reflected (with dilation 1), else it is 0.
struct WinogradArguments {
    const void *x, *weight, *bias;
    void* out;
    int64_t batch, height, width, channels, out_channels, dilation;
    bool reflect;
};

}  // namespace lowlight
