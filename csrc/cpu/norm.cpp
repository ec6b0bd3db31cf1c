// group norms of contiguous tensors: a group is one slab of memory, read once for its moments and once from the cache
#include "norm_blocks.h"

namespace lowlight {
LOWLIGHT_DECLARE_LEVEL(LOWLIGHT_CPU_LEVEL)
namespace LOWLIGHT_CPU_LEVEL {

// numbers whose moments are taken at once
constexpr int64_t kSumBlock = 2048;

// bytes of the next slab asked for while this one is written: half of a small second-level cache
constexpr int64_t kAheadBytes = int64_t(128) << 10;
// gradients of a slab that a thread keeps from its first pass for its second, rather than compute them twice
constexpr int64_t kKeptGradients = int64_t(1) << 17;

static int64_t spans_of(int64_t length) {
    return (length + kSpan - 1) / kSpan;
}

template <class R>
static void forward(const NormArguments& a) {
    int64_t per_group = a.channels / a.groups, length = per_group * a.inner, slabs = a.batch * a.groups;
    int64_t spans = spans_of(length), elements = slabs * length;
    Stored<R> x(a.x, a.dtype), out(a.out, a.dtype);
    Activation act = static_cast<Activation>(a.activation);
    bool stream = elements * x.bytes() >= kStreamBytes;
    Scratch<Moments> partial(slabs * spans);
    Parameters<R> parameters(a);

    auto gather = [&](int64_t slab, int64_t span, R*) {
        alignas(64) R buffer[kSumBlock];
        int64_t end = span + 1 < spans ? (span + 1) * kSpan : length;
        Moments m{0, 0, 0};
        for (int64_t i = span * kSpan; i < end; i += kSumBlock) {
            int64_t n = end - i < kSumBlock ? end - i : kSumBlock;
            m = with(m, norm_inputs(act, x + slab * length + i, buffer, n), n);
        }
        partial.values[slab * spans + span] = m;
    };
    auto finish = [&](int64_t slab) {
        Moments m{0, 0, 0};
        for (int64_t span = 0; span < spans; ++span) m = merged(m, partial.values[slab * spans + span]);
        write_stats<R>(a, slab, m);
    };
    auto spread = [&](int64_t slab, int64_t span, const R*) {
        int64_t end = span + 1 < spans ? (span + 1) * kSpan : length;
        for (int64_t i = span * kSpan; i < end;) {
            int64_t row = i / a.inner, row_end = (row + 1) * a.inner < end ? (row + 1) * a.inner : end;
            Affine<Same<R>> k = parameters.affine(slab, slab % a.groups * per_group + row);
            for (; i < row_end; i += kBlock) {
                int64_t n = row_end - i < kBlock ? row_end - i : kBlock;
                // computing here takes longer than reading there
                if (i * x.bytes() < kAheadBytes) prefetch(x + (slab + 1) * length + i, n);
                normalise(act, x + slab * length + i, out + slab * length + i, n, stream, k);
            }
            i = row_end;
        }
        if (stream) stream_fence();
    };
    in_two_passes<R>(slabs, spans, elements, 0, gather, finish, spread);
}

template <class R>
static void backward(const NormGradients& a) {
    int64_t per_group = a.channels / a.groups, slabs = a.batch * a.groups, rows = a.batch * a.channels;
    int64_t row_spans = spans_of(a.inner), elements = rows * a.inner;
    Stored<R> x(a.x, a.dtype), grad(a.grad, a.dtype), to_x(a.to_x, a.dtype);
    Activation act = static_cast<Activation>(a.activation);
    bool stream = elements * x.bytes() >= kStreamBytes;
    Scratch<Sums> partial(rows * row_spans), sums(rows);
    Scratch<Slope> slopes(slabs);
    Parameters<R> parameters(a);

    // calls body(first element, number, coefficients) for the blocks of a row's span
    auto blocks = [&](int64_t slab, int64_t item, auto body) {
        int64_t row = slab * per_group + item / row_spans, span = item % row_spans;
        int64_t end = span + 1 < row_spans ? (span + 1) * kSpan : a.inner;
        Affine<Same<R>> k = parameters.affine(slab, row % a.channels);
        for (int64_t i = span * kSpan; i < end; i += kBlock)
            body(row * a.inner + i, end - i < kBlock ? end - i : kBlock, k);
    };
    int64_t slab_elements = per_group * a.inner;
    auto gather = [&](int64_t slab, int64_t item, R* kept) {
        Sums s{0, 0};
        blocks(slab, item, [&](int64_t at, int64_t n, Affine<Same<R>> k) {
            alignas(64) R v_buffer[kBlock], g_buffer[kBlock];
            // while one block is computed the next arrives
            prefetch(x + at + 2 * kBlock, n), prefetch(grad + at + 2 * kBlock, n);
            const R* v = norm_inputs(act, x + at, v_buffer, n);
            const R* g = inner_gradients(act, grad + at, v, kept ? kept + at - slab * slab_elements : g_buffer, n, k);
            R mean = k.mean.value;
            Pair<R> sums_of = totals<R>(n, [&](auto& t, auto& product, int64_t i) {
                get(t, g + i), get(product, v + i);
                product = t * (product - mean);
            });
            s.plain += double(sums_of.first), s.product += double(sums_of.second);
        });
        partial.values[slab * per_group * row_spans + item] = s;
    };
    auto finish = [&](int64_t slab) {
        for (int64_t row = slab * per_group; row < (slab + 1) * per_group; ++row) {
            Sums s{0, 0};
            for (int64_t i = row * row_spans; i < (row + 1) * row_spans; ++i)
                s.plain += partial.values[i].plain, s.product += partial.values[i].product;
            sums.values[row] = s;
        }
        slopes.values[slab] = group_slope(parameters, slab, per_group * a.inner, sums.values + slab * per_group);
    };
    auto spread = [&](int64_t slab, int64_t item, const R* kept) {
        if (!a.to_x) return;
        Same<R> level{R(slopes.values[slab].level)}, tilt{R(slopes.values[slab].tilt)};
        blocks(slab, item, [&](int64_t at, int64_t n, Affine<Same<R>> k) {
            if ((at - slab * slab_elements) * x.bytes() < kAheadBytes)
                prefetch(x + at + slab_elements, n), prefetch(grad + at + slab_elements, n);
            if (kept)
                gradient(Activation::none, Stored<R>(kept + at - slab * slab_elements, DType::f32), x + at, to_x + at,
                         n, stream, k, level, tilt);
            else
                gradient(act, grad + at, x + at, to_x + at, n, stream, k, level, tilt);
        });
        if (stream) stream_fence();
    };
    // only silu's gradients are worth keeping
    int64_t keep = act == Activation::silu && slab_elements <= kKeptGradients ? slab_elements : 0;
    in_two_passes<R>(slabs, per_group * row_spans, elements, keep, gather, finish, spread);
    parameter_gradients<R>(a, sums.values);
}

void norm_cpu(const NormArguments& a) {
    if (a.channels_last) return norm_channels_last(a);
    dispatch_real(a.dtype, [&](auto tag) { forward<decltype(tag)>(a); });
}

void norm_backward_cpu(const NormGradients& a) {
    if (a.channels_last) return norm_backward_channels_last(a);
    dispatch_real(a.dtype, [&](auto tag) { backward<decltype(tag)>(a); });
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
