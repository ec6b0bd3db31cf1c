// what one thread does for normal, uniform and philox
#pragma once

#include "../core/noise.h"
#include "grid.h"

namespace lowlight {

// a group has whole counters: its first pixel is the first of this one
template <class G>
LOWLIGHT_FN uint32_t first_counter(const NoiseLine& line, int64_t group) {
    static_assert(G::kPixels % 4 == 0, "a counter has four pixels");
    return uint32_t(uint64_t(line.x >> 2)) + uint32_t(uint64_t(group)) * (G::kPixels / 4);
}

template <bool kNormal, class G>
LOWLIGHT_FN void draw_group(const NoiseLine& line, int64_t group, float* pixels) {
    for (int i = 0; i < G::kPixels; i += 4) draw_four<kNormal>(line, first_counter<G>(line, group) + i / 4, pixels + i);
}

// pixels of the first counter that lie before the line
inline int skipped(const NoiseSource& source) {
    return int(source.x0 & 3);
}

// how pictures become lines: where noise is drawn each line of theirs, for it has its own; else a sample is one long
// line
template <class G, bool kDraw>
struct Lines {
    int skip;
    int64_t channels, planes, lines, width, groups;

    Lines(const Block& size, const NoiseSource& source)
        : skip(kDraw ? skipped(source) : 0),
          channels(kDraw ? size.channels : 1),
          planes(size.batch * channels),
          lines(kDraw ? size.height : 1),
          width(size.width * (kDraw ? 1 : size.channels * size.height)),
          groups(width ? (skip + width + G::kPixels - 1) / G::kPixels : 0) {}

    // samples that draw nothing
    Lines(int64_t batch, int64_t per_sample) : Lines(Block{batch, 1, 1, per_sample}, NoiseSource{}) {}

    LOWLIGHT_METHOD int64_t sample(int64_t plane) const { return kDraw ? plane / channels : plane; }

    LOWLIGHT_METHOD int64_t channel(int64_t plane) const { return plane - sample(plane) * channels; }

    // the noise of the plane's first line
    LOWLIGHT_METHOD NoiseLine noise(const NoiseSource& source, int64_t plane) const {
        if (!kDraw) return NoiseLine{};
        int64_t own = sample(plane);
        return noise_line(source, own, plane - own * channels, 0);
    }

    LOWLIGHT_METHOD G group(int64_t plane, int64_t line, int64_t index) const {
        return G(plane * lines + line, width, index, skip);
    }
};

// of the line that is `lines` further down
LOWLIGHT_FN NoiseLine below(NoiseLine noise, int64_t lines) {
    noise.y += uint32_t(lines);
    return noise;
}

// calls `run(type tag, group tag)` for lines of noise, whose groups are whole counters
template <class Run>
const char* with_noise(DType dtype, int64_t width, const NoiseSource& source, uintptr_t misaligned, Run run) {
    return with_type(dtype, [&](auto tag) {
        return with_groups<decltype(tag), 4>(width, skipped(source), misaligned,
                                             [&](auto group) { return run(tag, group); });
    });
}

// the same for samples that draw nothing
template <class Run>
const char* with_samples(DType dtype, int64_t per_sample, uintptr_t misaligned, Run run) {
    return with_type(dtype, [&](auto tag) {
        return with_groups<decltype(tag), 1>(per_sample, 0, misaligned, [&](auto group) { return run(tag, group); });
    });
}

// calls `run(type tag, group tag, whether noise is drawn)`
template <class Run>
const char* with_lines(DType dtype, const Block& size, bool draw, const NoiseSource& source, uintptr_t misaligned,
                       Run run) {
    if (draw)
        return with_noise(dtype, size.width, source, misaligned,
                          [&](auto tag, auto group) { return run(tag, group, std::true_type()); });
    return with_samples(dtype, size.channels * size.height * size.width, misaligned,
                        [&](auto tag, auto group) { return run(tag, group, std::false_type()); });
}

template <class T, class G, bool kNormal>
struct NoiseBody : Lines<G, true> {
    static constexpr bool kKeepsShared = true;
    using Shared = NoiseLine;
    NoiseArguments a;

    NoiseBody(const NoiseArguments& a) : Lines<G, true>(a.size, a.source), a(a) {}

    LOWLIGHT_METHOD Shared prepare(int64_t plane) const { return this->noise(a.source, plane); }

    LOWLIGHT_METHOD void operator()(const Shared& shared, int64_t plane, int64_t line, int64_t index) const {
        float pixels[G::kPixels];
        draw_group<kNormal, G>(below(shared, line), index, pixels);
        Real<T> values[G::kPixels];
        for (int i = 0; i < G::kPixels; ++i) values[i] = Real<T>(pixels[i]);
        store_group<T>(a.out, this->group(plane, line, index), values);
    }
};

template <class Runner>
const char* run_noise(const NoiseArguments& a, Runner runner) {
    return with_noise(a.dtype, a.size.width, a.source, misalignment(a.out), [&](auto tag, auto group) {
        using T = decltype(tag);
        using G = decltype(group);
        return a.normal ? run_body(NoiseBody<T, G, true>(a), runner) : run_body(NoiseBody<T, G, false>(a), runner);
    });
}

// words of counters and keys that are given; int64 whose low 32 bits count
struct PhiloxBody {
    struct Shared {};
    const int64_t *counter, *key;
    int64_t* words;
    int64_t groups, planes = 1, lines = 1;

    LOWLIGHT_METHOD Shared prepare(int64_t) const { return Shared{}; }

    LOWLIGHT_METHOD void operator()(const Shared&, int64_t, int64_t, int64_t i) const {
        const int64_t *c = counter + 4 * i, *k = key + 2 * i;
        Words w = philox(Words{uint32_t(c[0]), uint32_t(c[1]), uint32_t(c[2]), uint32_t(c[3])}, uint32_t(k[0]),
                         uint32_t(k[1]));
        int64_t* to = words + 4 * i;
        to[0] = w.w0, to[1] = w.w1, to[2] = w.w2, to[3] = w.w3;
    }
};

template <class Runner>
const char* run_philox(const PhiloxArguments& a, Runner runner) {
    return run_body(PhiloxBody{a.counter, a.key, a.words, a.n}, runner);
}

}  // namespace lowlight
