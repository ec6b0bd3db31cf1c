// what the compiled module offers for normalisations
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "cpu/kernels.h"
#include "parse_norm.h"

namespace lowlight {
namespace py = pybind11;

template <bool kLayer>
static void norm(const std::array<uintptr_t, 5>& t, int dtype, bool channels_last, int activation,
                 const NormSizes& size, double eps) {
    NormArguments a = norm_arguments(t, dtype, channels_last, activation, size, eps);
    const Kernels& chosen = kernels();
    py::gil_scoped_release released;
    kLayer ? chosen.norm.layer_norm(a) : chosen.norm.norm(a);
}

template <bool kLayer>
static void norm_backward(const std::array<uintptr_t, 8>& t, int dtype, bool channels_last, int activation,
                          const NormSizes& size) {
    NormGradients a = norm_gradients(t, dtype, channels_last, activation, size);
    const Kernels& chosen = kernels();
    py::gil_scoped_release released;
    kLayer ? chosen.norm.layer_norm_backward(a) : chosen.norm.norm_backward(a);
}

static void gate(uintptr_t x, uintptr_t out, int dtype, int64_t rows, int64_t n) {
    GateArguments a{address(x), nullptr, address(out), dtype_code(dtype), rows, n};
    const Kernels& chosen = kernels();
    py::gil_scoped_release released;
    chosen.norm.gate(a);
}

static void gate_backward(uintptr_t grad, uintptr_t x, uintptr_t to_x, int dtype, int64_t rows, int64_t n) {
    GateArguments a{address(x), address(grad), address(to_x), dtype_code(dtype), rows, n};
    const Kernels& chosen = kernels();
    py::gil_scoped_release released;
    chosen.norm.gate_backward(a);
}

void register_norm(py::module_& module) {
    module.def("norm", norm<false>);
    module.def("norm_backward", norm_backward<false>);
    module.def("layer_norm", norm<true>);
    module.def("layer_norm_backward", norm_backward<true>);
    module.def("gate", gate);
    module.def("gate_backward", gate_backward);
}

}  // namespace lowlight
