// what one thread does for the tone curve: a group of pixels, all three channels of each
#pragma once

#include "../core/tone.h"
#include "grid.h"

namespace lowlight {

template <class T, class G, bool kLast>
struct ToneBody {
    using R = Real<T>;
    using Shared = ToneCurve<R>;
    ToneArguments a;
    int64_t planes, lines, groups;

    ToneBody(const ToneArguments& a)
        : a(a), planes(a.batch), lines(1), groups((a.inner + G::kPixels - 1) / G::kPixels) {}

    LOWLIGHT_METHOD Shared prepare(int64_t sample) const { return tone_curve<R>(a, sample); }

    // three groups of numbers: of the channels' planes, or one behind the other in a line of channels side by side
    LOWLIGHT_METHOD G part(int64_t sample, int64_t index, int c) const {
        return kLast ? G(sample, kToneChannels * a.inner, kToneChannels * index + c, 0)
                     : G(kToneChannels * sample + c, a.inner, index, 0);
    }

    static constexpr LOWLIGHT_METHOD int place(int c, int i) {
        return kLast ? kToneChannels * i + c : c * G::kPixels + i;
    }

    LOWLIGHT_METHOD void operator()(const Shared& k, int64_t sample, int64_t, int64_t index) const {
        constexpr int n = G::kPixels;
        R x[kToneChannels * n];
        for (int c = 0; c < kToneChannels; ++c) load_group<T>(a.x, part(sample, index, c), x + c * n);
        for (int i = 0; i < n; ++i) {
            R y[kToneChannels], bent[kToneChannels];
            for (int c = 0; c < kToneChannels; ++c)
                y[c] = tone_raised(k.per_floor, k.gamma[c], k.factor[c], x[place(c, i)]);
            for (int c = 0; c < kToneChannels; ++c) bent[c] = tone_bent(k.knee, k.width, k.per_width, y[c]);
            R ratio = tone_ratio(y[0], y[1], y[2], bent[0], bent[1], bent[2]);
            for (int c = 0; c < kToneChannels; ++c) x[place(c, i)] = tone_mixed(k.share, y[c], bent[c], ratio);
        }
        for (int c = 0; c < kToneChannels; ++c) store_group<T>(a.out, part(sample, index, c), x + c * n);
    }
};

template <class Runner>
const char* run_tone(const ToneArguments& a, Runner runner) {
    return with_type(a.dtype, [&](auto tag) {
        using T = decltype(tag);
        return with_groups<T, 1>(a.inner, 0, misalignment(a.x, a.out), [&](auto group) {
            using G = decltype(group);
            // twelve numbers of any type: registers have no room for 24 whose places differ
            using Few = std::conditional_t<G::kAligned, Group<4, true>, G>;
            return a.channels_last ? run_body(ToneBody<T, Few, true>(a), runner)
                                   : run_body(ToneBody<T, G, false>(a), runner);
        });
    });
}

}  // namespace lowlight
