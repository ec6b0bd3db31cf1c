#include "crew.cuh"
#include "layer_norm_body.h"

namespace lowlight {

const char* launch_layer_norm(const NormArguments& a, Place place) {
    return run_layer_norm(a, CrewLauncher{{place}});
}

const char* launch_layer_norm_gradients(const NormGradients& a, void* workspace, Place place) {
    return run_layer_norm_gradients(a, workspace, CrewLauncher{{place}});
}

}  // namespace lowlight
