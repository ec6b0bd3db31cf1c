// what the compiled module offers for CUDA tensors
#include <cuda_runtime_api.h>
#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>

#include "../parse.h"
#include "launchers.h"

namespace lowlight {
namespace py = pybind11;

// torch keeps its own idea of the current device; the runtime shares the context, not the setting
struct DeviceGuard {
    int previous = 0;
    explicit DeviceGuard(int device) {
        cudaError_t status = cudaGetDevice(&previous);
        if (status == cudaSuccess) status = cudaSetDevice(device);
        if (status != cudaSuccess) throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(status));
    }
    ~DeviceGuard() { cudaSetDevice(previous); }
};

template <class Launcher>
static auto haar_function(Launcher launcher) {
    return [launcher](uintptr_t image, uintptr_t ll, std::vector<uintptr_t> details, int dtype, int64_t planes,
                      int64_t height, int64_t width, bool affine, int device, uintptr_t stream) {
        if (details.size() != 1) throw std::invalid_argument("haar on CUDA: takes one level at a time");
        HaarArguments arguments = haar_arguments(image, ll, details, dtype, planes, height, width, affine);
        DeviceGuard guard(device);
        if (const char* problem = launcher(arguments, reinterpret_cast<void*>(stream)))
            throw std::runtime_error(std::string("haar on CUDA: ") + problem);
    };
}

void register_cuda(py::module_& module) {
    module.def("cuda_haar_forward", haar_function(launch_haar_forward));
    module.def("cuda_haar_inverse", haar_function(launch_haar_inverse));
    module.def("cuda_runtime_version", [] {
        int version = 0;
        cudaRuntimeGetVersion(&version);
        return version;
    });
    module.def("cuda_device_count", [] {
        int count = 0;
        return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
    });
}

}  // namespace lowlight
