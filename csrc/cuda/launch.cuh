// the one kernel: a grid of threads over the planes, lines and groups of a body
#pragma once

#include <cuda_runtime.h>

#include <type_traits>

#include "grid.h"
#include "launchers.h"

namespace lowlight {

template <class Body>
__global__ void __launch_bounds__(kThreads) lowlight_kernel(const Body body) {
    Thread thread{int64_t(blockIdx.y) * blockDim.y + threadIdx.y, int64_t(blockIdx.x) * blockDim.x + threadIdx.x,
                  int64_t(gridDim.y) * blockDim.y, int64_t(gridDim.x) * blockDim.x};
    if constexpr (std::is_empty_v<typename Body::Shared>) {
        for (int64_t plane = blockIdx.z; plane < body.planes; plane += gridDim.z)
            run_plane(body, typename Body::Shared{}, plane, thread);
    } else {
        __shared__ typename Body::Shared shared;
        for (int64_t plane = blockIdx.z; plane < body.planes; plane += gridDim.z) {
            if (threadIdx.x == 0 && threadIdx.y == 0) shared = body.prepare(plane);
            __syncthreads();
            run_plane(body, shared, plane, thread);
            __syncthreads();
        }
    }
}

// launches on `place`; allocates nothing and waits for nothing, so that a CUDA graph can record it
struct Launcher {
    Place place;

    template <class Body>
    const char* operator()(const Body& body, Grid grid) const {
        // torch keeps its own idea of the current device; the runtimes share its contexts, not the setting
        cudaError_t status = cudaSetDevice(place.device);
        if (status == cudaSuccess) {
            dim3 blocks(grid.blocks_x, grid.blocks_y, grid.blocks_z), threads(grid.threads_x, grid.threads_y);
            lowlight_kernel<<<blocks, threads, 0, static_cast<cudaStream_t>(place.stream)>>>(body);
            status = cudaGetLastError();
        }
        return status == cudaSuccess ? nullptr : cudaGetErrorString(status);
    }
};

}  // namespace lowlight
