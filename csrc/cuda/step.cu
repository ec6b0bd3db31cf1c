#include "launch.cuh"
#include "step_body.h"

namespace lowlight {

const char* launch_step(const StepArguments& a, Place place) {
    return run_step(a, Launcher{place});
}

const char* launch_step_backward(const StepGradients& a, Place place) {
    return run_step_backward(a, Launcher{place});
}

}  // namespace lowlight
