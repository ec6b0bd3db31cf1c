#include "launch.cuh"
#include "tone_body.h"

namespace lowlight {

const char* launch_tone(const ToneArguments& a, Place place) {
    return run_tone(a, Launcher{place});
}

}  // namespace lowlight
