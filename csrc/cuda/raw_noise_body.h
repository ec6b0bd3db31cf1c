// what one thread does for raw_noise
#pragma once

#include "../core/exposure.h"
#include "../core/raw_arguments.h"
#include "counts.h"

namespace lowlight {

LOWLIGHT_FN bool within(double value, double low, double high) {
    return (value >= low) & (value <= high);
}

// The host cannot look at rows while a CUDA graph is recorded: what it would refuse (lowlight_ext/exposure.py) gives
// NaN.
LOWLIGHT_FN bool raw_row_is_valid(const double* column, double saturation, int parts) {
    bool photons = !(parts & kPartP) || saturation / column[0] / column[1] <= double(kMostMean);
    return photons & within(column[0], 1e-6, 1e6) & within(column[1], 1e-3, 1e6) & within(column[2], 0.0, 1e6) &
           within(column[3], 0.0, 1e6) & within(column[4], -5.0, 5.0) & within(column[5], 0.0, 1e6);
}

// kPhotons: P is among the parts, whose code is longer than all the others'
template <class T, class G, bool kPhotons>
struct RawNoiseBody : Lines<G, true> {
    using R = Real<T>;
    struct Shared {
        RawRow<R> row;
        NoiseLine line;
    };
    // beside photons there are no registers to keep it, nor does it weigh much
    static constexpr bool kHasLine = !kPhotons;
    struct Line {
        NoiseLine noise;
        R of_row;  // what the row adds to its pixels
    };
    RawNoiseArguments a;

    RawNoiseBody(const RawNoiseArguments& a) : Lines<G, true>(a.size, a.source), a(a) {}

    LOWLIGHT_METHOD Shared prepare(int64_t plane) const {
        const double* column = a.rows + kRawColumns * this->sample(plane) * a.row_step;
        RawRow<R> row = raw_row<R>(column, a.saturation, a.parts);
        if (!raw_row_is_valid(column, a.saturation, a.parts)) row.to_image = R(bit_cast<float>(0x7fc00000u));
        return Shared{row, this->noise(a.source, plane)};
    }

    LOWLIGHT_METHOD Line of_line(const Shared& shared, int64_t plane, int64_t line) const {
        NoiseLine noise = below(shared.line, line);
        return Line{noise, a.parts & kPartR ? shared.row.row_scale * R(row_normal(noise, this->channel(plane))) : R(0)};
    }

    // y in digital numbers -> with its noise
    LOWLIGHT_METHOD void add_noise(const RawRow<R>& k, const Line& own, int64_t index, R* y) const {
        const NoiseLine& line = own.noise;
        float drawn[G::kPixels];
        if (a.parts & kPartU) {
            draw_group<false, G>(source_line(line, kQuantisation), index, drawn);
            for (int i = 0; i < G::kPixels; ++i) y[i] = with_quantisation(y[i], R(drawn[i]));
        }
        if constexpr (kPhotons) {
            float mean[G::kPixels];
            for (int i = 0; i < G::kPixels; ++i) mean[i] = photon_mean(k, y[i]);
            poisson_group<G>(line, index, mean, drawn);
            for (int i = 0; i < G::kPixels; ++i) y[i] = k.gain * R(drawn[i]);
        } else if (a.parts & kPartp) {
            draw_group<true, G>(source_line(line, kSignalNormal), index, drawn);
            for (int i = 0; i < G::kPixels; ++i) y[i] = with_signal_noise(k, y[i], R(drawn[i]));
        }
        if (a.parts & kPartR)
            for (int i = 0; i < G::kPixels; ++i) y[i] = y[i] + own.of_row;
        if (!(a.parts & (kPartg | kPartG))) return;
        if (a.parts & kPartg)
            draw_group<true, G>(source_line(line, kReadNormal), index, drawn);
        else
            tukey_group<G>(line, index, k.shape, drawn);
        for (int i = 0; i < G::kPixels; ++i) y[i] = y[i] + k.read_scale * R(drawn[i]);
    }

    LOWLIGHT_METHOD void operator()(const Shared& shared, int64_t plane, int64_t line, int64_t index) const {
        (*this)(shared, of_line(shared, plane, line), plane, line, index);
    }

    LOWLIGHT_METHOD void operator()(const Shared& shared, const Line& own, int64_t plane, int64_t line,
                                    int64_t index) const {
        G group = this->group(plane, line, index);
        const RawRow<R>& k = shared.row;
        R values[G::kPixels];
        load_group<T>(a.clean, group, values);
        for (int i = 0; i < G::kPixels; ++i) values[i] = values[i] * k.to_numbers;
        add_noise(k, own, index, values);
        for (int i = 0; i < G::kPixels; ++i) {
            R value = values[i] * k.to_image;
            values[i] = a.clip ? unit(value) : value;
        }
        store_group<T>(a.out, group, values);
    }
};

template <class Runner>
const char* run_raw_noise(const RawNoiseArguments& a, Runner runner) {
    return with_noise(a.dtype, a.size.width, a.source, misalignment(a.clean, a.out), [&](auto tag, auto group) {
        using T = decltype(tag);
        using G = decltype(group);
        return a.parts & kPartP ? run_body(RawNoiseBody<T, G, true>(a), runner)
                                : run_body(RawNoiseBody<T, G, false>(a), runner);
    });
}

}  // namespace lowlight
