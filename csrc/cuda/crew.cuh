// the crew that is a CUDA block, and its launch
#pragma once

#include "crew.h"
#include "launch.cuh"

namespace lowlight {

struct BlockCrew {
    int count;  // threads
    void* shared;
    int bytes;  // of it
    int thread = own_thread();

    // asked for anew for every item: of what is made of it nothing is kept in registers from item to item
    static __device__ int own_thread() {
        int x;
        asm volatile("mov.u32 %0, %%tid.x;" : "=r"(x));
        return x;
    }

    // what each thread keeps between steps: registers
    template <class State>
    struct Own {
        State state;
        LOWLIGHT_METHOD Own(const BlockCrew&) {}
        LOWLIGHT_METHOD State& operator[](int) { return state; }
    };

    template <class Step>
    LOWLIGHT_METHOD void each(Step step) const {
#if defined(__CUDA_ARCH__)
        step(thread);
#endif
    }

    // own[thread].sums[0 .. kCount) becomes the sum that WarpSum describes
    template <int kCount, class State>
    LOWLIGHT_METHOD void sum(Own<State>& own, int low, int high) const {
        finished_sum<kCount, kCount>(own, low, high, [](const auto*) {});
    }

    // and then what finish(sums i, i + kPart, ..) makes of them
    template <int kCount, int kPart, class State, class Finish>
    LOWLIGHT_METHOD void finished_sum(Own<State>& own, int low, int high, Finish finish) const {
#if defined(__CUDA_ARCH__)
        auto& sums = own.state.sums;
        using R = std::remove_reference_t<decltype(sums[0])>;
        for (int offset = (high < kWarp ? high : kWarp) / 2; offset >= low; offset /= 2) {
            LOWLIGHT_UNROLL
            for (int i = 0; i < kCount; ++i) sums[i] += __shfl_xor_sync(~0u, sums[i], offset);
        }
        if (high <= kWarp || low == high) return finish_own<kCount, kPart>(sums, finish);
        // sums that follow one another: the one's totals lie apart from the other's parts
        WarpSum rest(low, high);
        R *parts = static_cast<R*>(shared), *totals = totals_of<kCount, R>(rest, shared, bytes, count);
        rest.write<kCount>(parts, thread, sums);
        __syncthreads();
        rest.add<kCount, kPart>(parts, totals, thread, count, finish);
        __syncthreads();
        rest.read<kCount>(totals, thread, sums);
#endif
    }
};

template <class Body>
__global__ void __launch_bounds__(Body::kMostThreads) lowlight_kernel_of_crews(const Body body) {
    __shared__ __align__(16) unsigned char shared[Body::kSharedBytes];
    for (int64_t item = blockIdx.x; item < body.items; item += gridDim.x)
        body.run(BlockCrew{int(blockDim.x), shared, Body::kSharedBytes}, item);
}

struct CrewLauncher : Launcher {
    using Launcher::operator();

    template <class Body>
    const char* operator()(const Body& body) const {
        constexpr int64_t kMostBlocks = (int64_t(1) << 31) - 1;
        cudaError_t status = cudaSetDevice(place.device);
        if (status == cudaSuccess) {
            unsigned blocks = unsigned(body.items < kMostBlocks ? body.items : kMostBlocks);
            lowlight_kernel_of_crews<<<blocks, body.threads, 0, static_cast<cudaStream_t>(place.stream)>>>(body);
            status = cudaGetLastError();
        }
        return status == cudaSuccess ? nullptr : cudaGetErrorString(status);
    }
};

}  // namespace lowlight
