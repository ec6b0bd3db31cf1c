// the CPU loops of the raw-space operators: their part of a level's table
#pragma once

#include "../core/raw_arguments.h"

namespace lowlight {

struct RawKernels {
    // -> how many means were none (NaN, below 0, above kMostMean)
    int64_t (*poisson)(const PoissonArguments&);
    void (*tukey_lambda)(const TukeyArguments&);
    void (*raw_noise)(const RawNoiseArguments&);
    void (*exposure_step)(const ExposureArguments&);
    void (*exposure_step_backward)(const ExposureGradients&);
};

#define LOWLIGHT_DECLARE_RAW_LEVEL(level)                      \
    namespace level {                                          \
    int64_t poisson_cpu(const PoissonArguments&);              \
    void tukey_lambda_cpu(const TukeyArguments&);              \
    void raw_noise_cpu(const RawNoiseArguments&);              \
    void exposure_step_cpu(const ExposureArguments&);          \
    void exposure_step_backward_cpu(const ExposureGradients&); \
    }

#define LOWLIGHT_RAW_KERNELS(level)                                                               \
    {level::poisson_cpu, level::tukey_lambda_cpu, level::raw_noise_cpu, level::exposure_step_cpu, \
     level::exposure_step_backward_cpu}

}  // namespace lowlight
