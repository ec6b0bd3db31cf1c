// what one thread does for poisson and tukey_lambda
#pragma once

#include "../core/raw_arguments.h"
#include "counts.h"

namespace lowlight {

template <class T, class G>
struct PoissonBody : Lines<G, true> {
    using Shared = NoiseLine;
    PoissonArguments a;

    PoissonBody(const PoissonArguments& a) : Lines<G, true>(a.size, a.source), a(a) {}

    LOWLIGHT_METHOD Shared prepare(int64_t plane) const { return this->noise(a.source, plane); }

    LOWLIGHT_METHOD void operator()(const Shared& shared, int64_t plane, int64_t line, int64_t index) const {
        G group = this->group(plane, line, index);
        Real<T> values[G::kPixels];
        load_group<T>(a.mean, group, values);
        float mean[G::kPixels], counts[G::kPixels];
        for (int i = 0; i < G::kPixels; ++i) mean[i] = float(values[i]);
        poisson_group<G>(below(shared, line), index, mean, counts);
        for (int i = 0; i < G::kPixels; ++i) values[i] = Real<T>(counts[i]);
        store_group<T>(a.out, group, values);
    }
};

template <class Runner>
const char* run_poisson(const PoissonArguments& a, Runner runner) {
    return with_noise(a.dtype, a.size.width, a.source, misalignment(a.mean, a.out), [&](auto tag, auto group) {
        return run_body(PoissonBody<decltype(tag), decltype(group)>(a), runner);
    });
}

template <class T, class G>
struct TukeyBody : Lines<G, true> {
    static constexpr bool kKeepsShared = true;
    using Shared = NoiseLine;
    TukeyArguments a;
    TukeyShape shape;

    TukeyBody(const TukeyArguments& a) : Lines<G, true>(a.size, a.source), a(a), shape(tukey_shape(a.lambda)) {}

    LOWLIGHT_METHOD Shared prepare(int64_t plane) const { return this->noise(a.source, plane); }

    LOWLIGHT_METHOD void operator()(const Shared& shared, int64_t plane, int64_t line, int64_t index) const {
        float pixels[G::kPixels];
        tukey_group<G>(below(shared, line), index, shape, pixels);
        Real<T> values[G::kPixels];
        for (int i = 0; i < G::kPixels; ++i) values[i] = Real<T>(pixels[i]);
        store_group<T>(a.out, this->group(plane, line, index), values);
    }
};

template <class Runner>
const char* run_tukey_lambda(const TukeyArguments& a, Runner runner) {
    return with_noise(a.dtype, a.size.width, a.source, misalignment(a.out), [&](auto tag, auto group) {
        return run_body(TukeyBody<decltype(tag), decltype(group)>(a), runner);
    });
}

}  // namespace lowlight
