#include "gate_body.h"
#include "launch.cuh"

namespace lowlight {

const char* launch_gate(const GateArguments& a, Place place) {
    return a.grad ? run_gate<false>(a, Launcher{place}) : run_gate<true>(a, Launcher{place});
}

}  // namespace lowlight
