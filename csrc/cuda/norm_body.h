// group norms, forward: moments of the groups from those of their chunks, and then the result, element by element
#pragma once

#include "norm_moments.h"

namespace lowlight {

// how the chunks of a group lie in [batch, chunks, columns]: `per_group` columns each
struct ChunkGrid {
    int64_t columns, per_group, chunks, chunk_length, length;  // of one column

    LOWLIGHT_METHOD int64_t count(int64_t chunk) const {
        int64_t rest = length - chunk * chunk_length;
        return rest < chunk_length ? rest : chunk_length;
    }
};

// a block takes a group: the moments of its chunks -> its own, and what its channels are multiplied by
template <class R>
struct MergeMoments {
    static constexpr int kMostThreads = 256, kSharedBytes = shared_numbers(kMostThreads, 1, 1) * int(sizeof(double));
    NormArguments a;
    ChunkGrid grid;
    const R* partial;  // [2, batch, chunks, columns]
    R* coefficients;   // [3, batch, channels]: mean, scale, shift
    int threads;
    int64_t items;

    MergeMoments(const NormArguments& a, ChunkGrid grid, const R* partial, R* coefficients)
        : a(a),
          grid(grid),
          partial(partial),
          coefficients(coefficients),
          threads(power_of_two(grid.chunks * grid.per_group, kWarp, kMostThreads)),
          items(a.batch * a.groups) {}

    struct State {
        double mean, sums[1];
    };

    // calls work(numbers of a chunk, its mean, its squares) for the chunks of this thread
    template <class Work>
    LOWLIGHT_METHOD void visit(int64_t slab, int thread, Work work) const {
        int64_t sample = slab / a.groups, first = (slab - sample * a.groups) * grid.per_group;
        for (int64_t part = thread; part < grid.chunks * grid.per_group; part += threads) {
            int64_t chunk = part / grid.per_group, column = first + part - chunk * grid.per_group;
            int64_t at = (sample * grid.chunks + chunk) * grid.columns + column;
            work(double(grid.count(chunk)), double(partial[at]),
                 double(partial[at + a.batch * grid.chunks * grid.columns]));
        }
    }

    template <class Crew>
    LOWLIGHT_METHOD void run(const Crew& crew, int64_t slab) const {
        double n = double(grid.length) * double(grid.per_group);
        typename Crew::template Own<State> own(crew);
        crew.each([&](int thread) {
            State& s = own[thread];
            s.sums[0] = 0;
            visit(slab, thread, [&](double count, double mean, double) { s.sums[0] += count * mean; });
        });
        crew.template sum<1>(own, 1, threads);
        crew.each([&](int thread) {
            State& s = own[thread];
            s.mean = s.sums[0] / n;
            s.sums[0] = 0;
            visit(slab, thread, [&](double count, double mean, double squares) {
                double d = mean - s.mean;
                s.sums[0] += squares + count * (d * d);
            });
        });
        crew.template sum<1>(own, 1, threads);
        crew.each([&](int thread) {
            R mean = R(own[thread].mean), inverse = R(inverse_deviation(own[thread].sums[0], n, a.eps));
            R* stats = static_cast<R*>(a.stats);
            if (thread == 0) stats[slab] = mean, stats[a.batch * a.groups + slab] = inverse;
            int64_t per_group = a.channels / a.groups, stride = a.batch * a.channels;
            for (int64_t c = thread; c < per_group; c += threads) {
                Affine<R> k = affine(mean, inverse, a.weight, a.bias, slab % a.groups * per_group + c);
                R* to = coefficients + slab * per_group + c;
                to[0] = k.mean, to[stride] = k.scale, to[2 * stride] = k.shift;
            }
        });
    }
};

// numbers of the channels of a group of elements: each its own where the channels come last, else all the same
template <class R, class G, bool kLast>
LOWLIGHT_FN void load_channels(const R* numbers, int64_t sample, int64_t channels, int64_t line, int64_t index,
                               R* values) {
    if constexpr (kLast) {
        load_group<R>(numbers, G(sample, channels, index, 0), values);
    } else {
        R one = numbers[sample * channels + line];
        for (int i = 0; i < G::kPixels; ++i) values[i] = one;
    }
}

// lines of a plane: channels, or pixels where the channels come last
template <class T, class G, bool kLast>
struct NormaliseBody {
    using R = Real<T>;
    struct Shared {};
    NormArguments a;
    const R* coefficients;
    int64_t planes, lines, width, groups;

    NormaliseBody(const NormArguments& a, const R* coefficients)
        : a(a),
          coefficients(coefficients),
          planes(a.batch),
          lines(kLast ? a.inner : a.channels),
          width(kLast ? a.channels : a.inner),
          groups(ceil_divide(width, G::kPixels)) {}

    LOWLIGHT_METHOD Shared prepare(int64_t) const { return Shared{}; }

    LOWLIGHT_METHOD void operator()(const Shared&, int64_t sample, int64_t line, int64_t index) const {
        G group(sample * lines + line, width, index, 0);
        R v[G::kPixels], k[3][G::kPixels];
        load_group<T>(a.x, group, v);
        for (int j = 0; j < 3; ++j)
            load_channels<R, G, kLast>(coefficients + j * a.batch * a.channels, sample, a.channels, line, index, k[j]);
        with_activation(a.activation, [&](auto act) {
            for (int i = 0; i < G::kPixels; ++i)
                v[i] = norm_output(act.value, norm_input(act.value, v[i]), Affine<R>{k[0][i], k[1][i], k[2][i]});
        });
        store_group<T>(a.out, group, v);
    }
};

// calls visit(moments of the chunks, how they lie) with the two ways to take a tensor apart
template <class T, class Visit>
auto with_moments(const NormArguments& a, Real<T>* partial, Visit visit) {
    uintptr_t misaligned = misalignment(a.x, a.out);
    if (a.channels_last)
        return with_alignment<T>(a.channels, misaligned, [&](auto aligned) {
            ColumnMoments<T, aligned.value> body(a, partial);
            return visit(body, ChunkGrid{a.channels, a.channels / a.groups, body.tiles.chunks, body.tiles.chunk_pixels,
                                         a.inner});
        });
    return with_alignment<T>(a.channels / a.groups * a.inner, misaligned, [&](auto aligned) {
        SlabMoments<T, aligned.value> body(a, partial);
        return visit(body, ChunkGrid{a.groups, 1, body.chunks, body.chunk_length, body.length});
    });
}

template <class T>
bool one_chunk(const NormArguments& a, const ChunkGrid& grid) {
    return !a.channels_last && grid.chunks == 1;
}

// numbers of the accumulator's type that `run_norm` needs beside its tensors
inline int64_t norm_workspace(const NormArguments& a) {
    int64_t numbers = 0;
    with_type(a.dtype, [&](auto tag) {
        using T = decltype(tag);
        return with_moments<T>(a, nullptr, [&](const auto&, ChunkGrid grid) -> const char* {
            if (!one_chunk<T>(a, grid)) numbers = a.batch * (3 * a.channels + 2 * grid.chunks * grid.columns);
            return nullptr;
        });
    });
    return numbers;
}

template <class Runner>
const char* run_norm(const NormArguments& a, Runner runner) {
    return with_type(a.dtype, [&](auto tag) {
        using T = decltype(tag);
        using R = Real<T>;
        R *coefficients = static_cast<R*>(a.workspace), *partial = coefficients + 3 * a.batch * a.channels;
        return with_moments<T>(a, partial, [&](const auto& body, ChunkGrid grid) {
            const char* problem = runner(body);
            if (problem || one_chunk<T>(a, grid)) return problem;
            problem = runner(MergeMoments<R>(a, grid, partial, coefficients));
            if (problem) return problem;
            auto spread = [&](auto last) {
                constexpr bool kLast = decltype(last)::value;
                return with_vectors<T>(kLast ? a.channels : a.inner, misalignment(a.x, a.out), [&](auto group) {
                    return run_body(NormaliseBody<T, decltype(group), kLast>(a, coefficients), runner);
                });
            };
            return a.channels_last ? spread(std::true_type()) : spread(std::false_type());
        });
    });
}

}  // namespace lowlight
