// group norms, backward: sums over the chunks of every channel, what the groups make of these, the gradient to x
// element by element, and the gradients to weight and bias
#pragma once

#include "norm_body.h"
#include "norm_sums.h"

namespace lowlight {

// a block takes a group: the sums of the chunks of its channels -> the sums of its channels, and what the gradient to
// an element of a channel is made of
template <class R>
struct MergeSums {
    static constexpr int kMostThreads = 256, kSharedBytes = shared_numbers(kMostThreads, 1, 2) * int(sizeof(double));
    NormGradients a;
    int64_t chunks;
    const R* partial;  // [2, batch, chunks, channels]
    R* coefficients;   // [5, batch, channels]: mean, scale, shift, level, tilt
    R* sums;           // [2, batch, channels]: of g, and of g times what was normalised
    int threads, lanes;
    int64_t items;

    // lanes: threads that share the chunks of a channel
    MergeSums(const NormGradients& a, int64_t chunks, const R* partial, R* coefficients, R* sums)
        : a(a),
          chunks(chunks),
          partial(partial),
          coefficients(coefficients),
          sums(sums),
          threads(power_of_two(chunks * (a.channels / a.groups), kWarp, kMostThreads)),
          lanes(power_of_two(chunks, 1, threads)),
          items(a.batch * a.groups) {}

    struct State {
        double sums[2], plain, product;
    };

    // one channel's share of what the group passes on
    LOWLIGHT_METHOD void finish(State& s, int64_t row, double inverse) const {
        const R* weight = static_cast<const R*>(a.weight);
        double w = weight ? double(weight[row % a.channels]) : 1.0, product = s.sums[1] * inverse;
        sums[row] = R(s.sums[0]), sums[a.batch * a.channels + row] = R(product);
        s.plain += w * s.sums[0], s.product += w * product;
    }

    template <class Crew>
    LOWLIGHT_METHOD void run(const Crew& crew, int64_t slab) const {
        int64_t per_group = a.channels / a.groups, sample = slab / a.groups, first = slab % a.groups * per_group;
        int64_t products = a.batch * chunks * a.channels;
        const R *mean = static_cast<const R*>(a.stats) + slab, *inverse = mean + a.batch * a.groups;
        typename Crew::template Own<State> own(crew);
        crew.each([&](int thread) { own[thread].plain = own[thread].product = 0; });
        for (int64_t channel = 0; channel < per_group; channel += threads / lanes) {
            crew.each([&](int thread) {
                State& s = own[thread];
                int64_t c = channel + thread / lanes;
                s.sums[0] = s.sums[1] = 0;
                for (int64_t chunk = thread % lanes; c < per_group && chunk < chunks; chunk += lanes) {
                    int64_t at = (sample * chunks + chunk) * a.channels + first + c;
                    s.sums[0] += double(partial[at]), s.sums[1] += double(partial[at + products]);
                }
            });
            crew.template sum<2>(own, 1, lanes);
            crew.each([&](int thread) {
                int64_t c = channel + thread / lanes;
                if (c < per_group && thread % lanes == 0)
                    finish(own[thread], sample * a.channels + first + c, double(*inverse));
            });
        }
        crew.each(
            [&](int thread) { own[thread].sums[0] = own[thread].plain, own[thread].sums[1] = own[thread].product; });
        crew.template sum<2>(own, 1, threads);
        crew.each([&](int thread) {
            double n = double(per_group) * double(a.inner), scale = double(*inverse);
            R level = R(scale * own[thread].sums[0] / n), tilt = R(scale * scale * own[thread].sums[1] / n);
            int64_t stride = a.batch * a.channels;
            for (int64_t c = thread; c < per_group; c += threads) {
                Affine<R> k = affine(*mean, *inverse, a.weight, a.bias, first + c);
                R* to = coefficients + slab * per_group + c;
                to[0] = k.mean, to[stride] = k.scale, to[2 * stride] = k.shift;
                to[3 * stride] = level, to[4 * stride] = tilt;
            }
        });
    }
};

template <class T, class G, bool kLast>
struct NormGradientBody {
    using R = Real<T>;
    struct Shared {};
    NormGradients a;
    const R* coefficients;
    int64_t planes, lines, width, groups;

    NormGradientBody(const NormGradients& a, const R* coefficients)
        : a(a),
          coefficients(coefficients),
          planes(a.batch),
          lines(kLast ? a.inner : a.channels),
          width(kLast ? a.channels : a.inner),
          groups(ceil_divide(width, G::kPixels)) {}

    LOWLIGHT_METHOD Shared prepare(int64_t) const { return Shared{}; }

    LOWLIGHT_METHOD void operator()(const Shared&, int64_t sample, int64_t line, int64_t index) const {
        G group(sample * lines + line, width, index, 0);
        Activation act = static_cast<Activation>(a.activation);
        R v[G::kPixels], g[G::kPixels], k[5][G::kPixels];
        load_group<T>(a.x, group, v);
        load_group<T>(a.grad, group, g);
        for (int j = 0; j < 5; ++j)
            load_channels<R, G, kLast>(coefficients + j * a.batch * a.channels, sample, a.channels, line, index, k[j]);
        for (int i = 0; i < G::kPixels; ++i) {
            Affine<R> of{k[0][i], k[1][i], k[2][i]};
            g[i] = input_gradient(act, g[i], v[i], of, k[3][i], k[4][i]);
        }
        store_group<T>(a.to_x, group, g);
    }
};

// numbers of the accumulator's type that `run_norm_backward` needs beside its tensors
inline int64_t norm_backward_workspace(const NormGradients& a) {
    int64_t numbers = 0;
    with_type(a.dtype, [&](auto tag) {
        return with_sums<decltype(tag), false>(a, nullptr, [&](const auto& sums) -> const char* {
            numbers = a.batch * a.channels * (7 + 2 * sums.chunks);
            return nullptr;
        });
    });
    return numbers;
}

template <class Runner>
const char* run_norm_backward(const NormGradients& a, Runner runner) {
    return with_type(a.dtype, [&](auto tag) {
        using T = decltype(tag);
        using R = Real<T>;
        int64_t stride = a.batch * a.channels, chunks = 0;
        R *coefficients = static_cast<R*>(a.workspace), *partial = coefficients + 5 * stride, *sums = nullptr;
        const char* problem = with_sums<T, false>(a, partial, [&](const auto& body) {
            chunks = body.chunks, sums = partial + 2 * chunks * stride;
            return runner(body);
        });
        if (problem) return problem;
        problem = runner(MergeSums<R>(a, chunks, partial, coefficients, sums));
        if (!problem && (a.to_weight || a.to_bias)) problem = runner(ParameterSums<R>(a, sums, a.batch));
        if (problem || !a.to_x) return problem;
        auto spread = [&](auto last) {
            constexpr bool kLast = decltype(last)::value;
            return with_vectors<T>(kLast ? a.channels : a.inner, misalignment(a.grad, a.x, a.to_x), [&](auto group) {
                return run_body(NormGradientBody<T, decltype(group), kLast>(a, coefficients), runner);
            });
        };
        return a.channels_last ? spread(std::true_type()) : spread(std::false_type());
    });
}

}  // namespace lowlight
