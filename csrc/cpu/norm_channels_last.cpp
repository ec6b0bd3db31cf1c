// group norms of channels_last tensors. Several pixels side by side make one wide row, so that every loop runs over
// whole vectors whatever the number of channels; a number a channel becomes a pattern as wide.
#include "norm_blocks.h"

namespace lowlight {
LOWLIGHT_DECLARE_LEVEL(LOWLIGHT_CPU_LEVEL)
namespace LOWLIGHT_CPU_LEVEL {

constexpr int64_t kMinWidth = 256;
// numbers whose sums are taken at once, where a wide row is not longer
constexpr int64_t kSumElements = 4096;

struct Wide {
    int64_t channels, width, sum_elements, span, spans, elements;

    // inner: pixels of a sample; lanes: numbers of a vector
    Wide(int64_t channels_, int64_t inner, int64_t lanes) : channels(channels_) {
        int64_t pixels = lanes;
        // the fewest pixels that are a whole number of vectors
        while (pixels > 1 && (pixels / 2 * channels) % lanes == 0) pixels /= 2;
        width = pixels * channels;
        while (width < kMinWidth) width += pixels * channels;
        sum_elements = width < kSumElements ? kSumElements / width * width : width;
        span = sum_elements < kSpan ? kSpan / sum_elements * sum_elements : sum_elements;
        elements = inner * channels;
        spans = (elements + span - 1) / span;
    }

    int64_t end(int64_t span_index) const { return span_index + 1 < spans ? (span_index + 1) * span : elements; }

    // adds up the pixels that lie side by side in sums[width]
    template <class R>
    void fold(R* sums) const {
        for (int64_t w = channels; w < width; w += channels)
            for (int64_t c = 0; c < channels; ++c) sums[c] += sums[w + c];
    }

    template <class R>
    void repeat(R* pattern) const {
        for (int64_t w = channels; w < width; ++w) pattern[w] = pattern[w - channels];
    }

    // calls body(offset, offset within the pattern, number) for blocks that lie in one wide row
    template <class Body>
    void blocks(int64_t span_index, Body body) const {
        int64_t last = end(span_index);
        for (int64_t row = span_index * span; row < last; row += width) {
            int64_t row_end = last - row < width ? last - row : width;
            for (int64_t w = 0; w < row_end; w += kBlock) body(row + w, w, row_end - w < kBlock ? row_end - w : kBlock);
        }
    }
};

// patterns of the coefficients of one sample
template <class R>
struct Patterns {
    Scratch<R> numbers;
    int64_t width;
    Affine<const R*> affine;
    const R *level, *tilt;

    Patterns(const Wide& wide, const Parameters<R>& p, int64_t sample, const Slope* slopes = nullptr)
        : numbers(5 * wide.width), width(wide.width) {
        R *mean = numbers.values, *scale = mean + width, *shift = scale + width, *to_level = shift + width,
          *to_tilt = to_level + width;
        for (int64_t c = 0; c < p.channels; ++c) {
            int64_t slab = sample * p.groups + c / (p.channels / p.groups);
            Affine<Same<R>> k = p.affine(slab, c);
            mean[c] = k.mean.value, scale[c] = k.scale.value, shift[c] = k.shift.value;
            to_level[c] = slopes ? R(slopes[slab].level) : R(0);
            to_tilt[c] = slopes ? R(slopes[slab].tilt) : R(0);
        }
        for (int i = 0; i < 5; ++i) wide.repeat(numbers.values + i * width);
        affine = Affine<const R*>{mean, scale, shift};
        level = to_level, tilt = to_tilt;
    }

    Affine<const R*> at(int64_t w) const {
        return Affine<const R*>{affine.mean + w, affine.scale + w, affine.shift + w};
    }
};

// per channel; every channel has seen as many pixels
struct ChannelMoments {
    double n, *mean, *squares;

    void merge(int64_t channels, double count, const double* means, const double* squares_of) {
        double both = n + count, share = count / both, weight = n * count / both;
        for (int64_t c = 0; c < channels; ++c) {
            double difference = means[c] - mean[c];
            mean[c] += difference * share;
            squares[c] += squares_of[c] + difference * difference * weight;
        }
        n = both;
    }

    // `count` more pixels, by their sums of deviations from `origin` and of squares of these; see with() in sums.h
    template <class R>
    void add(int64_t channels, double count, const R* origin, const R* sums, const R* squares_of) {
        double both = n + count, share = count / both, weight = n * count / both, one = 1 / count;
        for (int64_t c = 0; c < channels; ++c) {
            double shift = double(sums[c]) * one, own = double(squares_of[c]) - double(sums[c]) * shift;
            double difference = double(origin[c]) + shift - mean[c];
            mean[c] += difference * share;
            squares[c] += (own < 0 ? 0 : own) + difference * difference * weight;
        }
        n = both;
    }
};

template <class R>
static void forward(const NormArguments& a) {
    Wide wide(a.channels, a.inner, kLanes<R>);
    int64_t channels = a.channels, spans = wide.spans, elements = a.batch * wide.elements;
    Stored<R> x(a.x, a.dtype), out(a.out, a.dtype);
    Activation act = static_cast<Activation>(a.activation);
    bool stream = elements * x.bytes() >= kKeptBytes;
    Scratch<double> partial(2 * a.batch * spans * channels);
    Parameters<R> parameters(a);

    auto pixels = [&](int64_t span) { return double((wide.end(span) - span * wide.span) / channels); };
    auto gather = [&](int64_t sample, int64_t span, const R*) {
        Scratch<R> scratch(wide.sum_elements + 3 * wide.width);
        R *buffer = scratch.values, *origin = buffer + wide.sum_elements, *sums = origin + wide.width,
          *squares = sums + wide.width;
        double* into = partial.values + 2 * (sample * spans + span) * channels;
        for (int64_t c = 0; c < 2 * channels; ++c) into[c] = 0;
        ChannelMoments m{0, into, into + channels};
        for (int64_t i = span * wide.span; i < wide.end(span); i += wide.sum_elements) {
            int64_t n = wide.end(span) - i < wide.sum_elements ? wide.end(span) - i : wide.sum_elements;
            const R* v = norm_inputs(act, x + sample * wide.elements + i, buffer, n);
            prefetch(x + sample * wide.elements + i + wide.sum_elements, n);
            // at first from the first pixel
            for (int64_t c = 0; c < channels; ++c) origin[c] = m.n > 0 ? R(m.mean[c]) : v[c];
            wide.repeat(origin);
            column_totals(sums, squares, n, wide.width, [&](auto& t, auto& square, int64_t at, int64_t w) {
                get(t, v + at), get(square, origin + w);
                t -= square, square = t * t;
            });
            wide.fold(sums), wide.fold(squares);
            m.add(channels, double(n / channels), origin, sums, squares);
        }
    };
    auto finish = [&](int64_t sample) {
        double* first = partial.values + 2 * sample * spans * channels;
        ChannelMoments m{spans ? pixels(0) : 0, first, first + channels};
        for (int64_t span = 1; span < spans; ++span)
            m.merge(channels, pixels(span), first + 2 * span * channels, first + (2 * span + 1) * channels);
        int64_t per_group = channels / a.groups;
        for (int64_t g = 0; g < a.groups; ++g) {
            Moments group{0, 0, 0};
            for (int64_t c = g * per_group; spans && c < (g + 1) * per_group; ++c)
                group = merged(group, Moments{m.n, m.mean[c], m.squares[c]});
            write_stats<R>(a, sample * a.groups + g, group);
        }
    };
    auto spread = [&](int64_t sample, int64_t span, const R*) {
        Patterns<R> patterns(wide, parameters, sample);
        wide.blocks(span, [&](int64_t i, int64_t w, int64_t n) {
            int64_t at = sample * wide.elements + i;
            // while one block is computed the next arrives
            prefetch(x + at + 2 * kBlock, n);
            normalise(act, x + at, out + at, n, stream, patterns.at(w));
        });
        if (stream) stream_fence();
    };
    in_two_passes<R>(a.batch, spans, elements, 0, gather, finish, spread);
}

template <class R>
static void backward(const NormGradients& a) {
    Wide wide(a.channels, a.inner, kLanes<R>);
    int64_t channels = a.channels, spans = wide.spans, elements = a.batch * wide.elements;
    Stored<R> x(a.x, a.dtype), grad(a.grad, a.dtype), to_x(a.to_x, a.dtype);
    Activation act = static_cast<Activation>(a.activation);
    bool stream = elements * x.bytes() >= kKeptBytes;
    Scratch<Sums> partial(a.batch * spans * channels), sums(a.batch * channels);
    Scratch<Slope> slopes(a.batch * a.groups);
    Parameters<R> parameters(a);

    auto gather = [&](int64_t sample, int64_t span, const R*) {
        Patterns<R> patterns(wide, parameters, sample);
        Scratch<R> scratch(2 * wide.sum_elements + 2 * wide.width);
        R *v_buffer = scratch.values, *g_buffer = v_buffer + wide.sum_elements;
        R *plain = g_buffer + wide.sum_elements, *product = plain + wide.width;
        Sums* into = partial.values + (sample * spans + span) * channels;
        for (int64_t c = 0; c < channels; ++c) into[c] = Sums{0, 0};
        for (int64_t i = span * wide.span; i < wide.end(span); i += wide.sum_elements) {
            int64_t n = wide.end(span) - i < wide.sum_elements ? wide.end(span) - i : wide.sum_elements;
            int64_t from = sample * wide.elements + i;
            const R* v = norm_inputs(act, x + from, v_buffer, n);
            const R* g = g_buffer;
            if (act != Activation::silu) g = load(grad + from, g_buffer, n);
            for (int64_t row = 0; act == Activation::silu && row < n; row += wide.width)
                for (int64_t w = 0, end = n - row < wide.width ? n - row : wide.width; w < end; w += kBlock) {
                    Stored<R> block = grad + from + row + w;
                    int64_t count = end - w < kBlock ? end - w : kBlock;
                    prefetch(block + 2 * kBlock, count), prefetch(x + from + row + w + 2 * kBlock, count);
                    inner_gradients(act, block, v + row + w, g_buffer + row + w, count, patterns.at(w));
                }
            column_totals(plain, product, n, wide.width, [&](auto& t, auto& difference, int64_t at, int64_t w) {
                auto mean = t;
                get(t, g + at), get(difference, v + at), get(mean, patterns.affine.mean + w);
                difference = t * (difference - mean);
            });
            wide.fold(plain), wide.fold(product);
            for (int64_t c = 0; c < channels; ++c)
                into[c].plain += double(plain[c]), into[c].product += double(product[c]);
        }
    };
    auto finish = [&](int64_t sample) {
        Sums* s = sums.values + sample * channels;
        for (int64_t c = 0; c < channels; ++c) s[c] = Sums{0, 0};
        for (int64_t i = 0; i < spans * channels; ++i) {
            const Sums& part = partial.values[sample * spans * channels + i];
            s[i % channels].plain += part.plain, s[i % channels].product += part.product;
        }
        int64_t per_group = channels / a.groups;
        for (int64_t g = 0; g < a.groups; ++g)
            slopes.values[sample * a.groups + g] =
                group_slope(parameters, sample * a.groups + g, per_group * a.inner, s + g * per_group);
    };
    auto spread = [&](int64_t sample, int64_t span, const R*) {
        if (!a.to_x) return;
        Patterns<R> patterns(wide, parameters, sample, slopes.values);
        wide.blocks(span, [&](int64_t i, int64_t w, int64_t n) {
            int64_t at = sample * wide.elements + i;
            prefetch(x + at + 2 * kBlock, n), prefetch(grad + at + 2 * kBlock, n);
            gradient(act, grad + at, x + at, to_x + at, n, stream, patterns.at(w), patterns.level + w,
                     patterns.tilt + w);
        });
        if (stream) stream_fence();
    };
    in_two_passes<R>(a.batch, spans, elements, 0, gather, finish, spread);
    parameter_gradients<R>(a, sums.values);
}

void norm_channels_last(const NormArguments& a) {
    dispatch_real(a.dtype, [&](auto tag) { forward<decltype(tag)>(a); });
}

void norm_backward_channels_last(const NormGradients& a) {
    dispatch_real(a.dtype, [&](auto tag) { backward<decltype(tag)>(a); });
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
