#include "gate_body.h"
#include "launch.cuh"

namespace lowlight {

const char* launch_gate(const GateArguments& a, Place place) {
    return run_gate(a, Launcher{place});
}

const char* launch_gate_backward(const GateArguments& a, Place place) {
    return run_gate_backward(a, Launcher{place});
}

}  // namespace lowlight
