// the normalisations for CUDA tensors. Each takes the address of a workspace, which the caller allocates: a launch
// allocates nothing. The function of the same name and _workspace says how many numbers of the accumulator's type that
// holds for the same arguments.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "../parse_norm.h"
#include "binding.h"
#include "layer_norm_body.h"
#include "norm_gradient_body.h"

namespace lowlight {
namespace py = pybind11;

using Tensors = std::array<uintptr_t, 5>;
using GradientTensors = std::array<uintptr_t, 8>;

template <bool kLayer>
static int64_t workspace(const Tensors& t, int dtype, bool channels_last, int activation, const NormSizes& size,
                         double eps) {
    return kLayer ? 0 : norm_workspace(norm_arguments(t, dtype, channels_last, activation, size, eps));
}

template <bool kLayer>
static void norm(const Tensors& t, int dtype, bool channels_last, int activation, const NormSizes& size, double eps,
                 uintptr_t workspace, const Where& where) {
    NormArguments a = norm_arguments(t, dtype, channels_last, activation, size, eps);
    check(kLayer ? "layer_norm2d" : "group norm",
          kLayer ? launch_layer_norm(a, place(where)) : launch_norm(a, address(workspace), place(where)));
}

template <bool kLayer>
static int64_t backward_workspace(const GradientTensors& t, int dtype, bool channels_last, int activation,
                                  const NormSizes& size) {
    NormGradients a = norm_gradients(t, dtype, channels_last, activation, size);
    return kLayer ? layer_norm_gradients_workspace(a) : norm_gradients_workspace(a);
}

template <bool kLayer>
static void norm_backward(const GradientTensors& t, int dtype, bool channels_last, int activation,
                          const NormSizes& size, uintptr_t workspace, const Where& where) {
    NormGradients a = norm_gradients(t, dtype, channels_last, activation, size);
    check(kLayer ? "layer_norm2d's gradient" : "group norm's gradient",
          kLayer ? launch_layer_norm_gradients(a, address(workspace), place(where))
                 : launch_norm_gradients(a, address(workspace), place(where)));
}

static void gate(uintptr_t x, uintptr_t out, int dtype, int64_t rows, int64_t n, const Where& where) {
    check("simple_gate", launch_gate({address(x), nullptr, address(out), dtype_code(dtype), rows, n}, place(where)));
}

static void gate_backward(uintptr_t grad, uintptr_t x, uintptr_t to_x, int dtype, int64_t rows, int64_t n,
                          const Where& where) {
    check("simple_gate's gradient",
          launch_gate({address(x), address(grad), address(to_x), dtype_code(dtype), rows, n}, place(where)));
}

void register_cuda_norm(py::module_& module) {
    module.def("cuda_norm", norm<false>);
    module.def("cuda_norm_workspace", workspace<false>);
    module.def("cuda_norm_backward", norm_backward<false>);
    module.def("cuda_norm_backward_workspace", backward_workspace<false>);
    module.def("cuda_layer_norm", norm<true>);
    module.def("cuda_layer_norm_workspace", workspace<true>);
    module.def("cuda_layer_norm_backward", norm_backward<true>);
    module.def("cuda_layer_norm_backward_workspace", backward_workspace<true>);
    module.def("cuda_gate", gate);
    module.def("cuda_gate_backward", gate_backward);
}

}  // namespace lowlight
