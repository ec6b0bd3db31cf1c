// what one thread does for normal, uniform and philox
#pragma once

#include "../core/noise.h"
#include "grid.h"

namespace lowlight {

// the noise of a group: whole counters, so its first pixel is the first of a counter
template <bool kNormal, class G>
LOWLIGHT_FN void draw_group(const NoiseLine& line, int64_t group, float* pixels) {
    static_assert(G::kPixels % 4 == 0, "a counter has four pixels");
    constexpr int kCounters = G::kPixels / 4;
    uint32_t first = uint32_t(uint64_t(line.x >> 2)) + uint32_t(uint64_t(group)) * kCounters;
    for (int i = 0; i < kCounters; ++i) draw_four<kNormal>(line, first + i, pixels + 4 * i);
}

// pixels of the first counter that lie before the line
inline int skipped(const NoiseSource& source) {
    return int(source.x0 & 3);
}

template <class T, class G, bool kNormal>
struct NoiseBody {
    using Shared = NoiseLine;
    NoiseArguments a;
    int skip;
    int64_t planes, lines, groups;

    NoiseBody(const NoiseArguments& a)
        : a(a),
          skip(skipped(a.source)),
          planes(a.size.batch * a.size.channels),
          lines(a.size.height),
          groups(a.size.width ? (skip + a.size.width + G::kPixels - 1) / G::kPixels : 0) {}

    LOWLIGHT_METHOD Shared prepare(int64_t plane) const {
        int64_t sample = plane / a.size.channels;
        return noise_line(a.source, sample, plane - sample * a.size.channels, 0);
    }

    LOWLIGHT_METHOD void operator()(const Shared& shared, int64_t plane, int64_t line, int64_t index) const {
        NoiseLine place = shared;
        place.y += uint32_t(line);
        G group(plane * lines + line, a.size.width, index, skip);
        float pixels[G::kPixels];
        draw_group<kNormal, G>(place, index, pixels);
        Real<T> values[G::kPixels];
        for (int i = 0; i < G::kPixels; ++i) values[i] = Real<T>(pixels[i]);
        store_group<T>(a.out, group, values);
    }
};

template <class Runner>
const char* run_noise(const NoiseArguments& a, Runner runner) {
    return with_type(a.dtype, [&](auto tag) {
        using T = decltype(tag);
        return with_groups<T, 4>(a.size.width, skipped(a.source), misalignment(a.out), [&](auto group) {
            using G = decltype(group);
            return a.normal ? run_body(NoiseBody<T, G, true>(a), runner) : run_body(NoiseBody<T, G, false>(a), runner);
        });
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
const char* run_philox(const int64_t* counter, const int64_t* key, int64_t* words, int64_t n, Runner runner) {
    return run_body(PhiloxBody{counter, key, words, n}, runner);
}

}  // namespace lowlight
