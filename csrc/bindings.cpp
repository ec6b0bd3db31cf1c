// lowlight_ext._C: integers (addresses, sizes, dtype codes) in, CPU loops and CUDA launches out; knows nothing of torch
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>

#if defined(__linux__)
#    include <sys/mman.h>
#    include <unistd.h>
#endif

#include "parse.h"

#if defined(_OPENMP)
#    include <omp.h>
#endif

#include "cpu/kernels.h"

namespace py = pybind11;

namespace lowlight {

void register_norm(py::module_& module);
void register_raw(py::module_& module);
#if defined(LOWLIGHT_CUDA)
void register_cuda(py::module_& module);
#endif

static void noise(uintptr_t out, int dtype, bool normal, Sizes size, Source source) {
    NoiseArguments a{address(out), dtype_code(dtype), normal, block(size), noise_source(source)};
    const Kernels& chosen = kernels();
    py::gil_scoped_release released;
    chosen.noise(a);
}

static void philox_words(uintptr_t counter, uintptr_t key, uintptr_t words, int64_t n) {
    const Kernels& chosen = kernels();
    py::gil_scoped_release released;
    chosen.philox(address<const int64_t>(counter), address<const int64_t>(key), address<int64_t>(words), n);
}

template <bool kForward>
static void haar(uintptr_t image, uintptr_t ll, const std::vector<uintptr_t>& details, int dtype, int64_t planes,
                 int64_t height, int64_t width, bool affine) {
    HaarArguments a = haar_arguments(image, ll, details, dtype, planes, height, width, affine);
    const Kernels& chosen = kernels();
    py::gil_scoped_release released;
    kForward ? chosen.haar_forward(a) : chosen.haar_inverse(a);
}

static void step(const std::array<uintptr_t, 7>& tensors, int dtype, Sizes size, const std::array<int64_t, 3>& rows,
                 uintptr_t t, std::optional<Source> source, double lo, double hi) {
    StepArguments a = step_arguments(tensors, dtype, size, rows, t, noise_source(source), lo, hi);
    check_times("diffusion_step", a.t, a.size.batch, 0, a.row_count);
    const Kernels& chosen = kernels();
    py::gil_scoped_release released;
    chosen.step(a);
}

static void step_backward(const std::array<uintptr_t, 8>& tensors, int dtype, int64_t batch, int64_t per_sample,
                          const std::array<int64_t, 3>& rows, uintptr_t t, bool clip, double lo, double hi) {
    StepGradients a = step_gradients(tensors, dtype, batch, per_sample, rows, t, clip, lo, hi);
    check_times("diffusion_step", a.t, batch, 0, a.row_count);
    const Kernels& chosen = kernels();
    py::gil_scoped_release released;
    chosen.step_backward(a);
}

static void q_sample(const std::array<uintptr_t, 5>& tensors, int dtype, Sizes size, uintptr_t alpha_bar,
                     int64_t length, uintptr_t t, std::optional<Source> source) {
    ForwardArguments a = forward_arguments(tensors, dtype, size, alpha_bar, length, t, noise_source(source));
    check_times("anchored_q_sample", a.t, a.size.batch, INT64_MIN, length);
    const Kernels& chosen = kernels();
    py::gil_scoped_release released;
    chosen.q_sample(a);
}

static void q_sample_backward(const std::array<uintptr_t, 5>& tensors, int dtype, int64_t batch, int64_t per_sample,
                              uintptr_t alpha_bar, int64_t length, uintptr_t t) {
    ForwardGradients a = forward_gradients(tensors, dtype, batch, per_sample, alpha_bar, length, t);
    check_times("anchored_q_sample", a.t, batch, INT64_MIN, length);
    const Kernels& chosen = kernels();
    py::gil_scoped_release released;
    chosen.q_sample_backward(a);
}

// fresh memory above a few MiB is written first by a kernel: huge pages spare most of the page faults
static void advise_huge_pages(uintptr_t start, uint64_t bytes) {
#if defined(MADV_HUGEPAGE)
    uintptr_t page = uintptr_t(sysconf(_SC_PAGESIZE)), first = (start + page - 1) & ~(page - 1);
    // advice only: a kernel that does not take it changes nothing
    if (start + bytes > first) madvise(address(first), (start + bytes - first) & ~(page - 1), MADV_HUGEPAGE);
#else
    (void)start, (void)bytes;
#endif
}

static py::dict build_info() {
    py::dict info;
    info["compiler"] = LOWLIGHT_COMPILER;
    info["cpu_level"] = kernels().level;
    info["cpu_levels"] = std::string(runnable_levels());
#if defined(_OPENMP)
    info["openmp"] = _OPENMP;
    info["threads"] = omp_get_max_threads();
#else
    info["openmp"] = py::none();
    info["threads"] = 1;
#endif
    return info;
}

}  // namespace lowlight

PYBIND11_MODULE(_C, module) {
    using namespace lowlight;
    module.doc() = "compiled kernels of lowlight_ext; use them through lowlight_ext.kernels_cpp";
    module.attr("max_levels") = kMaxLevels;
    module.def("build_info", build_info);
    module.def("advise_huge_pages", advise_huge_pages);
    module.def("noise", noise);
    module.def("philox", philox_words);
    module.def("haar_forward", haar<true>);
    module.def("haar_inverse", haar<false>);
    module.def("step", step);
    module.def("step_backward", step_backward);
    module.def("q_sample", q_sample);
    module.def("q_sample_backward", q_sample_backward);
    register_norm(module);
    register_raw(module);
#if defined(LOWLIGHT_CUDA)
    register_cuda(module);
#endif
}
