// chooses the CPU level at run time; compiled for the baseline
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "cpu/kernels.h"

namespace lowlight {

#define LOWLIGHT_LOOP(name, Arguments) name##_cpu,
#define LOWLIGHT_LEVEL_TABLE(level)                                                                                    \
    LOWLIGHT_DECLARE_LEVEL(level)                                                                                      \
    namespace level {                                                                                                  \
    static const Kernels all_kernels{#level, LOWLIGHT_OPERATORS(LOWLIGHT_LOOP) LOWLIGHT_CPU_OPERATORS(LOWLIGHT_LOOP)}; \
    }

LOWLIGHT_LEVEL_TABLE(baseline)
#if defined(LOWLIGHT_X86_LEVELS)
LOWLIGHT_LEVEL_TABLE(avx2)
LOWLIGHT_LEVEL_TABLE(avx512)
#endif

struct Level {
    const Kernels* kernels;
    bool runs;
};

static const Level* all_levels(int& count) {
    static const Level levels[] = {
        {&baseline::all_kernels, true},
#if defined(LOWLIGHT_X86_LEVELS)
        {&avx2::all_kernels, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")},
        {&avx512::all_kernels, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                                   __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                                   __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")},
#endif
    };
    count = sizeof(levels) / sizeof(levels[0]);
    return levels;
}

const char* runnable_levels() {
    static const std::string names = [] {
        int count;
        const Level* levels = all_levels(count);
        std::string joined;
        for (int i = 0; i < count; ++i)
            if (levels[i].runs) joined += (joined.empty() ? "" : " ") + std::string(levels[i].kernels->level);
        return joined;
    }();
    return names.c_str();
}

static const Kernels& choose() {
    int count;
    const Level* levels = all_levels(count);
    if (const char* wanted = std::getenv("LOWLIGHT_EXT_CPU_LEVEL")) {
        for (int i = 0; i < count; ++i)
            if (levels[i].runs && std::string(levels[i].kernels->level) == wanted) return *levels[i].kernels;
        throw std::runtime_error(std::string("LOWLIGHT_EXT_CPU_LEVEL: this CPU runs ") + runnable_levels() + ", got '" +
                                 wanted + "'");
    }
    while (!levels[count - 1].runs) --count;
    return *levels[count - 1].kernels;
}

// beside the level avx512 what a CPU has that is of AVX512-BF16 too
static Kernels with_bfloat16(Kernels chosen) {
#if defined(LOWLIGHT_BFLOAT16)
    if (std::string(chosen.level) == "avx512" && __builtin_cpu_supports("avx512bf16")) {
#    define LOWLIGHT_ROW(name, Arguments) chosen.name = avx512bf16::name##_cpu;
        LOWLIGHT_BFLOAT16_OPERATORS(LOWLIGHT_ROW)
#    undef LOWLIGHT_ROW
    }
#endif
    return chosen;
}

const Kernels& kernels() {
    static const Kernels chosen = with_bfloat16(choose());
    return chosen;
}

}  // namespace lowlight
