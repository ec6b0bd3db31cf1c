#include "crew.cuh"
#include "layer_norm_body.h"

namespace lowlight {

const char* launch_layer_norm_backward(const NormGradients& a, Place place) {
    return run_layer_norm_backward(a, CrewLauncher{{place}});
}

int64_t size_layer_norm_backward(const NormGradients& a) {
    return layer_norm_backward_workspace(a);
}

}  // namespace lowlight
