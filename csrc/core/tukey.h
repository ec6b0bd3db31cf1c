// Tukey's lambda distribution: the quantile function (u^lambda - (1 - u)^lambda) / lambda of a uniform
#pragma once

#include "exponential.h"
#include "normal.h"

namespace lowlight {

struct TukeyShape {
    float lambda, inverse;
};

// the logistic limit at 0 is reached by a lambda whose effect lies below the last bit
LOWLIGHT_FN TukeyShape tukey_shape(double lambda) {
    double magnitude = lambda < 0.0 ? -lambda : lambda;
    lambda = magnitude < 0x1p-60 ? 0x1p-60 : lambda;
    // of the lambda that is used: its rounding must not show in the quotient
    float used = float(lambda);
    return TukeyShape{used, float(1.0 / double(used))};
}

// u^lambda - 1 without cancellation, u in (0, 1)
LOWLIGHT_FN float power_less_one(float u, float lambda) {
    Exponential e = exponential(lambda * log_uniform(u));
    return fused(e.scale, e.rest, e.scale - 1.0f);
}

LOWLIGHT_FN float tukey_quantile(TukeyShape shape, uint32_t word) {
    float u = uniform(word);
    // exact, too
    return (power_less_one(u, shape.lambda) - power_less_one(1.0f - u, shape.lambda)) * shape.inverse;
}

}  // namespace lowlight
