// what the bindings hand to the NAF block
#pragma once

#include "arguments.h"

namespace lowlight {

// x, out [batch, height, width, channels] float32, channels a multiple of 16. weights: what NafWeights finds in it.
struct NafArguments {
    const void *x, *weights;
    void* out;
    int64_t batch, height, width, channels;
    double eps;  // of both layer norms
};

// The weights of a block, one array after the other. A panel is 32 outputs of a 1 x 1 convolution, [channels, 32]: of
// one that a gate follows, 16 channels of the gate's first half and the 16 of its second half that they meet; of the
// others 32 in a row, the last panel filled up with zeros. The norms' weights and biases are in the convolutions behind
// them, beta and gamma in those before them.
struct NafWeights {
    const float *expand, *expand_bias;        // norm1 and conv1: [C / 16, C, 32], [C / 16, 32]
    const float *depthwise, *depthwise_bias;  // conv2: [9, C / 16, 32], [C / 16, 32]
    const float *attention, *attention_bias;  // sca: [C inputs, C outputs], [C]
    const float *project, *project_bias;      // conv3 and beta: [ceil(C / 32), C, 32], [C]
    const float *widen, *widen_bias;          // norm2 and conv4: as expand
    const float *shrink, *shrink_bias;        // conv5 and gamma: as project

    LOWLIGHT_METHOD NafWeights(const void* weights, int64_t c) {
        const float* next = static_cast<const float*>(weights);
        auto take = [&](int64_t n) {
            const float* taken = next;
            next += n;
            return taken;
        };
        int64_t panels = (c + 31) / 32 * 32 * c;
        expand = take(2 * c * c), expand_bias = take(2 * c);
        depthwise = take(18 * c), depthwise_bias = take(2 * c);
        attention = take(c * c), attention_bias = take(c);
        project = take(panels), project_bias = take(c);
        widen = take(2 * c * c), widen_bias = take(2 * c);
        shrink = take(panels), shrink_bias = take(c);
    }
};

}  // namespace lowlight
