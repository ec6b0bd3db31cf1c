#include "launch.cuh"
#include "q_sample_body.h"

namespace lowlight {

const char* launch_q_sample(const ForwardArguments& a, Place place) {
    return run_q_sample(a, Launcher{place});
}

const char* launch_q_sample_backward(const ForwardGradients& a, Place place) {
    return run_q_sample_backward(a, Launcher{place});
}

}  // namespace lowlight
