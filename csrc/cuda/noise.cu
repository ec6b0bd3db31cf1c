#include "launch.cuh"
#include "noise_body.h"

namespace lowlight {

const char* launch_noise(const NoiseArguments& a, Place place) {
    return run_noise(a, Launcher{place});
}

const char* launch_philox(const PhiloxArguments& a, Place place) {
    return run_philox(a, Launcher{place});
}

}  // namespace lowlight
