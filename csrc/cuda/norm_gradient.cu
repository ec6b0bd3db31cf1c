#include "crew.cuh"
#include "norm_gradient_body.h"

namespace lowlight {

const char* launch_norm_backward(const NormGradients& a, Place place) {
    return run_norm_backward(a, CrewLauncher{{place}});
}

int64_t size_norm_backward(const NormGradients& a) {
    return norm_backward_workspace(a);
}

}  // namespace lowlight
