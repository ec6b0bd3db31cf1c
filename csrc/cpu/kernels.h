// the CPU loops; every file of theirs is compiled once a level, into the namespace LOWLIGHT_CPU_LEVEL
#pragma once

#include "../core/arguments.h"
#include "norm_kernels.h"
#include "raw_kernels.h"

namespace lowlight {

struct Kernels {
    const char* level;
    void (*noise)(const NoiseArguments&);
    void (*philox)(const int64_t* counter, const int64_t* key, int64_t* words, int64_t n);
    void (*haar_forward)(const HaarArguments&);
    void (*haar_inverse)(const HaarArguments&);
    void (*step)(const StepArguments&);
    void (*step_backward)(const StepGradients&);
    void (*q_sample)(const ForwardArguments&);
    void (*q_sample_backward)(const ForwardGradients&);
    RawKernels raw;
    NormKernels norm;
};

#define LOWLIGHT_DECLARE_LEVEL(level)                                                       \
    namespace level {                                                                       \
    void noise_cpu(const NoiseArguments&);                                                  \
    void philox_cpu(const int64_t* counter, const int64_t* key, int64_t* words, int64_t n); \
    void haar_forward_cpu(const HaarArguments&);                                            \
    void haar_inverse_cpu(const HaarArguments&);                                            \
    void step_cpu(const StepArguments&);                                                    \
    void step_backward_cpu(const StepGradients&);                                           \
    void q_sample_cpu(const ForwardArguments&);                                             \
    void q_sample_backward_cpu(const ForwardGradients&);                                    \
    }

// the level in use: the best this CPU has, or what LOWLIGHT_EXT_CPU_LEVEL asks for
const Kernels& kernels();
// the levels this CPU can run, lowest first, separated by blanks
const char* runnable_levels();

}  // namespace lowlight
