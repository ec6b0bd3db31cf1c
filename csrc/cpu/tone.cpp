// the tone curve: a block of pixels at a time, its three channels apart
#include "../core/tone.h"

#include "blocks.h"

namespace lowlight {
LOWLIGHT_DECLARE_LEVEL(LOWLIGHT_CPU_LEVEL)
namespace LOWLIGHT_CPU_LEVEL {

// pixels of a block whose channels lie side by side: `store` takes kBlock numbers at most
constexpr int64_t kPixelsLast = kBlock / 4;

// -> whether some of y [n] lie above the knee
template <class R>
LOWLIGHT_BLOCK bool raise(const ToneCurve<R>& k, int c, const R* __restrict__ x, R* __restrict__ y, int64_t n) {
    R per_floor = k.per_floor, gamma = k.gamma[c], factor = k.factor[c], knee = k.knee;
    int above = 0;
    for (int64_t i = 0; i < n; ++i) {
        R value = tone_raised(per_floor, gamma, factor, x[i]);
        y[i] = value;
        above |= value > knee;
    }
    return above;
}

template <class R>
LOWLIGHT_BLOCK const R* bend(const ToneCurve<R>& k, const R* __restrict__ y, R* __restrict__ bent, int64_t n) {
    R knee = k.knee, width = k.width, per_width = k.per_width;
    for (int64_t i = 0; i < n; ++i) bent[i] = tone_bent(knee, width, per_width, y[i]);
    return bent;
}

// x of a block, one array a channel -> out
template <class R>
LOWLIGHT_BLOCK void curve_block(const ToneCurve<R>& k, const R* const* x, R (*out)[kBlock], int64_t n) {
    alignas(64) R y[kToneChannels][kBlock], room[kToneChannels][kBlock], ratio[kBlock];
    const R* bent[kToneChannels];
    // most of most pictures lies below, where nothing is bent
    for (int c = 0; c < kToneChannels; ++c) bent[c] = raise(k, c, x[c], y[c], n) ? bend(k, y[c], room[c], n) : y[c];
    for (int64_t i = 0; i < n; ++i)
        ratio[i] = tone_ratio(y[0][i], y[1][i], y[2][i], bent[0][i], bent[1][i], bent[2][i]);
    R share = k.share;
    for (int c = 0; c < kToneChannels; ++c)
        for (int64_t i = 0; i < n; ++i) out[c][i] = tone_mixed(share, y[c][i], bent[c][i], ratio[i]);
}

template <class R>
static void planes(const ToneArguments& a, const ToneCurve<R>& k, int64_t sample, int64_t first, int64_t n,
                   bool stream) {
    alignas(64) R room[kToneChannels][kBlock], out[kToneChannels][kBlock];
    const R* x[kToneChannels];
    int64_t at = kToneChannels * sample * a.inner + first;
    for (int c = 0; c < kToneChannels; ++c) x[c] = load(Stored<R>(a.x, a.dtype) + (at + c * a.inner), room[c], n);
    curve_block(k, x, out, n);
    for (int c = 0; c < kToneChannels; ++c) store(Stored<R>(a.out, a.dtype) + (at + c * a.inner), out[c], n, stream);
}

template <class R>
static void pixels(const ToneArguments& a, const ToneCurve<R>& k, int64_t sample, int64_t first, int64_t n,
                   bool stream) {
    alignas(64) R room[kBlock], apart[kToneChannels][kBlock], out[kToneChannels][kBlock];
    const R* x[kToneChannels];
    int64_t at = kToneChannels * (sample * a.inner + first);
    const R* together = load(Stored<R>(a.x, a.dtype) + at, room, kToneChannels * n);
    for (int c = 0; c < kToneChannels; ++c) {
        for (int64_t i = 0; i < n; ++i) apart[c][i] = together[kToneChannels * i + c];
        x[c] = apart[c];
    }
    curve_block(k, x, out, n);
    for (int c = 0; c < kToneChannels; ++c)
        for (int64_t i = 0; i < n; ++i) room[kToneChannels * i + c] = out[c][i];
    store(Stored<R>(a.out, a.dtype) + at, room, kToneChannels * n, stream);
}

void tone_cpu(const ToneArguments& a) {
    dispatch_real(a.dtype, [&](auto tag) {
        using R = decltype(tag);
        Scratch<ToneCurve<R>> curves(a.batch);
        for (int64_t sample = 0; sample < a.batch; ++sample) curves.values[sample] = tone_curve<R>(a, sample);
        int64_t most = a.channels_last ? kPixelsLast : kBlock, blocks = (a.inner + most - 1) / most;
        int64_t items = a.batch * blocks, elements = kToneChannels * a.batch * a.inner;
        bool stream = elements * Stored<R>(a.out, a.dtype).bytes() >= kKeptBytes;
        LOWLIGHT_PARALLEL(elements, items)
        for (int64_t item = 0; item < items; ++item) {
            int64_t sample = item / blocks, first = (item - sample * blocks) * most;
            int64_t n = a.inner - first < most ? a.inner - first : most;
            (a.channels_last ? pixels<R> : planes<R>)(a, curves.values[sample], sample, first, n, stream);
            if (stream) stream_fence();
        }
    });
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
