// blocks whose threads work together: a step runs for one thread after the other, so what one writes and another reads
// in the same step shows when their order is reversed
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "../csrc/cuda/crew.h"
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
        finished_sum<kCount, kCount>(own, low, high, [](const auto*) {});
    }

    template <int kCount, int kPart, class State, class Finish>
    void finished_sum(Own<State>& own, int low, int high, Finish finish) const {
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
        if (high <= kWarp || low == high)
            return each([&](int thread) { finish_own<kCount, kPart>(own[thread].sums, finish); });
        WarpSum rest(low, high);
        R* parts = reinterpret_cast<R*>(shared.data());
        R* totals = totals_of<kCount, R>(rest, shared.data(), int(shared.size()), count);
        each([&](int thread) { rest.write<kCount>(parts, thread, own[thread].sums); });
        each([&](int thread) { rest.add<kCount, kPart>(parts, totals, thread, count, finish); });
        each([&](int thread) { rest.read<kCount>(totals, thread, own[thread].sums); });
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

}  // namespace lowlight
