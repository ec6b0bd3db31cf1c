// sums of gradients over pixels, a channel of a sample at a time, in chunks: of g, the gradient to what was normalised
// and scaled, and of g (v - mean); for a layer norm, whose pixels differ, of g (v - mean) / deviation. The gradients to
// weight and bias follow from them, and so does what a group norm's mean and variance pass on.
#pragma once

#include "norm_element.h"

namespace lowlight {

// vectors that a thread adds up
constexpr int kSumVectors = 16;

// contiguous: a channel is a row, and a block takes as many rows as its threads can
template <class T, bool kAligned, bool kLayer>
struct RowSums {
    using R = Real<T>;
    using G = Vector<T, kAligned>;
    static constexpr int kMostThreads = 256, kSharedBytes = shared_numbers(kMostThreads, 1, 2) * int(sizeof(R));
    NormGradients a;
    R* partial;  // [2, batch, chunks, channels]: sums of g, sums of the products
    int threads, lanes;
    int64_t rows, vectors, chunks, items;

    RowSums(const NormGradients& a, R* partial) : a(a), partial(partial), threads(kMostThreads) {
        rows = a.batch * a.channels, vectors = ceil_divide(a.inner, kVector<T>);
        // neighbours read what lies together, as far as there is that much
        lanes = vectors < kWarp ? power_of_two(vectors, 1, kWarp)
                                : power_of_two(ceil_divide(vectors, kSumVectors), kWarp, kMostThreads);
        chunks = ceil_divide(vectors, int64_t(lanes) * kSumVectors);
        items = ceil_divide(rows, threads / lanes) * chunks;
    }

    struct State {
        R sums[2];
    };

    LOWLIGHT_METHOD void gather(State& s, int64_t row, int64_t chunk, int lane) const {
        Activation act = static_cast<Activation>(a.activation);
        const R *mean = static_cast<const R*>(a.stats), *inverse = mean + a.batch * (kLayer ? a.inner : a.groups);
        int64_t sample = row / a.channels, c = row - sample * a.channels;
        Affine<R> k{};
        if (!kLayer) {
            int64_t slab = row / (a.channels / a.groups);
            k = affine(mean[slab], inverse[slab], a.weight, a.bias, c);
        }
        for (int j = 0; j < kSumVectors; ++j) {
            int64_t index = (chunk * kSumVectors + j) * lanes + lane;
            if (index >= vectors) return;
            G group(row, a.inner, index, 0), pixels(sample, a.inner, index, 0);
            R g[kVector<T>], v[kVector<T>], m[kVector<T>], d[kVector<T>];
            load_group<T>(a.grad, group, g);
            load_group<T>(a.x, group, v);
            if (kLayer) load_group<R>(mean, pixels, m), load_group<R>(inverse, pixels, d);
            for (int i = 0; i < kVector<T>; ++i) {
                if (!group.has(i)) continue;
                R inner = g[i], about = kLayer ? m[i] : k.mean;
                if (!kLayer) v[i] = norm_input(act, v[i]), inner = inner_gradient(act, inner, v[i], k);
                R product = inner * (v[i] - about);
                s.sums[0] += inner, s.sums[1] += kLayer ? product * d[i] : product;
            }
        }
    }

    template <class Crew>
    LOWLIGHT_METHOD void run(const Crew& crew, int64_t item) const {
        int64_t tile = item / chunks, chunk = item - tile * chunks, first = tile * (threads / lanes);
        typename Crew::template Own<State> own(crew);
        crew.each([&](int thread) {
            State& s = own[thread];
            s.sums[0] = s.sums[1] = R(0);
            int64_t row = first + thread / lanes;
            if (row < rows) gather(s, row, chunk, thread % lanes);
        });
        crew.template sum<2>(own, 1, lanes);
        crew.each([&](int thread) {
            int64_t row = first + thread / lanes;
            if (row >= rows || thread % lanes > 0) return;
            int64_t sample = row / a.channels, at = (sample * (chunks - 1) + chunk) * a.channels + row;
            partial[at] = own[thread].sums[0], partial[at + rows * chunks] = own[thread].sums[1];
        });
    }
};

// channels_last
template <class T, bool kAligned, bool kLayer>
struct ColumnSums {
    using R = Real<T>;
    using G = Vector<T, kAligned>;
    static constexpr int kWide = kVector<T>, kMostThreads = 256;
    static constexpr int kSharedBytes = shared_numbers(kMostThreads, kWarp, 2 * kWide) * int(sizeof(R));
    NormGradients a;
    R* partial;
    int threads;
    ColumnTiles tiles;
    int64_t rows, chunks, items;

    ColumnSums(const NormGradients& a, R* partial)
        : a(a), partial(partial), threads(kMostThreads), tiles(T(), a.channels, a.inner, threads, kSumVectors) {
        rows = a.batch * a.channels, chunks = tiles.chunks;
        items = a.batch * chunks * tiles.tiles;
    }

    struct State {
        R sums[2 * kWide];
    };

    LOWLIGHT_METHOD void gather(State& s, ColumnTiles::Place p) const {
        Activation act = static_cast<Activation>(a.activation);
        const R *mean = static_cast<const R*>(a.stats), *inverse = mean + a.batch * (kLayer ? a.inner : a.groups);
        int64_t per_group = a.channels / a.groups, first = p.vector * kWide, rest = a.channels - first;
        Affine<R> k[kWide] = {};
        if (!kLayer)
            each_group<kWide>(p.sample, a.groups, per_group, first, rest, [&](int i, int64_t slab) {
                k[i] = affine(mean[slab], inverse[slab], a.weight, a.bias, first + i);
            });
        for (int j = 0; j < kSumVectors; ++j) {
            int64_t pixel = p.chunk * tiles.chunk_pixels + j * tiles.rows + p.row, at = p.sample * a.inner + pixel;
            if (pixel >= a.inner) return;
            G group(at, a.channels, p.vector, 0);
            R g[kWide], v[kWide], m = kLayer ? mean[at] : R(0), d = kLayer ? inverse[at] : R(0);
            load_group<T>(a.grad, group, g);
            load_group<T>(a.x, group, v);
            for (int i = 0; i < kWide; ++i) {
                R inner = g[i], about = kLayer ? m : k[i].mean;
                if (!kLayer) v[i] = norm_input(act, v[i]), inner = inner_gradient(act, inner, v[i], k[i]);
                R product = inner * (v[i] - about);
                s.sums[i] += inner, s.sums[kWide + i] += kLayer ? product * d : product;
            }
        }
    }

    template <class Crew>
    LOWLIGHT_METHOD void run(const Crew& crew, int64_t item) const {
        typename Crew::template Own<State> own(crew);
        crew.each([&](int thread) {
            State& s = own[thread];
            for (int i = 0; i < 2 * kWide; ++i) s.sums[i] = R(0);
            ColumnTiles::Place p = tiles.place(tiles.first(item), thread);
            if (p.vector < tiles.vectors) gather(s, p);
        });
        crew.template sum<2 * kWide>(own, tiles.lanes, threads);
        crew.each([&](int thread) {
            ColumnTiles::Place p = tiles.place(tiles.first(item), thread);
            if (p.row > 0 || p.vector >= tiles.vectors) return;
            G g(p.sample * chunks + p.chunk, a.channels, p.vector, 0);
            store_group<R>(partial, g, own[thread].sums);
            store_group<R>(partial + rows * chunks, g, own[thread].sums + kWide);
        });
    }
};

// the gradients to weight and bias: sums over the rows of [rows, channels]
template <class R>
struct ParameterSums {
    static constexpr int kMostThreads = 256, kLanes = 8;
    static constexpr int kSharedBytes = shared_numbers(kMostThreads, kLanes, 2) * int(sizeof(double));
    const R *plain, *products;  // [rows, channels]
    void *to_weight, *to_bias;  // [channels]; null: not wanted
    int64_t rows, channels, items;
    int threads;

    ParameterSums(const NormGradients& a, const R* sums, int64_t rows)
        : plain(sums),
          products(sums + rows * a.channels),
          to_weight(a.to_weight),
          to_bias(a.to_bias),
          rows(rows),
          channels(a.channels),
          items(ceil_divide(a.channels, kLanes)),
          threads(kMostThreads) {}

    struct State {
        double sums[2];
    };

    template <class Crew>
    LOWLIGHT_METHOD void run(const Crew& crew, int64_t item) const {
        typename Crew::template Own<State> own(crew);
        crew.each([&](int thread) {
            State& s = own[thread];
            s.sums[0] = s.sums[1] = 0;
            int64_t c = item * kLanes + thread % kLanes;
            for (int64_t row = thread / kLanes; c < channels && row < rows; row += threads / kLanes)
                s.sums[0] += double(plain[row * channels + c]), s.sums[1] += double(products[row * channels + c]);
        });
        crew.template sum<2>(own, kLanes, threads);
        crew.each([&](int thread) {
            int64_t c = item * kLanes + thread;
            if (thread >= kLanes || c >= channels) return;
            if (to_bias) static_cast<R*>(to_bias)[c] = R(own[thread].sums[0]);
            if (to_weight) static_cast<R*>(to_weight)[c] = R(own[thread].sums[1]);
        });
    }
};

// calls visit(the sums of all chunks); sums.chunks: how many a sample
template <class T, bool kLayer, class Visit>
auto with_sums(const NormGradients& a, Real<T>* partial, Visit visit) {
    uintptr_t misaligned = misalignment(a.grad, a.x, a.stats);
    if (a.channels_last)
        return with_alignment<T>(a.channels, misaligned, [&](auto aligned) {
            return visit(ColumnSums<T, decltype(aligned)::value, kLayer>(a, partial));
        });
    return with_alignment<T>(a.inner, misaligned, [&](auto aligned) {
        return visit(RowSums<T, decltype(aligned)::value, kLayer>(a, partial));
    });
}

}  // namespace lowlight
