// what one thread does for exposure_step and its gradients
#pragma once

#include "../core/exposure.h"
#include "../core/raw_arguments.h"
#include "counts.h"

namespace lowlight {

// photons that the host would refuse, but cannot look at while a CUDA graph is recorded, give NaN
template <class R>
LOWLIGHT_FN ExposureRow<R> checked_exposure_row(const double* rows, int64_t index) {
    const double* column = rows + 3 * index;
    bool valid = true;
    for (int i = 0; i < 3; ++i) valid &= (column[i] >= 0.0) & (column[i] <= double(kMostMean));
    R nan = R(bit_cast<float>(0x7fc00000u));
    return valid ? exposure_row<R>(column) : ExposureRow<R>{nan, nan, nan};
}

template <class T, class G, bool kDraw>
struct ExposureBody : Lines<G, kDraw> {
    using R = Real<T>;
    struct Shared {
        ExposureRow<R> row;
        NoiseLine line;
    };
    ExposureArguments a;

    ExposureBody(const ExposureArguments& a) : Lines<G, kDraw>(a.size, a.source), a(a) {}

    LOWLIGHT_METHOD Shared prepare(int64_t plane) const {
        return Shared{checked_exposure_row<R>(a.rows, this->sample(plane) * a.row_step), this->noise(a.source, plane)};
    }

    LOWLIGHT_METHOD void operator()(const Shared& shared, int64_t plane, int64_t line, int64_t index) const {
        G group = this->group(plane, line, index);
        ExposureRow<R> k = shared.row;
        R original[G::kPixels], counts[G::kPixels];
        load_group<T>(a.original, group, original);
        if (!kDraw && a.counts) {
            load_group<T>(a.counts, group, counts);
        } else {
            load_group<T>(a.output, group, counts);
            for (int i = 0; i < G::kPixels; ++i) counts[i] = exposure_mean(k, counts[i]);
        }
        if constexpr (kDraw) {
            float mean[G::kPixels], drawn[G::kPixels];
            for (int i = 0; i < G::kPixels; ++i) mean[i] = float(counts[i]);
            poisson_group<G>(below(shared.line, line), index, mean, drawn);
            for (int i = 0; i < G::kPixels; ++i) counts[i] = R(drawn[i]);
        }
        R out[G::kPixels];
        for (int i = 0; i < G::kPixels; ++i) out[i] = exposure_value(k, original[i], counts[i]);
        store_group<T>(a.out, group, out);
    }
};

template <class Runner>
const char* run_exposure_step(const ExposureArguments& a, Runner runner) {
    uintptr_t misaligned = misalignment(a.output, a.original, a.counts, a.out);
    return with_lines(a.dtype, a.size, a.draw, a.source, misaligned, [&](auto tag, auto group, auto draw) {
        return run_body(ExposureBody<decltype(tag), decltype(group), decltype(draw)::value>(a), runner);
    });
}

template <class T, class G>
struct ExposureGradientBody : Lines<G, false> {
    using R = Real<T>;
    using Shared = ExposureRow<R>;
    ExposureGradients a;

    ExposureGradientBody(const ExposureGradients& a) : Lines<G, false>(a.batch, a.per_sample), a(a) {}

    LOWLIGHT_METHOD Shared prepare(int64_t sample) const {
        return checked_exposure_row<R>(a.rows, sample * a.row_step);
    }

    // gradients of `factor` times the unit interval's part of x
    LOWLIGHT_METHOD void pass(void* to, const void* x, R factor, const G& group, const R* grad) const {
        if (!to) return;
        R values[G::kPixels];
        load_group<T>(x, group, values);
        for (int i = 0; i < G::kPixels; ++i) values[i] = exposure_gradient(factor, grad[i], values[i]);
        store_group<T>(to, group, values);
    }

    LOWLIGHT_METHOD void operator()(const Shared& k, int64_t sample, int64_t line, int64_t index) const {
        G group = this->group(sample, line, index);
        R grad[G::kPixels];
        load_group<T>(a.grad, group, grad);
        pass(a.to_output, a.output, k.image * k.photons, group, grad);
        pass(a.to_original, a.original, k.image * k.measured, group, grad);
    }
};

template <class Runner>
const char* run_exposure_step_backward(const ExposureGradients& a, Runner runner) {
    uintptr_t misaligned = misalignment(a.grad, a.output, a.original, a.to_output, a.to_original);
    return with_samples(a.dtype, a.per_sample, misaligned, [&](auto tag, auto group) {
        return run_body(ExposureGradientBody<decltype(tag), decltype(group)>(a), runner);
    });
}

}  // namespace lowlight
