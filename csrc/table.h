// the operators, one row each: its name and the struct of its arguments. From here come the CPU levels (cpu/kernels.h,
// NAME_cpu), the CUDA launchers (cuda/launchers.h, launch_NAME) and what Python calls (bindings.cpp, NAME and cuda_NAME
// with the fields of the struct in their order).
#pragma once

#include "core/arguments.h"
#include "core/naf_arguments.h"
#include "core/norm_arguments.h"
#include "core/raw_arguments.h"
#include "core/tone_arguments.h"
#include "core/winograd_arguments.h"

#define LOWLIGHT_OPERATORS(ROW)                    \
    ROW(noise, NoiseArguments)                     \
    ROW(philox, PhiloxArguments)                   \
    ROW(haar_forward, HaarArguments)               \
    ROW(haar_inverse, HaarArguments)               \
    ROW(step, StepArguments)                       \
    ROW(step_backward, StepGradients)              \
    ROW(q_sample, ForwardArguments)                \
    ROW(q_sample_backward, ForwardGradients)       \
    ROW(poisson, PoissonArguments)                 \
    ROW(tukey_lambda, TukeyArguments)              \
    ROW(raw_noise, RawNoiseArguments)              \
    ROW(exposure_step, ExposureArguments)          \
    ROW(exposure_step_backward, ExposureGradients) \
    ROW(norm, NormArguments)                       \
    ROW(norm_backward, NormGradients)              \
    ROW(layer_norm, NormArguments)                 \
    ROW(layer_norm_backward, NormGradients)        \
    ROW(gate, GateArguments)                       \
    ROW(gate_backward, GateArguments)              \
    ROW(tone, ToneArguments)

// those that are on the CPU alone, for a GPU's own libraries do the same
#define LOWLIGHT_CPU_OPERATORS(ROW)  \
    ROW(winograd, WinogradArguments) \
    ROW(naf_block, NafArguments)     \
    ROW(naf_down, NafScaleArguments) \
    ROW(naf_up, NafScaleArguments)

// those of a CPU with AVX512-BF16, beyond the levels
#define LOWLIGHT_BFLOAT16_OPERATORS(ROW)  \
    ROW(winograd_half, WinogradArguments) \
    ROW(naf_block_half, NafArguments)     \
    ROW(naf_down_half, NafScaleArguments) \
    ROW(naf_up_half, NafScaleArguments)

// those whose CUDA half works in memory that the caller brings: NAME_workspace says how many numbers of it
#define LOWLIGHT_WORKSPACES(ROW)      \
    ROW(norm, NormArguments)          \
    ROW(norm_backward, NormGradients) \
    ROW(layer_norm_backward, NormGradients)
