// the raw-space operators of lowlight_ext._C
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>

#include "cpu/kernels.h"
#include "parse_raw.h"

namespace py = pybind11;

namespace lowlight {

static int64_t poisson_counts(uintptr_t mean, uintptr_t out, int dtype, Sizes size, Source source) {
    PoissonArguments a = poisson_arguments(mean, out, dtype, size, noise_source(source));
    const Kernels& chosen = kernels();
    py::gil_scoped_release released;
    return chosen.raw.poisson(a);
}

static void tukey_lambda(uintptr_t out, int dtype, Sizes size, Source source, double lambda) {
    TukeyArguments a = tukey_arguments(out, dtype, size, noise_source(source), lambda);
    const Kernels& chosen = kernels();
    py::gil_scoped_release released;
    chosen.raw.tukey_lambda(a);
}

static void raw_noise(uintptr_t clean, uintptr_t out, int dtype, Sizes size, Source source, Rows rows,
                      double saturation, int parts, bool clip) {
    RawNoiseArguments a =
        raw_noise_arguments(clean, out, dtype, size, noise_source(source), rows, saturation, parts, clip);
    const Kernels& chosen = kernels();
    py::gil_scoped_release released;
    chosen.raw.raw_noise(a);
}

static void exposure_step(const std::array<uintptr_t, 4>& tensors, int dtype, Sizes size, Rows rows,
                          std::optional<Source> source) {
    ExposureArguments a = exposure_arguments(tensors, dtype, size, rows, noise_source(source));
    const Kernels& chosen = kernels();
    py::gil_scoped_release released;
    chosen.raw.exposure_step(a);
}

static void exposure_step_backward(const std::array<uintptr_t, 5>& tensors, int dtype, int64_t batch,
                                   int64_t per_sample, Rows rows) {
    ExposureGradients a = exposure_gradients(tensors, dtype, batch, per_sample, rows);
    const Kernels& chosen = kernels();
    py::gil_scoped_release released;
    chosen.raw.exposure_step_backward(a);
}

void register_raw(py::module_& module) {
    module.def("poisson", poisson_counts);
    module.def("tukey_lambda", tukey_lambda);
    module.def("raw_noise", raw_noise);
    module.def("exposure_step", exposure_step);
    module.def("exposure_step_backward", exposure_step_backward);
}

}  // namespace lowlight
