#include "exposure_body.h"
#include "launch.cuh"

namespace lowlight {

const char* launch_exposure(const ExposureArguments& a, Place place) {
    return run_exposure(a, Launcher{place});
}

const char* launch_exposure_gradients(const ExposureGradients& a, Place place) {
    return run_exposure_gradients(a, Launcher{place});
}

}  // namespace lowlight
