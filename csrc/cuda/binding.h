// what the bindings of the CUDA launchers share
#pragma once

#include <stdexcept>
#include <string>

#include "../parse.h"
#include "launchers.h"

namespace lowlight {

// (device, stream)
using Where = std::array<uintptr_t, 2>;

inline Place place(const Where& where) {
    return Place{int(where[0]), address(where[1])};
}

inline void check(const char* op, const char* problem) {
    if (problem) throw std::runtime_error(std::string(op) + " on CUDA: " + problem);
}

}  // namespace lowlight
