// The CUDA side on the host: the same arguments, choice of variants, grids and per-thread bodies as csrc/cuda/*.cu,
// with loops over blocks and threads in place of a launch. test_cuda_host.py compiles it and calls it as it would call
// _C.
#include "cuda_host.h"

#include <array>

#include "../csrc/cuda/exposure_body.h"
#include "../csrc/cuda/haar_body.h"
#include "../csrc/cuda/noise_body.h"
#include "../csrc/cuda/poisson_body.h"
#include "../csrc/cuda/q_sample_body.h"
#include "../csrc/cuda/raw_noise_body.h"
#include "../csrc/cuda/step_body.h"
#include "../csrc/parse_raw.h"

namespace lowlight {

// the numbers of a call, one after the other
struct Numbers {
    const int64_t* next;

    int64_t one() { return *next++; }
    void* tensor() { return address(uintptr_t(one())); }

    template <size_t kCount, class T = int64_t>
    std::array<T, kCount> several() {
        std::array<T, kCount> numbers;
        for (T& number : numbers) number = T(one());
        return numbers;
    }

    // a flag, and eight numbers that count if it is set
    std::optional<NoiseSource> source() {
        bool there = one() != 0;
        DeviceSource numbers = several<8>();
        return there ? std::optional<NoiseSource>(noise_source(numbers)) : std::nullopt;
    }
};

static const char* call_raw(const std::string& name, Numbers n, const double* real) {
    if (name == "poisson" || name == "raw_noise") {
        auto tensors = n.several<2, uintptr_t>();
        int dtype = int(n.one());
        auto size = n.several<4>();
        NoiseSource source = *n.source();
        if (name == "poisson")
            return run_poisson(poisson_arguments(tensors[0], tensors[1], dtype, size, source), HostRunner());
        auto rows = n.several<2>();
        auto rest = n.several<2>();
        return run_raw_noise(
            raw_noise_arguments(tensors[0], tensors[1], dtype, size, source, rows, real[0], int(rest[0]), rest[1] != 0),
            HostRunner());
    }
    if (name == "tukey_lambda") {
        auto place = n.several<2>();
        auto size = n.several<4>();
        return run_tukey(tukey_arguments(uintptr_t(place[0]), int(place[1]), size, *n.source(), real[0]), HostRunner());
    }
    if (name == "exposure_step") {
        auto tensors = n.several<4, uintptr_t>();
        int dtype = int(n.one());
        auto size = n.several<4>();
        auto rows = n.several<2>();
        return run_exposure(exposure_arguments(tensors, dtype, size, rows, n.source()), HostRunner());
    }
    if (name != "exposure_step_backward") return "no such kernel";
    auto tensors = n.several<5, uintptr_t>();
    auto sizes = n.several<3>();
    return run_exposure_gradients(exposure_gradients(tensors, int(sizes[0]), sizes[1], sizes[2], n.several<2>()),
                                  HostRunner());
}

static const char* call(const std::string& name, Numbers n, const double* real) {
    if (name == "noise") {
        void* out = n.tensor();
        DType dtype = dtype_code(int(n.one()));
        bool normal = n.one() != 0;
        Block size = block(n.several<4>());
        return run_noise(NoiseArguments{out, dtype, normal, size, *n.source()}, HostRunner());
    }
    if (name == "philox") {
        auto p = n.several<3, uintptr_t>();
        return run_philox(address<int64_t>(p[0]), address<int64_t>(p[1]), address<int64_t>(p[2]), n.one(),
                          HostRunner());
    }
    if (name == "haar_forward" || name == "haar_inverse") {
        auto p = n.several<3, uintptr_t>();
        auto s = n.several<5>();
        HaarArguments a = haar_arguments(p[0], p[1], {p[2]}, int(s[0]), s[1], s[2], s[3], s[4] != 0);
        return name == "haar_forward" ? run_haar<true>(a, HostRunner()) : run_haar<false>(a, HostRunner());
    }
    if (name == "step") {
        auto tensors = n.several<7, uintptr_t>();
        int dtype = int(n.one());
        auto size = n.several<4>();
        auto rows = n.several<3>();
        uintptr_t t = uintptr_t(n.one());
        return run_step(step_arguments(tensors, dtype, size, rows, t, n.source(), real[0], real[1]), HostRunner());
    }
    if (name == "step_backward") {
        auto tensors = n.several<8, uintptr_t>();
        auto sizes = n.several<3>();
        auto rows = n.several<3>();
        auto rest = n.several<2>();
        return run_step_gradients(step_gradients(tensors, int(sizes[0]), sizes[1], sizes[2], rows, uintptr_t(rest[0]),
                                                 rest[1] != 0, real[0], real[1]),
                                  HostRunner());
    }
    if (name != "q_sample" && name != "q_sample_backward") return call_raw(name, n, real);
    auto tensors = n.several<5, uintptr_t>();
    int dtype = int(n.one());
    if (name == "q_sample") {
        auto size = n.several<4>();
        auto table = n.several<3>();
        return run_q_sample(
            forward_arguments(tensors, dtype, size, uintptr_t(table[0]), table[1], uintptr_t(table[2]), n.source()),
            HostRunner());
    }
    auto sizes = n.several<2>();
    auto table = n.several<3>();
    return run_q_sample_gradients(
        forward_gradients(tensors, dtype, sizes[0], sizes[1], uintptr_t(table[0]), table[1], uintptr_t(table[2])),
        HostRunner());
}

}  // namespace lowlight

extern "C" {
__attribute__((visibility("default"))) const char* host_call(const char* name, const int64_t* n, const double* real) {
    return lowlight::call(name, lowlight::Numbers{n}, real);
}
__attribute__((visibility("default"))) void host_limit(unsigned blocks, bool reversed) {
    lowlight::most_blocks = blocks, lowlight::backwards = reversed;
}
__attribute__((visibility("default"))) const int64_t* host_last() {
    return lowlight::last.data();
}
__attribute__((visibility("default"))) const int64_t* host_grid(int64_t planes, int64_t lines, int64_t groups) {
    static std::array<int64_t, 5> numbers;
    lowlight::Grid g = lowlight::grid_of(planes, lines, groups);
    numbers = {g.blocks_x, g.blocks_y, g.blocks_z, g.threads_x, g.threads_y};
    return numbers.data();
}
}
