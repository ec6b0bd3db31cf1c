// what the compiled module offers for CUDA tensors: launches; knows the launchers alone, not the CUDA runtime
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "binding.h"

namespace lowlight {
namespace py = pybind11;

void register_cuda_norm(py::module_& module);
void register_cuda_raw(py::module_& module);

static void noise(uintptr_t out, int dtype, bool normal, const Sizes& size, const DeviceSource& source,
                  const Where& where) {
    NoiseArguments a{address(out), dtype_code(dtype), normal, block(size), noise_source(source)};
    check(normal ? "normal" : "uniform", launch_noise(a, place(where)));
}

static void philox_words(uintptr_t counter, uintptr_t key, uintptr_t words, int64_t n, const Where& where) {
    check("philox", launch_philox(address<const int64_t>(counter), address<const int64_t>(key), address<int64_t>(words),
                                  n, place(where)));
}

template <bool kForward>
static void haar(uintptr_t image, uintptr_t ll, uintptr_t details, int dtype, int64_t planes, int64_t height,
                 int64_t width, bool affine, const Where& where) {
    HaarArguments a = haar_arguments(image, ll, {details}, dtype, planes, height, width, affine);
    check(kForward ? "haar_dwt2d" : "haar_idwt2d",
          kForward ? launch_haar_forward(a, place(where)) : launch_haar_inverse(a, place(where)));
}

static void step(const std::array<uintptr_t, 7>& tensors, int dtype, const Sizes& size,
                 const std::array<int64_t, 3>& rows, uintptr_t t, const std::optional<DeviceSource>& source, double lo,
                 double hi, const Where& where) {
    StepArguments a = step_arguments(tensors, dtype, size, rows, t, noise_source(source), lo, hi);
    check("diffusion_step", launch_step(a, place(where)));
}

static void step_backward(const std::array<uintptr_t, 8>& tensors, int dtype, int64_t batch, int64_t per_sample,
                          const std::array<int64_t, 3>& rows, uintptr_t t, bool clip, double lo, double hi,
                          const Where& where) {
    StepGradients a = step_gradients(tensors, dtype, batch, per_sample, rows, t, clip, lo, hi);
    check("diffusion_step's gradient", launch_step_gradients(a, place(where)));
}

static void q_sample(const std::array<uintptr_t, 5>& tensors, int dtype, const Sizes& size, uintptr_t alpha_bar,
                     int64_t length, uintptr_t t, const std::optional<DeviceSource>& source, const Where& where) {
    ForwardArguments a = forward_arguments(tensors, dtype, size, alpha_bar, length, t, noise_source(source));
    check("anchored_q_sample", launch_q_sample(a, place(where)));
}

static void q_sample_backward(const std::array<uintptr_t, 5>& tensors, int dtype, int64_t batch, int64_t per_sample,
                              uintptr_t alpha_bar, int64_t length, uintptr_t t, const Where& where) {
    ForwardGradients a = forward_gradients(tensors, dtype, batch, per_sample, alpha_bar, length, t);
    check("anchored_q_sample's gradient", launch_q_sample_gradients(a, place(where)));
}

void register_cuda(py::module_& module) {
    module.def("cuda_noise", noise);
    module.def("cuda_philox", philox_words);
    module.def("cuda_haar_forward", haar<true>);
    module.def("cuda_haar_inverse", haar<false>);
    module.def("cuda_step", step);
    module.def("cuda_step_backward", step_backward);
    module.def("cuda_q_sample", q_sample);
    module.def("cuda_q_sample_backward", q_sample_backward);
    register_cuda_norm(module);
    register_cuda_raw(module);
    module.def("cuda_runtime_version", cuda_runtime_version);
    module.def("cuda_device_count", cuda_device_count);
}

}  // namespace lowlight
