#include "launch.cuh"
#include "poisson_body.h"

namespace lowlight {

const char* launch_poisson(const PoissonArguments& a, Place place) {
    return run_poisson(a, Launcher{place});
}

const char* launch_tukey_lambda(const TukeyArguments& a, Place place) {
    return run_tukey_lambda(a, Launcher{place});
}

}  // namespace lowlight
