#include "launch.cuh"
#include "noise_body.h"

namespace lowlight {

const char* launch_noise(const NoiseArguments& a, Place place) {
    return run_noise(a, Launcher{place});
}

const char* launch_philox(const int64_t* counter, const int64_t* key, int64_t* words, int64_t n, Place place) {
    return run_philox(counter, key, words, n, Launcher{place});
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
