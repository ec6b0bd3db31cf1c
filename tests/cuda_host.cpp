// The CUDA side on the host: the same bindings, choice of variants, grids and per-thread bodies as csrc/cuda/*.cu, with
// loops over blocks and threads in place of a launch. test_cuda_host.py compiles it beside csrc/cuda/bindings.cpp.
#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>

#include "../csrc/cuda/haar_body.h"
#include "../csrc/cuda/launchers.h"
#include "../csrc/cuda/noise_body.h"
#include "../csrc/cuda/q_sample_body.h"
#include "../csrc/cuda/step_body.h"

namespace lowlight {

// no axis of the grid gets more blocks than this: threads then have to come round again
static unsigned most_blocks = ~0u;
// blocks and threads from the last to the first
static bool backwards = false;
// of the last launch: blocks, threads, pixels of a group, whether they were aligned
static std::array<int64_t, 7> last = {};

template <class Body>
struct GroupOf {
    static constexpr int kPixels = 1;
    static constexpr bool kAligned = false;
};
template <class T, class G, bool kFlag, template <class, class, bool> class Body>
struct GroupOf<Body<T, G, kFlag>> : G {};
template <class T, class G, template <class, class> class Body>
struct GroupOf<Body<T, G>> : G {};

template <class Visit>
static void each(int64_t count, Visit visit) {
    for (int64_t i = 0; i < count; ++i) visit(backwards ? count - 1 - i : i);
}

struct HostRunner {
    template <class Body>
    const char* operator()(const Body& body, Grid grid) const {
        int64_t x = std::min(grid.blocks_x, most_blocks), y = std::min(grid.blocks_y, most_blocks);
        int64_t z = std::min(grid.blocks_z, most_blocks), width = grid.threads_x, height = grid.threads_y;
        last = {x, y, z, width, height, GroupOf<Body>::kPixels, GroupOf<Body>::kAligned};
        if (width * height > kThreads) return "a block has more threads than the kernel is compiled for";
        each(x * y * z, [&](int64_t block) {
            int64_t block_x = block % x, block_y = block / x % y, block_z = block / x / y;
            for (int64_t plane = block_z; plane < body.planes; plane += z) {
                typename Body::Shared shared = body.prepare(plane);
                each(width * height, [&](int64_t thread) {
                    int64_t thread_x = thread % width, thread_y = thread / width;
                    run_plane(body, shared, plane,
                              Thread{block_y * height + thread_y, block_x * width + thread_x, y * height, x * width});
                });
            }
        });
        return nullptr;
    }
};

const char* launch_noise(const NoiseArguments& a, Place) { return run_noise(a, HostRunner()); }
const char* launch_philox(const int64_t* counter, const int64_t* key, int64_t* words, int64_t n, Place) {
    return run_philox(counter, key, words, n, HostRunner());
}
const char* launch_haar_forward(const HaarArguments& a, Place) { return run_haar<true>(a, HostRunner()); }
const char* launch_haar_inverse(const HaarArguments& a, Place) { return run_haar<false>(a, HostRunner()); }
const char* launch_step(const StepArguments& a, Place) { return run_step(a, HostRunner()); }
const char* launch_step_gradients(const StepGradients& a, Place) { return run_step_gradients(a, HostRunner()); }
const char* launch_q_sample(const ForwardArguments& a, Place) { return run_q_sample(a, HostRunner()); }
const char* launch_q_sample_gradients(const ForwardGradients& a, Place) {
    return run_q_sample_gradients(a, HostRunner());
}
int cuda_runtime_version() { return 0; }
int cuda_device_count() { return 0; }

void register_cuda(pybind11::module_& module);

}  // namespace lowlight

PYBIND11_MODULE(lowlight_cuda_host, module) {
    using namespace lowlight;
    register_cuda(module);
    module.def("limit", [](unsigned blocks, bool reversed) { most_blocks = blocks, backwards = reversed; });
    module.def("last", [] {
        pybind11::list numbers;
        for (int64_t number : last) numbers.append(number);
        return numbers;
    });
    module.def("grid_of", [](int64_t planes, int64_t lines, int64_t groups) {
        Grid g = grid_of(planes, lines, groups);
        return pybind11::make_tuple(g.blocks_x, g.blocks_y, g.blocks_z, g.threads_x, g.threads_y);
    });
}
