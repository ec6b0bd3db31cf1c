#include "crew.cuh"
#include "layer_norm_body.h"

namespace lowlight {

const char* launch_layer_norm(const NormArguments& a, Place place) {
    return run_layer_norm(a, CrewLauncher{{place}});
}

}  // namespace lowlight
