// The CUDA side on the host: the same arguments, choice of variants, grids and per-thread bodies as csrc/cuda/*.cu,
// with loops over blocks and threads in place of a launch. cuda_host.py compiles it and calls it as it would call _C.
#include "cuda_crew.h"

#include "../csrc/cuda/exposure_body.h"
#include "../csrc/cuda/gate_body.h"
#include "../csrc/cuda/haar_body.h"
#include "../csrc/cuda/layer_norm_body.h"
#include "../csrc/cuda/noise_body.h"
#include "../csrc/cuda/norm_gradient_body.h"
#include "../csrc/cuda/poisson_body.h"
#include "../csrc/cuda/q_sample_body.h"
#include "../csrc/cuda/raw_noise_body.h"
#include "../csrc/cuda/step_body.h"
#include "../csrc/cuda/tone_body.h"
#include "../csrc/table.h"

namespace lowlight {

// the numbers of a call, one after the other, a real one by its bits
struct Numbers {
    const int64_t* next;

    template <class T>
    void operator()(T& field) {
        if constexpr (std::is_pointer_v<T>)
            field = reinterpret_cast<T>(*next++);
        else if constexpr (std::is_same_v<T, double>)
            memcpy(&field, next++, sizeof(T));
        else
            field = static_cast<T>(*next++);
    }

    template <class A>
    A all() {
        A a{};
        for_each_number(a, *this);
        return a;
    }
};

static const char* call(const std::string& name, Numbers numbers) {
#define LOWLIGHT_ROW(row, Arguments) \
    if (name == #row) return run_##row(numbers.all<Arguments>(), CrewRunner());
    LOWLIGHT_OPERATORS(LOWLIGHT_ROW)
#undef LOWLIGHT_ROW
    return "no such kernel";
}

static int64_t workspace(const std::string& name, Numbers numbers) {
#define LOWLIGHT_ROW(row, Arguments) \
    if (name == #row) return row##_workspace(numbers.all<Arguments>());
    LOWLIGHT_WORKSPACES(LOWLIGHT_ROW)
#undef LOWLIGHT_ROW
    return -1;
}

}  // namespace lowlight

extern "C" {
#define EXPORTED __attribute__((visibility("default")))
EXPORTED const char* host_call(const char* name, const int64_t* n) {
    return lowlight::call(name, lowlight::Numbers{n});
}
// how many numbers `name` works in beside its tensors, -1 where it needs none
EXPORTED int64_t host_workspace(const char* name, const int64_t* n) {
    return lowlight::workspace(name, lowlight::Numbers{n});
}
EXPORTED void host_limit(unsigned blocks, bool reversed) {
    lowlight::most_blocks = blocks, lowlight::backwards = reversed;
}
EXPORTED const int64_t* host_last() {
    return lowlight::last.data();
}
EXPORTED const int64_t* host_grid(int64_t planes, int64_t lines, int64_t groups) {
    static std::array<int64_t, 5> numbers;
    lowlight::Grid g = lowlight::grid_of(planes, lines, groups);
    numbers = {g.blocks_x, g.blocks_y, g.blocks_z, g.threads_x, g.threads_y};
    return numbers.data();
}
EXPORTED const int64_t* host_last_crew() {
    return lowlight::last_crew.data();
}
// values [threads]: each becomes its thread's sum
EXPORTED const char* host_sum(double* values, int threads, int low, int high) {
    struct State {
        double sums[1];
    };
    const char* problem = nullptr;
    std::vector<unsigned char> shared(lowlight::shared_numbers(threads, low, 1) * sizeof(double));
    lowlight::HostCrew crew{threads, shared, problem};
    lowlight::HostCrew::Own<State> own(crew);
    for (int i = 0; i < threads; ++i) own[i].sums[0] = values[i];
    crew.sum<1>(own, low, high);
    for (int i = 0; i < threads; ++i) values[i] = own[i].sums[0];
    return problem;
}
}
