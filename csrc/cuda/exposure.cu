#include "exposure_body.h"
#include "launch.cuh"

namespace lowlight {

const char* launch_exposure_step(const ExposureArguments& a, Place place) {
    return run_exposure_step(a, Launcher{place});
}

const char* launch_exposure_step_backward(const ExposureGradients& a, Place place) {
    return run_exposure_step_backward(a, Launcher{place});
}

}  // namespace lowlight
