// The normalisations' CUDA side on the host, as cuda_host.cpp, with a crew whose threads take turns: a step runs for
// one thread after the other, so what one writes and another reads in the same step shows when their order is reversed.
#include <cstring>
#include <string>
#include <vector>

#include "../csrc/cuda/gate_body.h"
#include "../csrc/cuda/layer_norm_body.h"
#include "../csrc/cuda/norm_gradient_body.h"
#include "../csrc/parse_norm.h"
#include "cuda_host.h"

namespace lowlight {

// of the last crew: items, threads
static std::array<int64_t, 2> last_crew = {};

struct HostCrew {
    int count;
    std::vector<unsigned char>& shared;
    const char*& problem;

    template <class State>
    struct Own {
        std::vector<State> states;
        Own(const HostCrew& crew) : states(crew.count) {
            // registers hold anything at first
            memset(static_cast<void*>(states.data()), 0xff, states.size() * sizeof(State));
        }
        State& operator[](int thread) { return states[thread]; }
    };

    template <class Step>
    void each(Step step) const {
        lowlight::each(count, [&](int64_t thread) { step(int(thread)); });
    }

    template <int kCount, class State>
    void sum(Own<State>& own, int low, int high) const {
        using R = std::remove_reference_t<decltype(own[0].sums[0])>;
        auto power = [](int n) { return n > 0 && (n & (n - 1)) == 0; };
        if (!power(low) || !power(high) || low > high || high > count || count % kWarp)
            problem = "a sum over other threads than a block has";
        if (high > kWarp && shared_numbers(count, low, kCount) * sizeof(R) > shared.size())
            problem = "a sum needs more shared memory than its body has";
        if (problem) return;
        for (int offset = std::min(high, kWarp) / 2; offset >= low; offset /= 2) {
            std::vector<State> before = own.states;
            each([&](int thread) {
                for (int i = 0; i < kCount; ++i) own[thread].sums[i] += before[thread ^ offset].sums[i];
            });
        }
        if (high <= kWarp) return;
        WarpSum rest(low, high);
        R* numbers = reinterpret_cast<R*>(shared.data());
        each([&](int thread) { rest.write<kCount>(numbers, thread, own[thread].sums); });
        each([&](int thread) { rest.read<kCount>(numbers, thread, own[thread].sums); });
    }
};

struct CrewRunner : HostRunner {
    using HostRunner::operator();

    template <class Body>
    const char* operator()(const Body& body) const {
        const char* problem = nullptr;
        if (body.items < 1 || body.threads < kWarp || body.threads > Body::kMostThreads ||
            Body::kSharedBytes > 48 << 10)
            return "a launch that CUDA would refuse";
        last_crew = {body.items, body.threads};
        lowlight::each(body.items, [&](int64_t item) {
            std::vector<unsigned char> shared(Body::kSharedBytes, 0xff);
            body.run(HostCrew{body.threads, shared, problem}, item);
        });
        return problem;
    }
};

// tensors, dtype, channels_last, activation, sizes
template <size_t kTensors, class Make>
static auto arguments(const int64_t* n, Make make) {
    std::array<uintptr_t, kTensors> tensors;
    for (size_t i = 0; i < kTensors; ++i) tensors[i] = uintptr_t(n[i]);
    n += kTensors;
    return make(tensors, int(n[0]), n[1] != 0, int(n[2]), NormSizes{n[3], n[4], n[5], n[6]});
}

static NormArguments forward(const int64_t* n, double eps) {
    return arguments<5>(n, [&](auto... numbers) { return norm_arguments(numbers..., eps); });
}

static NormGradients backward(const int64_t* n) {
    return arguments<8>(n, [&](auto... numbers) { return norm_gradients(numbers...); });
}

static int64_t workspace(const std::string& name, const int64_t* n, double eps) {
    if (name == "cuda_norm") return norm_workspace(forward(n, eps));
    if (name == "cuda_norm_backward") return norm_gradients_workspace(backward(n));
    return name == "cuda_layer_norm" ? 0 : layer_norm_gradients_workspace(backward(n));
}

static const char* call(const std::string& name, const int64_t* n, double eps, void* workspace) {
    CrewRunner runner;
    if (name == "cuda_norm") return run_norm(forward(n, eps), workspace, runner);
    if (name == "cuda_norm_backward") return run_norm_gradients(backward(n), workspace, runner);
    if (name == "cuda_layer_norm") return run_layer_norm(forward(n, eps), runner);
    if (name == "cuda_layer_norm_backward") return run_layer_norm_gradients(backward(n), workspace, runner);
    // x, grad, out, dtype, rows, numbers of a half
    GateArguments a{address(n[0]), address(n[1]), address(n[2]), dtype_code(int(n[3])), n[4], n[5]};
    return name == "cuda_gate" ? run_gate<true>(a, runner) : run_gate<false>(a, runner);
}

}  // namespace lowlight

extern "C" {
#define EXPORTED __attribute__((visibility("default")))
EXPORTED int64_t host_workspace(const char* name, const int64_t* n, double eps) {
    return lowlight::workspace(name, n, eps);
}
EXPORTED const char* host_call(const char* name, const int64_t* n, double eps, void* workspace) {
    return lowlight::call(name, n, eps, workspace);
}
EXPORTED void host_limit(unsigned blocks, bool reversed) {
    lowlight::most_blocks = blocks, lowlight::backwards = reversed;
}
EXPORTED const int64_t* host_last_crew() {
    return lowlight::last_crew.data();
}
// values [threads]: each becomes its thread's sum
EXPORTED const char* host_sum(double* values, int threads, int low, int high) {
    struct State {
        double sums[1];
    };
    const char* problem = nullptr;
    std::vector<unsigned char> shared(lowlight::shared_numbers(threads, low, 1) * sizeof(double));
    lowlight::HostCrew crew{threads, shared, problem};
    lowlight::HostCrew::Own<State> own(crew);
    for (int i = 0; i < threads; ++i) own[i].sums[0] = values[i];
    crew.sum<1>(own, low, high);
    for (int i = 0; i < threads; ++i) values[i] = own[i].sums[0];
    return problem;
}
}
