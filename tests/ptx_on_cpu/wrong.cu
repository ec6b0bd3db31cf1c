// kernels with one fault each, which the machine has to find: test_ptx_machine.py launches them as if they were the
// gate
#include "../../csrc/cuda/launch.cuh"

namespace lowlight {

constexpr int kBlock = 64;

// every number once, through shared memory: nothing is wrong with it
__global__ void __launch_bounds__(kBlock) right(const float* x, float* out) {
    __shared__ float numbers[kBlock];
    numbers[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    float other = numbers[kBlock - 1 - threadIdx.x];
    out[threadIdx.x] = other + __shfl_xor_sync(~0u, other, 1);
}

__global__ void misaligned(float* out) {
    reinterpret_cast<float2*>(out + 1)[threadIdx.x / 4] = make_float2(1, 2);
}

__global__ void beyond(float* out) {
    out[threadIdx.x + 1] = 1;
}

__global__ void before(const float* x, float* out) {
    out[threadIdx.x] = x[int(threadIdx.x) - 1];
}

__global__ void unwritten(float* out) {
    __shared__ float numbers[kBlock];
    if (threadIdx.x) numbers[threadIdx.x] = 1;
    __syncthreads();
    out[threadIdx.x] = numbers[kBlock - 1 - threadIdx.x];
}

__global__ void no_barrier(const float* x, float* out) {
    __shared__ float numbers[kBlock];
    numbers[threadIdx.x] = x[threadIdx.x];
    out[threadIdx.x] = numbers[kBlock - 1 - threadIdx.x];
}

// the second write comes where others may still read the first
__global__ void no_second_barrier(const float* x, float* out) {
    __shared__ float numbers[kBlock];
    numbers[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    float other = numbers[kBlock - 1 - threadIdx.x];
    numbers[threadIdx.x] = 2 * other;
    __syncthreads();
    out[threadIdx.x] = numbers[0] + other;
}

__global__ void one_place_for_two(const float* x, float* out) {
    __shared__ float numbers[kBlock / 2];
    numbers[threadIdx.x / 2] = x[threadIdx.x];
    __syncthreads();
    out[threadIdx.x] = numbers[threadIdx.x / 2];
}

__global__ void half_a_barrier(const float* x, float* out) {
    __shared__ float numbers[kBlock];
    numbers[threadIdx.x] = x[threadIdx.x];
    if (threadIdx.x < kBlock / 2) __syncthreads();
    out[threadIdx.x] = numbers[threadIdx.x];
}

__global__ void half_a_warp(const float* x, float* out) {
    float mine = x[threadIdx.x];
    if (threadIdx.x % 32 < 16) mine += __shfl_xor_sync(~0u, mine, 1);
    out[threadIdx.x] = mine;
}

const char* launch_gate(const GateArguments& a, Place place) {
    const float* x = static_cast<const float*>(a.x);
    float* out = static_cast<float*>(a.out);
    cudaSetDevice(place.device);
    auto stream = static_cast<cudaStream_t>(place.stream);
    switch (a.rows) {
        case 0:
            right<<<1, kBlock, 0, stream>>>(x, out);
            break;
        case 1:
            right<<<1, 2 * kBlock, 0, stream>>>(x, out);
            break;
        case 2:
            misaligned<<<1, kBlock, 0, stream>>>(out);
            break;
        case 3:
            beyond<<<1, kBlock, 0, stream>>>(out);
            break;
        case 4:
            before<<<1, kBlock, 0, stream>>>(x, out);
            break;
        case 5:
            unwritten<<<1, kBlock, 0, stream>>>(out);
            break;
        case 6:
            no_barrier<<<1, kBlock, 0, stream>>>(x, out);
            break;
        case 7:
            no_second_barrier<<<1, kBlock, 0, stream>>>(x, out);
            break;
        case 8:
            one_place_for_two<<<1, kBlock, 0, stream>>>(x, out);
            break;
        case 9:
            half_a_barrier<<<1, kBlock, 0, stream>>>(x, out);
            break;
        case 10:
            half_a_warp<<<1, kBlock, 0, stream>>>(x, out);
            break;
    }
    cudaError_t error = cudaGetLastError();
    return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace lowlight
