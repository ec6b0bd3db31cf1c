// what the bindings hand to the loop and the launcher of the tone curve
#pragma once

#include "arguments.h"

namespace lowlight {

constexpr int kToneChannels = 3;

// x, out: [batch, 3, inner], or [batch, inner, 3] where channels_last; gamma, scale: [batch, 3] and knee: [batch], of
// the accumulator's type
struct ToneArguments {
    const void *x, *gamma, *scale, *knee;
    void* out;
    DType dtype;
    bool channels_last;
    int64_t batch, inner;
    double floor, share;
};

}  // namespace lowlight
