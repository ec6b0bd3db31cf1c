#include "crew.cuh"
#include "norm_body.h"

namespace lowlight {

const char* launch_norm(const NormArguments& a, void* workspace, Place place) {
    return run_norm(a, workspace, CrewLauncher{{place}});
}

}  // namespace lowlight
