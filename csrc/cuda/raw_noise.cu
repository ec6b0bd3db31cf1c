#include "launch.cuh"
#include "raw_noise_body.h"

namespace lowlight {

const char* launch_raw_noise(const RawNoiseArguments& a, Place place) {
    return run_raw_noise(a, Launcher{place});
}

}  // namespace lowlight
