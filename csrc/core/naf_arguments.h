// what the bindings hand to the NAF block
#pragma once

#include "arguments.h"

namespace lowlight {

// x, out [batch, height, width, channels] in float32, or bfloat16 (naf_block_half), channels a multiple of 16. weights:
// what NafWeights finds in it.
struct NafArguments {
    const void *x, *weights;
    void* out;
    int64_t batch, height, width, channels;
    double eps;  // of both layer norms
};

// From one of NAFNet's levels to the next. Down, a 2 x 2 convolution of stride 2: x [batch, height, width, channels] of
// even sides -> out [batch, height / 2, width / 2, 2 channels]; weights: panels (below) of 4 channels inputs, then the
// bias in float32. Up, a 1 x 1 convolution and a pixel shuffle: x, channels a multiple of 32 -> out [batch, 2 height, 2
// width, channels / 2] plus skip, of its shape; weights: panels of outputs in the order row, column, channel.
struct NafScaleArguments {
    const void *x, *weights, *skip;  // skip: null on the way down
    void* out;
    int64_t batch, height, width, channels;
};

// The weights of a block, one array after the other. A panel is 32 outputs of a 1 x 1 convolution, [channels, 32]: of
// one that a gate follows, 16 channels of the gate's first half and the 16 of its second half that they meet; of the
// others 32 in a row, the last panel filled up with zeros. The norms' weights and biases are in the convolutions behind
// them, beta and gamma in those before them. In float32; T: float, or the bfloat16 of a half block, whose panels are
// [channels / 2, 32, 2], two channels side by side.
template <class T>
struct NafWeights {
    const T* expand;                          // norm1 and conv1: [C / 16, C, 32]
    const float* expand_bias;                 // [C / 16, 32]
    const float *depthwise, *depthwise_bias;  // conv2: [9, C / 16, 32], [C / 16, 32]
    const float *attention, *attention_bias;  // sca: [C inputs, C outputs], [C]
    const float *project, *project_bias;      // conv3 and beta: [ceil(C / 32), C, 32], [C]; attention comes in between
    const T* widen;                           // norm2 and conv4: as expand
    const float* widen_bias;
    const T* shrink;  // conv5 and gamma: as project
    const float* shrink_bias;

    LOWLIGHT_METHOD NafWeights(const void* weights, int64_t c) {
        const char* next = static_cast<const char*>(weights);
        auto take = [&](auto& into, int64_t n) {
            into = reinterpret_cast<std::decay_t<decltype(into)>>(next);
            next += n * int64_t(sizeof(*into));
        };
        int64_t panels = (c + 31) / 32 * 32 * c;
        take(expand, 2 * c * c), take(expand_bias, 2 * c);
        take(depthwise, 18 * c), take(depthwise_bias, 2 * c);
        take(attention, c * c), take(attention_bias, c);
        take(project, panels), take(project_bias, c);
        take(widen, 2 * c * c), take(widen_bias, 2 * c);
        take(shrink, panels), take(shrink_bias, c);
    }
};

}  // namespace lowlight
