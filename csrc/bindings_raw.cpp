// the raw-space operators of lowlight_ext._C
#include <optional>

#include "core/exposure.h"
#include "cpu/kernels.h"
#include "parse.h"

namespace py = pybind11;

namespace lowlight {

static int64_t poisson_counts(uintptr_t mean, uintptr_t out, int dtype, Sizes size, Source source) {
    PoissonArguments a{address(mean), address(out), dtype_code(dtype), block(size), noise_source(source)};
    const Kernels& chosen = kernels();
    py::gil_scoped_release released;
    return chosen.raw.poisson(a);
}

static void tukey_lambda(uintptr_t out, int dtype, Sizes size, Source source, double lambda) {
    TukeyArguments a{address(out), dtype_code(dtype), block(size), noise_source(source), lambda};
    const Kernels& chosen = kernels();
    py::gil_scoped_release released;
    chosen.raw.tukey_lambda(a);
}

// rows: address of float64 rows, 1 or 0 to step by one a sample
using Rows = std::array<int64_t, 2>;

static void raw_noise(uintptr_t clean, uintptr_t out, int dtype, Sizes size, Source source, Rows rows,
                      double saturation, int parts, bool clip) {
    RawNoiseArguments a{address(clean),
                        address(out),
                        dtype_code(dtype),
                        block(size),
                        noise_source(source),
                        address<const double>(uintptr_t(rows[0])),
                        rows[1],
                        saturation,
                        parts,
                        clip};
    const Kernels& chosen = kernels();
    py::gil_scoped_release released;
    chosen.raw.raw_noise(a);
}

// tensors: output, original, counts, out
static void exposure_step(const std::array<uintptr_t, 4>& tensors, int dtype, Sizes size, Rows rows,
                          std::optional<Source> source) {
    ExposureArguments a{address(tensors[0]),
                        address(tensors[1]),
                        address(tensors[2]),
                        address(tensors[3]),
                        dtype_code(dtype),
                        block(size),
                        address<const double>(uintptr_t(rows[0])),
                        rows[1],
                        source.has_value(),
                        source ? noise_source(*source) : NoiseSource{}};
    const Kernels& chosen = kernels();
    py::gil_scoped_release released;
    chosen.raw.exposure_step(a);
}

// tensors: grad, output, original, then where the gradients to output and original go
static void exposure_step_backward(const std::array<uintptr_t, 5>& tensors, int dtype, int64_t batch,
                                   int64_t per_sample, Rows rows) {
    ExposureGradients a{address(tensors[0]),
                        address(tensors[1]),
                        address(tensors[2]),
                        address(tensors[3]),
                        address(tensors[4]),
                        dtype_code(dtype),
                        batch,
                        per_sample,
                        address<const double>(uintptr_t(rows[0])),
                        rows[1]};
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
