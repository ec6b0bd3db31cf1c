#include "launch.cuh"
#include "poisson_body.h"

namespace lowlight {

const char* launch_poisson(const PoissonArguments& a, Place place) {
    return run_poisson(a, Launcher{place});
}

const char* launch_tukey(const TukeyArguments& a, Place place) {
    return run_tukey(a, Launcher{place});
}

}  // namespace lowlight
