#include "launch.cuh"
#include "noise_body.h"

namespace lowlight {

const char* launch_noise(const NoiseArguments& a, Place place) {
    return run_noise(a, Launcher{place});
}

const char* launch_philox(const PhiloxArguments& a, Place place) {
    return run_philox(a, Launcher{place});
}

int cuda_runtime_version() {
    int version = 0;
    return cudaRuntimeGetVersion(&version) == cudaSuccess ? version : 0;
}

int cuda_device_count() {
    int count = 0;
    return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

}  // namespace lowlight
