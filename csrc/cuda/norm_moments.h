// moments of group norms: what the threads of a block do. A group of at most 16384 numbers (float64: 8192) that lie
// together is one block's, which reads it once and writes the result; larger ones, and channels_last, are chunks of
// many blocks.
//
// Error: a chunk's mean is a sum in pairs, its squares are those of deviations from that mean, which the registers hold
// meanwhile; what rounding left of the mean is then added to it, and taken from the squares. Nothing cancels, and both
// are within a few ulp. Chunks are merged in float64.
#pragma once

#include "norm_element.h"

namespace lowlight {

template <class R>
struct Moments {
    R rest, squares;
};

// of n numbers, by the sums of deviations from about their mean and of the squares of these: what is to be added to
// that, and the squares of deviations from the sum
template <class R>
LOWLIGHT_FN Moments<R> moments(R deviations, R squares, R n) {
    R rest = deviations / n, less = squares - deviations * rest;
    return Moments<R>{rest, less < R(0) ? R(0) : less};
}

template <class R>
LOWLIGHT_FN R inverse_deviation(R squares, R n, double eps) {
    return R(1) / square_root(squares / n + R(eps));
}

// contiguous: a group is one run of memory
template <class T, bool kAligned>
struct SlabMoments {
    using R = Real<T>;
    using G = Vector<T, kAligned>;
    static constexpr int kMostThreads = 512, kSharedBytes = shared_numbers(kMostThreads, 1, 2) * int(sizeof(R));
    NormArguments a;
    R* partial;  // [2, batch, chunks, groups]: mean, squares; of no use where a group is one chunk
    int threads;
    int64_t length, vectors, chunks, chunk_length, items;

    SlabMoments(const NormArguments& a, R* partial) : a(a), partial(partial), length(a.channels / a.groups * a.inner) {
        vectors = ceil_divide(length, kVector<T>);
        threads = power_of_two(ceil_divide(vectors, kSlots<T>), kWarp, kMostThreads);
        chunk_length = int64_t(threads) * kSlots<T> * kVector<T>;
        chunks = ceil_divide(length, chunk_length);
        items = a.batch * a.groups * chunks;
    }

    struct State {
        R items[kSlots<T>][kVector<T>], mean, sums[2];
    };

    // calls work(elements, numbers of a thread's slot) for the slots that there are
    template <class Work>
    LOWLIGHT_METHOD void visit(State& s, int64_t slab, int64_t chunk, int thread, Work work) const {
        LOWLIGHT_UNROLL
        for (int k = 0; k < kSlots<T>; ++k) {
            int64_t index = (chunk * kSlots<T> + k) * threads + thread;
            if (index < vectors) work(G(slab, length, index, 0), s.items[k]);
        }
    }

    template <class Crew>
    LOWLIGHT_METHOD void run(const Crew& crew, int64_t item) const {
        int64_t slab = item / chunks, chunk = item - slab * chunks, rest = length - chunk * chunk_length;
        R n = R(rest < chunk_length ? rest : chunk_length);
        Activation act = static_cast<Activation>(a.activation);
        typename Crew::template Own<State> own(crew);
        crew.each([&](int thread) {
            State& s = own[thread];
            s.sums[0] = R(0);
            // all reads are under way before the first number is needed
            visit(s, slab, chunk, thread, [&](const G& g, R* v) { load_group<T>(a.x, g, v); });
            visit(s, slab, chunk, thread, [&](const G& g, R* v) {
                for (int i = 0; i < kVector<T>; ++i)
                    if (g.has(i)) v[i] = norm_input(act, v[i]), s.sums[0] += v[i];
            });
        });
        crew.template sum<1>(own, 1, threads);
        crew.each([&](int thread) {
            State& s = own[thread];
            s.mean = s.sums[0] / n;
            s.sums[0] = s.sums[1] = R(0);
            visit(s, slab, chunk, thread, [&](const G& g, R* v) {
                for (int i = 0; i < kVector<T>; ++i) {
                    R d = v[i] - s.mean;
                    if (g.has(i)) s.sums[0] += d, s.sums[1] += d * d;
                }
            });
        });
        crew.template sum<2>(own, 1, threads);
        crew.each([&](int thread) {
            State& s = own[thread];
            Moments<R> m = moments(s.sums[0], s.sums[1], n);
            R mean = s.mean + m.rest;
            if (chunks == 1)
                write(s, slab, thread, act, mean, inverse_deviation(m.squares, n, a.eps));
            else if (thread == 0) {
                int64_t sample = slab / a.groups, at = (sample * (chunks - 1) + chunk) * a.groups + slab;
                partial[at] = mean, partial[a.batch * chunks * a.groups + at] = m.squares;
            }
        });
    }

    LOWLIGHT_METHOD void write(State& s, int64_t slab, int thread, Activation act, R mean, R inverse) const {
        R* stats = static_cast<R*>(a.stats);
        if (thread == 0) stats[slab] = mean, stats[a.batch * a.groups + slab] = inverse;
        // 32 bits suffice: the whole group is one chunk
        uint32_t inner = uint32_t(a.inner), first = uint32_t(slab % a.groups) * uint32_t(a.channels / a.groups);
        visit(s, slab, 0, thread, [&](const G& g, R* v) {
            uint32_t at = uint32_t(g.at - slab * length), row = at / inner, next = (row + 1) * inner;
            Affine<R> k = affine(mean, inverse, a.weight, a.bias, int64_t(first) + row);
            for (int i = 0; i < kVector<T>; ++i) {
                if (!g.has(i)) continue;
                if (at + i == next) ++row, next += inner, k = affine(mean, inverse, a.weight, a.bias, first + row);
                v[i] = norm_output(act, v[i], k);
            }
            store_group<T>(a.out, g, v);
        });
    }
};

// channels_last: of each channel by itself
template <class T, bool kAligned>
struct ColumnMoments {
    using R = Real<T>;
    using G = Vector<T, kAligned>;
    static constexpr int kWide = kVector<T>, kMostThreads = 256;
    static constexpr int kSharedBytes = shared_numbers(kMostThreads, kWarp, 2 * kWide) * int(sizeof(R));
    NormArguments a;
    R* partial;  // [2, batch, chunks, channels]: mean, squares
    int threads;
    ColumnTiles tiles;
    int64_t items;

    ColumnMoments(const NormArguments& a, R* partial)
        : a(a), partial(partial), threads(kMostThreads), tiles(T(), a.channels, a.inner, threads, kSlots<T>) {
        items = a.batch * tiles.chunks * tiles.tiles;
    }

    struct State {
        R items[kSlots<T>][kWide], mean[kWide], sums[2 * kWide];
    };

    template <class Work>
    LOWLIGHT_METHOD void visit(State& s, ColumnTiles::Place p, Work work) const {
        // pixels from the first on: a chunk's fit 32 bits
        int rest = p.vector < tiles.vectors ? int(tiles.pixels_of(p.chunk, a.inner)) - p.row : 0;
        G g(p.sample * a.inner + p.chunk * tiles.chunk_pixels + p.row, a.channels, p.vector, 0);
        LOWLIGHT_UNROLL
        for (int k = 0; k < kSlots<T>; ++k, rest -= tiles.rows, g.at += tiles.rows * a.channels)
            if (rest > 0) work(g, s.items[k]);
    }

    template <class Crew>
    LOWLIGHT_METHOD void run(const Crew& crew, int64_t item) const {
        Activation act = static_cast<Activation>(a.activation);
        ColumnTiles::Place first = tiles.first(item);
        R n = R(tiles.pixels_of(first.chunk, a.inner));
        typename Crew::template Own<State> own(crew);
        crew.each([&](int thread) {
            State& s = own[thread];
            ColumnTiles::Place p = tiles.place(first, thread);
            for (int i = 0; i < kWide; ++i) s.sums[i] = R(0);
            visit(s, p, [&](const G& g, R* v) { load_group<T>(a.x, g, v); });
            visit(s, p, [&](const G&, R* v) {
                for (int i = 0; i < kWide; ++i) v[i] = norm_input(act, v[i]), s.sums[i] += v[i];
            });
        });
        crew.template finished_sum<kWide, kWide>(own, tiles.lanes, threads, [&](R* sum) { *sum /= n; });
        crew.each([&](int thread) {
            State& s = own[thread];
            for (int i = 0; i < kWide; ++i) s.mean[i] = s.sums[i], s.sums[i] = s.sums[kWide + i] = R(0);
            visit(s, tiles.place(first, thread), [&](const G&, R* v) {
                for (int i = 0; i < kWide; ++i) {
                    R d = v[i] - s.mean[i];
                    s.sums[i] += d, s.sums[kWide + i] += d * d;
                }
            });
        });
        crew.template sum<2 * kWide>(own, tiles.lanes, threads);
        crew.each([&](int thread) {
            State& s = own[thread];
            ColumnTiles::Place p = tiles.place(first, thread);
            if (p.row > 0 || p.vector >= tiles.vectors) return;
            G g(p.sample * tiles.chunks + p.chunk, a.channels, p.vector, 0);
            R mean[kWide], squares[kWide];
            for (int i = 0; i < kWide; ++i) {
                Moments<R> m = moments(s.sums[i], s.sums[kWide + i], n);
                mean[i] = s.mean[i] + m.rest, squares[i] = m.squares;
            }
            store_group<R>(partial, g, mean);
            store_group<R>(partial + a.batch * tiles.chunks * a.channels, g, squares);
        });
    }
};

}  // namespace lowlight
