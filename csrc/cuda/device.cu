// what the CUDA runtime that was linked says of itself, of the driver and of the devices
#include "launch.cuh"

namespace lowlight {

int cuda_runtime_version() {
    int version = 0;
    return cudaRuntimeGetVersion(&version) == cudaSuccess ? version : 0;
}

int cuda_driver_version() {
    int version = 0;
    return cudaDriverGetVersion(&version) == cudaSuccess ? version : 0;
}

int cuda_device_count() {
    int count = 0;
    return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

// compiled for the architectures of all the kernels
__global__ void lowlight_probe() {}

const char* cuda_problem(int device) {
    int count = 0, before = 0;
    // fails where the driver is older than this runtime
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error == cudaSuccess) error = cudaGetDevice(&before);
    if (error == cudaSuccess) error = cudaSetDevice(device);
    if (error == cudaSuccess) {
        cudaFuncAttributes attributes;
        // fails where there is neither code for the device nor PTX that the driver takes
        error = cudaFuncGetAttributes(&attributes, lowlight_probe);
        cudaSetDevice(before);
    }
    // or the next launch would report it as its own
    cudaGetLastError();
    return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace lowlight
