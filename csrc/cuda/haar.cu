#include "haar_body.h"
#include "launch.cuh"

namespace lowlight {

const char* launch_haar_forward(const HaarArguments& a, Place place) {
    return run_haar_forward(a, Launcher{place});
}
const char* launch_haar_inverse(const HaarArguments& a, Place place) {
    return run_haar_inverse(a, Launcher{place});
}

}  // namespace lowlight
