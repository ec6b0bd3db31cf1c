// CUDA kernels over raw pointers; a launcher returns nullptr or what CUDA says went wrong
#pragma once

#include "../table.h"

namespace lowlight {

// where a kernel runs: the number of the device its pointers belong to, and a cudaStream_t of it. A launch leaves
// `device` current; who has to return to another sees to that (the Python side does, with torch.cuda.device).
struct Place {
    int device;
    void* stream;
};

// the Haar transforms do one level here (arguments.levels == 1), their details one behind the other from `finest` on
#define LOWLIGHT_ROW(name, Arguments) const char* launch_##name(const Arguments&, Place);
LOWLIGHT_OPERATORS(LOWLIGHT_ROW)
#undef LOWLIGHT_ROW

// numbers of the accumulator's type that `arguments.workspace` must hold
#define LOWLIGHT_ROW(name, Arguments) int64_t size_##name(const Arguments&);
LOWLIGHT_WORKSPACES(LOWLIGHT_ROW)
#undef LOWLIGHT_ROW

// versions of the runtime and of the CUDA that the driver knows, 0 for unknown; the number of devices the runtime sees
int cuda_runtime_version();
int cuda_driver_version();
int cuda_device_count();
// nullptr where the kernels run on a device, or why not: a driver that is too old, an architecture that was not built
const char* cuda_problem(int device);

}  // namespace lowlight
