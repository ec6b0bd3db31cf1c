// the CPU loops; every file of theirs is compiled once a level, into the namespace LOWLIGHT_CPU_LEVEL
#pragma once

#include "../table.h"

namespace lowlight {

struct Kernels {
    const char* level;
#define LOWLIGHT_ROW(name, Arguments) void (*name)(const Arguments&);
    LOWLIGHT_OPERATORS(LOWLIGHT_ROW)
    LOWLIGHT_CPU_OPERATORS(LOWLIGHT_ROW)
#undef LOWLIGHT_ROW
// null where the CPU, or the level in use, is without
#define LOWLIGHT_ROW(name, Arguments) void (*name)(const Arguments&) = nullptr;
    LOWLIGHT_BFLOAT16_OPERATORS(LOWLIGHT_ROW)
#undef LOWLIGHT_ROW
};

#define LOWLIGHT_DECLARE_LOOP(name, Arguments) void name##_cpu(const Arguments&);
#define LOWLIGHT_DECLARE_LEVEL(level)             \
    namespace level {                             \
    LOWLIGHT_OPERATORS(LOWLIGHT_DECLARE_LOOP)     \
    LOWLIGHT_CPU_OPERATORS(LOWLIGHT_DECLARE_LOOP) \
    }
namespace avx512bf16 {
LOWLIGHT_BFLOAT16_OPERATORS(LOWLIGHT_DECLARE_LOOP)
}

// the level in use: the best this CPU has, or what LOWLIGHT_EXT_CPU_LEVEL asks for
const Kernels& kernels();
// the levels this CPU can run, lowest first, separated by blanks
const char* runnable_levels();

}  // namespace lowlight
