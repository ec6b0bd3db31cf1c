// the CPU loops of the normalisations: their part of a level's table
#pragma once

#include "../core/norm_arguments.h"

namespace lowlight {

struct NormKernels {
    void (*norm)(const NormArguments&);
    void (*norm_backward)(const NormGradients&);
    void (*layer_norm)(const NormArguments&);
    void (*layer_norm_backward)(const NormGradients&);
    void (*gate)(const GateArguments&);
    void (*gate_backward)(const GateArguments&);
};

#define LOWLIGHT_DECLARE_NORM_LEVEL(level)                  \
    namespace level {                                       \
    void norm_cpu(const NormArguments&);                    \
    void norm_backward_cpu(const NormGradients&);           \
    void norm_channels_last(const NormArguments&);          \
    void norm_backward_channels_last(const NormGradients&); \
    void layer_norm_cpu(const NormArguments&);              \
    void layer_norm_backward_cpu(const NormGradients&);     \
    void gate_cpu(const GateArguments&);                    \
    void gate_backward_cpu(const GateArguments&);           \
    }

#define LOWLIGHT_NORM_KERNELS(level)                                                                   \
    {level::norm_cpu, level::norm_backward_cpu, level::layer_norm_cpu, level::layer_norm_backward_cpu, \
     level::gate_cpu, level::gate_backward_cpu}

}  // namespace lowlight
