// the CUDA runtime, as far as nvcc's host code of a launch needs it
#include <cuda_runtime_api.h>

#include <unordered_map>

#include "machine.h"

namespace {

std::unordered_map<const void*, std::string>& names() {
    static std::unordered_map<const void*, std::string> one;
    return one;
}

struct Configuration {
    dim3 grid, block;
    size_t shared;
    void* stream;
} pushed;

cudaError_t last = cudaSuccess;
std::string said;
// of the last launch: device, stream
int64_t place[2] = {-1, -1};

cudaError_t launch(const void* stub, dim3 grid, dim3 block, void** arguments, void* stream) {
    place[1] = reinterpret_cast<int64_t>(stream);
    auto name = names().find(stub);
    if (name == names().end()) return last = cudaErrorInvalidDeviceFunction;
    const char* problem = ptx::device().launch(name->second.c_str(), {grid.x, grid.y, grid.z},
                                               {block.x, block.y, block.z}, (const char* const*)arguments);
    if (!problem) return cudaSuccess;
    said = problem;
    return last = cudaErrorLaunchFailure;
}

}  // namespace

extern "C" {
void** __cudaRegisterFatBinary(void*) {
    static void* handle;
    return &handle;
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterFunction(void**, const char* stub, char*, const char* name, int, uint3*, uint3*, dim3*, dim3*,
                            int*) {
    names()[stub] = name;
}
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, struct CUstream_st* stream) {
    pushed = {grid, block, shared, stream};
    return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
    *grid = pushed.grid, *block = pushed.block, *shared = pushed.shared;
    *static_cast<void**>(stream) = pushed.stream;
    return cudaSuccess;
}
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* stub) {
    *kernel = (cudaKernel_t)stub;
    return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, size_t,
                               cudaStream_t stream) {
    return launch((const void*)kernel, grid, block, arguments, stream);
}
// what nvcc before 12.8 calls
cudaError_t cudaLaunchKernel(const void* stub, dim3 grid, dim3 block, void** arguments, size_t, cudaStream_t stream) {
    return launch(stub, grid, block, arguments, stream);
}
cudaError_t cudaSetDevice(int device) {
    place[0] = device;
    return cudaSuccess;
}
cudaError_t cudaGetLastError() {
    cudaError_t error = last;
    last = cudaSuccess;
    return error;
}
const char* cudaGetErrorString(cudaError_t error) {
    return error == cudaErrorLaunchFailure ? said.c_str() : "a kernel that was never registered";
}

__attribute__((visibility("default"))) const int64_t* machine_place() {
    return place;
}
}
