// CUDA kernels over raw pointers; a launcher returns nullptr or what CUDA says went wrong
#pragma once

#include "../core/arguments.h"

namespace lowlight {

// one level (arguments.levels == 1) on the current device; `stream` is a cudaStream_t
const char* launch_haar_forward(const HaarArguments&, void* stream);
const char* launch_haar_inverse(const HaarArguments&, void* stream);

}  // namespace lowlight
