// layer norms over the channels of a pixel, forward and backward. Up to 256 channels at least are read once and kept;
// more than threads have registers for are read again for each sum.
//
// Error of the moments: as in norm_moments.h, the sums over the channels being in turn on a thread, then in pairs.
#pragma once

#include "layer_cells.h"
#include "norm_moments.h"
#include "norm_sums.h"

namespace lowlight {

template <class T, bool kAligned, bool kLast, bool kKept>
struct LayerNormBody {
    using R = Real<T>;
    using Cells = LayerCells<T, kAligned, kLast>;
    using G = typename Cells::G;
    static constexpr int kWide = kVector<T>, kPixels = Cells::kPixels, kMostThreads = 256;
    static constexpr int kSharedBytes = shared_numbers(kMostThreads, kWarp, 2 * kPixels) * int(sizeof(R));
    NormArguments a;
    Cells of;
    int threads;
    int64_t items;

    LayerNormBody(const NormArguments& a)
        : a(a), of(a.batch, a.channels, a.inner, kMostThreads), threads(of.threads), items(of.items) {}

    struct State {
        typename Cells::Start start;
        R items[kKept ? kSlots<T> : 1][kWide], mean[kPixels], sums[2 * kPixels];
    };

    // calls work(elements, unit, values) for the units of a thread; in a first visit they are loaded in any case
    template <bool kFirst = false, class Work>
    LOWLIGHT_METHOD void visit(State& s, Work work) const {
        if (kFirst && kKept)
            of.template visit<kKept>(s.start, [&](const G& e, int64_t, int k) { load_group<T>(a.x, e, s.items[k]); });
        of.template visit<kKept>(s.start, [&](const G& e, int64_t unit, int k) {
            if (!kKept) load_group<T>(a.x, e, s.items[k]);
            work(e, unit, s.items[k]);
        });
    }

    template <class Crew>
    LOWLIGHT_METHOD void run(const Crew& crew, int64_t item) const {
        R n = R(a.channels);
        typename Crew::template Own<State> own(crew);
        crew.each([&](int thread) {
            State& s = own[thread];
            s.start = of.start(item, thread);
            for (int i = 0; i < kPixels; ++i) s.sums[i] = R(0);
            visit<true>(s, [&](const G&, int64_t, R* v) {
                for (int i = 0; i < kWide; ++i) s.sums[of.pixel(i)] += v[i];
            });
        });
        crew.template finished_sum<kPixels, kPixels>(own, of.low(), of.high(), [&](R* sum) { *sum /= n; });
        crew.each([&](int thread) {
            State& s = own[thread];
            for (int p = 0; p < kPixels; ++p) s.mean[p] = s.sums[p], s.sums[p] = s.sums[kPixels + p] = R(0);
            visit(s, [&](const G& e, int64_t, R* v) {
                for (int i = 0; i < kWide; ++i) {
                    R d = v[i] - s.mean[of.pixel(i)];
                    if (e.has(i)) s.sums[of.pixel(i)] += d, s.sums[kPixels + of.pixel(i)] += d * d;
                }
            });
        });
        crew.template finished_sum<2 * kPixels, kPixels>(own, of.low(), of.high(), [&](R* sums) {
            Moments<R> m = moments(sums[0], sums[1], n);
            sums[0] = m.rest, sums[1] = inverse_deviation(m.squares, n, a.eps);
        });
        crew.each([&](int thread) {
            State& s = own[thread];
            R* inverse = s.sums + kPixels;
            for (int p = 0; p < kPixels; ++p) s.mean[p] += s.sums[p];
            of.store_stats(a.stats, item, thread, s.mean, inverse);
            visit(s, [&](const G& e, int64_t unit, R* v) {
                R weight[kWide], bias[kWide];
                of.load_parameter(a.weight, unit, R(1), weight);
                of.load_parameter(a.bias, unit, R(0), bias);
                for (int i = 0; i < kWide; ++i)
                    v[i] = (v[i] - s.mean[of.pixel(i)]) * inverse[of.pixel(i)] * weight[i] + bias[i];
                store_group<T>(a.out, e, v);
            });
        });
    }
};

// the gradient to x
template <class T, bool kAligned, bool kLast, bool kKept>
struct LayerGradientBody {
    using R = Real<T>;
    using Cells = LayerCells<T, kAligned, kLast>;
    using G = typename Cells::G;
    static constexpr int kWide = kVector<T>, kPixels = Cells::kPixels, kMostThreads = 256;
    static constexpr int kSharedBytes = shared_numbers(kMostThreads, kWarp, 2 * kPixels) * int(sizeof(R));
    NormGradients a;
    Cells of;
    int threads;
    int64_t items;

    LayerGradientBody(const NormGradients& a)
        : a(a), of(a.batch, a.channels, a.inner, kMostThreads), threads(of.threads), items(of.items) {}

    struct State {
        R xhat[kKept ? kSlots<T> : 1][kWide], g[kKept ? kSlots<T> : 1][kWide];
        R mean[kPixels], inverse[kPixels], sums[2 * kPixels];
    };

    // calls work(elements, xhat, weight times gradient) for the units of a thread; a first visit makes them in any case
    template <bool kFirst = false, class Work>
    LOWLIGHT_METHOD void visit(State& s, int64_t item, int thread, Work work) const {
        // formed anew: there are registers for no more
        typename Cells::Start start = of.start(item, thread);
        auto load = [&](const G& e, int k) { load_group<T>(a.x, e, s.xhat[k]), load_group<T>(a.grad, e, s.g[k]); };
        if (kFirst && kKept) of.template visit<kKept>(start, [&](const G& e, int64_t, int k) { load(e, k); });
        of.template visit<kKept>(start, [&](const G& e, int64_t unit, int k) {
            if (!kKept) load(e, k);
            if (kFirst || !kKept) {
                R weight[kWide];
                of.load_parameter(a.weight, unit, R(1), weight);
                for (int i = 0; i < kWide; ++i) {
                    s.xhat[k][i] = (s.xhat[k][i] - s.mean[of.pixel(i)]) * s.inverse[of.pixel(i)];
                    s.g[k][i] *= weight[i];
                }
            }
            work(e, s.xhat[k], s.g[k]);
        });
    }

    template <class Crew>
    LOWLIGHT_METHOD void run(const Crew& crew, int64_t item) const {
        typename Crew::template Own<State> own(crew);
        crew.each([&](int thread) {
            State& s = own[thread];
            for (int i = 0; i < 2 * kPixels; ++i) s.sums[i] = R(0);
            of.load_stats(a.stats, item, thread, s.mean, s.inverse);
            visit<true>(s, item, thread, [&](const G&, R* xhat, R* g) {
                for (int i = 0; i < kWide; ++i)
                    s.sums[of.pixel(i)] += g[i], s.sums[kPixels + of.pixel(i)] += g[i] * xhat[i];
            });
        });
        crew.template sum<2 * kPixels>(own, of.low(), of.high());
        crew.each([&](int thread) {
            State& s = own[thread];
            R n = R(a.channels);
            for (int i = 0; i < 2 * kPixels; ++i) s.sums[i] /= n;
            visit(s, item, thread, [&](const G& e, R* xhat, R* g) {
                for (int i = 0; i < kWide; ++i) {
                    int p = of.pixel(i);
                    g[i] = s.inverse[p] * (g[i] - s.sums[p] - xhat[i] * s.sums[kPixels + p]);
                }
                store_group<T>(a.to_x, e, g);
            });
        });
    }
};

// hands the variant of `Body` to the runner that a tensor's layout, alignment and channels call for
template <class T, template <class, bool, bool, bool> class Body, class Arguments, class Runner>
const char* run_layer(const Arguments& a, uintptr_t misaligned, Runner runner) {
    auto choose = [&](auto last) {
        constexpr bool kLast = decltype(last)::value;
        return with_alignment<T>(kLast ? a.channels : a.inner, misaligned, [&](auto aligned) {
            constexpr bool kAligned = decltype(aligned)::value;
            Body<T, kAligned, kLast, true> kept(a);
            return kept.of.fits() ? runner(kept) : runner(Body<T, kAligned, kLast, false>(a));
        });
    };
    return a.channels_last ? choose(std::true_type()) : choose(std::false_type());
}

template <class Runner>
const char* run_layer_norm(const NormArguments& a, Runner runner) {
    uintptr_t misaligned = misalignment(a.x, a.out, a.stats, a.weight, a.bias);
    return with_type(a.dtype, [&](auto tag) { return run_layer<decltype(tag), LayerNormBody>(a, misaligned, runner); });
}

// numbers of the accumulator's type that the gradients to weight and bias need beside the tensors
inline int64_t layer_norm_backward_workspace(const NormGradients& a) {
    int64_t numbers = 0;
    if (!a.to_weight && !a.to_bias) return numbers;
    with_type(a.dtype, [&](auto tag) {
        return with_sums<decltype(tag), true>(a, nullptr, [&](const auto& sums) -> const char* {
            numbers = 2 * a.batch * sums.chunks * a.channels;
            return nullptr;
        });
    });
    return numbers;
}

template <class Runner>
const char* run_layer_norm_backward(const NormGradients& a, Runner runner) {
    return with_type(a.dtype, [&](auto tag) {
        using T = decltype(tag);
        using R = Real<T>;
        if (a.to_x) {
            uintptr_t misaligned = misalignment(a.grad, a.x, a.to_x, a.stats, a.weight);
            const char* problem = run_layer<T, LayerGradientBody>(a, misaligned, runner);
            if (problem) return problem;
        }
        if (!a.to_weight && !a.to_bias) return static_cast<const char*>(nullptr);
        R* partial = static_cast<R*>(a.workspace);
        return with_sums<T, true>(a, partial, [&](const auto& body) {
            const char* problem = runner(body);
            return problem ? problem : runner(ParameterSums<R>(a, partial, a.batch * body.chunks));
        });
    });
}

}  // namespace lowlight
