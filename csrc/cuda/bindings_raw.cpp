// the raw-space operators for CUDA tensors
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "../parse_raw.h"
#include "binding.h"

namespace lowlight {
namespace py = pybind11;

static void poisson(uintptr_t mean, uintptr_t out, int dtype, const Sizes& size, const DeviceSource& source,
                    const Where& where) {
    PoissonArguments a = poisson_arguments(mean, out, dtype, size, noise_source(source));
    check("poisson", launch_poisson(a, place(where)));
}

static void tukey_lambda(uintptr_t out, int dtype, const Sizes& size, const DeviceSource& source, double lambda,
                         const Where& where) {
    TukeyArguments a = tukey_arguments(out, dtype, size, noise_source(source), lambda);
    check("tukey_lambda", launch_tukey(a, place(where)));
}

static void raw_noise(uintptr_t clean, uintptr_t out, int dtype, const Sizes& size, const DeviceSource& source,
                      const Rows& rows, double saturation, int parts, bool clip, const Where& where) {
    RawNoiseArguments a =
        raw_noise_arguments(clean, out, dtype, size, noise_source(source), rows, saturation, parts, clip);
    check("raw_noise", launch_raw_noise(a, place(where)));
}

static void exposure_step(const std::array<uintptr_t, 4>& tensors, int dtype, const Sizes& size, const Rows& rows,
                          const std::optional<DeviceSource>& source, const Where& where) {
    ExposureArguments a = exposure_arguments(tensors, dtype, size, rows, noise_source(source));
    check("exposure_step", launch_exposure(a, place(where)));
}

static void exposure_step_backward(const std::array<uintptr_t, 5>& tensors, int dtype, int64_t batch,
                                   int64_t per_sample, const Rows& rows, const Where& where) {
    ExposureGradients a = exposure_gradients(tensors, dtype, batch, per_sample, rows);
    check("exposure_step's gradient", launch_exposure_gradients(a, place(where)));
}

void register_cuda_raw(py::module_& module) {
    module.def("cuda_poisson", poisson);
    module.def("cuda_tukey_lambda", tukey_lambda);
    module.def("cuda_raw_noise", raw_noise);
    module.def("cuda_exposure_step", exposure_step);
    module.def("cuda_exposure_step_backward", exposure_step_backward);
}

}  // namespace lowlight
