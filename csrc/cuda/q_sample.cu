#include "launch.cuh"
#include "q_sample_body.h"

namespace lowlight {

const char* launch_q_sample(const ForwardArguments& a, Place place) {
    return run_q_sample(a, Launcher{place});
}

const char* launch_q_sample_gradients(const ForwardGradients& a, Place place) {
    return run_q_sample_gradients(a, Launcher{place});
}

}  // namespace lowlight
