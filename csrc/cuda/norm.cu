#include "crew.cuh"
#include "norm_body.h"

namespace lowlight {

const char* launch_norm(const NormArguments& a, Place place) {
    return run_norm(a, CrewLauncher{{place}});
}

int64_t size_norm(const NormArguments& a) {
    return norm_workspace(a);
}

}  // namespace lowlight
