// layer norm over channels, a tile of pixels at a time that stays in the first-level cache
#include <cmath>

#include "sums.h"

namespace lowlight {
LOWLIGHT_DECLARE_LEVEL(LOWLIGHT_CPU_LEVEL)
namespace LOWLIGHT_CPU_LEVEL {

constexpr int64_t kMaxTile = 512;
// elements between two starts of a thread
constexpr int64_t kTileSpan = 32768;

// weight and bias of every channel, also where there are none
template <class R>
struct Channels {
    Scratch<R> numbers;
    const R *weight, *bias;

    template <class Arguments>
    explicit Channels(const Arguments& a) : numbers(2 * a.channels), weight(numbers.values), bias(weight + a.channels) {
        for (int64_t c = 0; c < a.channels; ++c) {
            numbers.values[c] = a.weight ? static_cast<const R*>(a.weight)[c] : R(1);
            numbers.values[a.channels + c] = a.bias ? static_cast<const R*>(a.bias)[c] : R(0);
        }
    }
};

// pixels of a tile, tiles of a span, spans of a sample
struct Tiling {
    int64_t pixels, span, spans;

    // a row of a tile is a pixel where the channels come last, else a channel, and then worth its length
    Tiling(int64_t channels, int64_t inner, bool last) {
        int64_t least = last ? 16 : 64, elements = last ? 4096 : 8192;
        pixels = elements / channels / least * least;
        pixels = pixels < least ? least : pixels > kMaxTile ? kMaxTile : pixels;
        int64_t tiles = kTileSpan / channels / pixels;
        span = pixels * (tiles < 1 ? 1 : tiles);
        spans = (inner + span - 1) / span;
    }

    // calls body(first pixel, number) for the tiles of a span
    template <class Body>
    void tiles(int64_t span_index, int64_t inner, Body body) const {
        int64_t end = (span_index + 1) * span < inner ? (span_index + 1) * span : inner;
        for (int64_t p = span_index * span; p < end; p += pixels) body(p, end - p < pixels ? end - p : pixels);
    }
};

// the numbers of a tile in the accumulator's type, row by row: `rows` pieces of `n`, `step` apart in memory
template <class R>
struct Tile {
    const R* start;
    int64_t step;

    Tile(Stored<R> from, int64_t rows, int64_t n, int64_t step_, R* buffer) {
        if (from.plain()) {
            start = from.template as<const R>(), step = step_;
        } else {
            for (int64_t row = 0; row < rows; ++row) load(from + row * step_, buffer + row * n, n);
            start = buffer, step = n;
        }
    }
    const R* operator[](int64_t row) const { return start + row * step; }
};

template <class R, class Body>
LOWLIGHT_FN void write_row(Stored<R> to, int64_t n, bool stream, Body body) {
    alignas(64) R buffer[kBlock];
    bool direct = to.plain() && !stream;
    int64_t piece = direct ? n : kBlock;
    for (int64_t i = 0; i < n; i += piece) {
        int64_t count = n - i < piece ? n - i : piece;
        body(direct ? to.template as<R>() : buffer, i, count);
        if (!direct) store(to + i, buffer, count, stream);
    }
}

// calls body(v, c) for the channels of a pixel, v a vector or a number to be set, and writes v: few channels are done
// before a loop that the compiler vectorised has begun
template <class R, class Body>
LOWLIGHT_FN void write_channels(R* to, int64_t n, Body body) {
    typename Vector<R>::type v;
    R one;
    int64_t c = 0;
    for (; c + kWidthOf<R> <= n; c += kWidthOf<R>) body(v, c), put(to + c, v);
    for (; c < n; ++c) body(one, c), to[c] = one;
}

template <class R>
LOWLIGHT_FN void inverse_deviations(R* inverse, const R* squares, int64_t n, R channels, R eps) {
    for (int64_t p = 0; p < n; ++p) inverse[p] = R(1) / std::sqrt(squares[p] / channels + eps);
}

template <class R, bool kLast>
static void forward(const NormArguments& a) {
    Tiling tiling(a.channels, a.inner, kLast);
    Channels<R> k(a);
    int64_t channels = a.channels, inner = a.inner, elements = a.batch * channels * inner;
    Stored<R> all_x(a.x, a.dtype), all_out(a.out, a.dtype);
    bool stream = elements * all_x.bytes() >= kKeptBytes;
    LOWLIGHT_PARALLEL(elements, a.batch * tiling.spans)
    for (int64_t item = 0; item < a.batch * tiling.spans; ++item) {
        Scratch<R> scratch(all_x.plain() ? 0 : channels * tiling.pixels);
        int64_t sample = item / tiling.spans;
        tiling.tiles(item % tiling.spans, inner, [&](int64_t first, int64_t n) {
            alignas(64) R squares[kMaxTile];
            R *mean = static_cast<R*>(a.stats) + sample * inner + first, *inverse = mean + a.batch * inner;
            int64_t at = sample * channels * inner + first * (kLast ? channels : 1);
            Stored<R> x = all_x + at, out = all_out + at;
            int64_t rows = kLast ? n : channels, length = kLast ? channels : n, step = kLast ? channels : inner;
            Tile<R> v(x, rows, length, step, scratch.values);
            if constexpr (kLast) {
                for (int64_t p = 0; p < n; ++p)
                    mean[p] = total<R>(channels, [&](auto& t, int64_t c) { get(t, v[p] + c); }) / R(channels);
                for (int64_t p = 0; p < n; ++p) {
                    R center = mean[p];
                    squares[p] = total<R>(channels, [&](auto& t, int64_t c) { get(t, v[p] + c), t -= center, t *= t; });
                }
            } else {
                alignas(64) R sums[kMaxTile];
                for (int64_t p = 0; p < n; ++p) sums[p] = squares[p] = R(0);
                for (int64_t c = 0; c < channels; ++c)
                    for (int64_t p = 0; p < n; ++p) sums[p] += v[c][p];
                for (int64_t p = 0; p < n; ++p) sums[p] /= R(channels);
                for (int64_t c = 0; c < channels; ++c)
                    for (int64_t p = 0; p < n; ++p) squares[p] += (v[c][p] - sums[p]) * (v[c][p] - sums[p]);
                memcpy(mean, sums, n * sizeof(R));
            }
            inverse_deviations(inverse, squares, n, R(channels), R(a.eps));
            for (int64_t row = 0; row < rows; ++row) {
                // the next tile arrives while this one is written
                prefetch(x + row * step + (kLast ? n * channels : n), length);
                write_row<R>(out + row * step, length, stream, [&](R* __restrict__ y, int64_t from, int64_t count) {
                    const R* u = v[row] + from;
                    if constexpr (kLast) {
                        const R *weight = k.weight + from, *bias = k.bias + from;
                        R m = mean[row], s = inverse[row];
                        write_channels(y, count, [&](auto& t, int64_t c) {
                            auto w = t, b = t;
                            get(t, u + c), get(w, weight + c), get(b, bias + c);
                            t = (t - m) * s * w + b;
                        });
                    } else {
                        const R *m = mean + from, *s = inverse + from;
                        R weight = k.weight[row], bias = k.bias[row];
                        for (int64_t i = 0; i < count; ++i) y[i] = (u[i] - m[i]) * s[i] * weight + bias;
                    }
                });
            }
            if (stream) stream_fence();
        });
    }
}

// what a tile of a contiguous tensor adds to the gradients of weight and bias: a vector a channel, summed at the end
template <class R>
struct LaneSums {
    Scratch<R> numbers;
    int64_t channels;

    explicit LaneSums(int64_t channels_) : numbers(2 * channels_ * kLanes<R>), channels(channels_) {
        for (int64_t i = 0; i < 2 * channels * kLanes<R>; ++i) numbers.values[i] = R(0);
    }
    R* of(int which, int64_t c) { return numbers.values + (which * channels + c) * kLanes<R>; }
    double sum(int which, int64_t c) {
        double result = 0;
        for (int64_t j = 0; j < kLanes<R>; ++j) result += double(of(which, c)[j]);
        return result;
    }
};

// one channel of a tile: adds w g and w g xhat to what every pixel has, g xhat and g to the channel's lanes
template <class R>
LOWLIGHT_FN void channel_sums(const R* g, const R* x, const R* mean, const R* inverse, R weight, int64_t n, R* plain,
                              R* product, R* to_weight, R* to_bias) {
    using V = typename Vector<R>::type;
    int64_t whole = n / kLanes<R> * kLanes<R>;
    for (int64_t lane = 0; lane < kLanes<R>; lane += kWidthOf<R>) {
        V weight_lanes, bias_lanes;
        get(weight_lanes, to_weight + lane), get(bias_lanes, to_bias + lane);
        for (int64_t p = lane; p < whole; p += kLanes<R>) {
            V grad, value, center, scale, sum, products;
            get(grad, g + p), get(value, x + p), get(center, mean + p), get(scale, inverse + p);
            get(sum, plain + p), get(products, product + p);
            V with_xhat = grad * ((value - center) * scale);
            weight_lanes += with_xhat, bias_lanes += grad;
            sum += weight * grad, products += weight * with_xhat;
            put(plain + p, sum), put(product + p, products);
        }
        put(to_weight + lane, weight_lanes), put(to_bias + lane, bias_lanes);
    }
    for (int64_t p = whole; p < n; ++p) {
        R with_xhat = g[p] * ((x[p] - mean[p]) * inverse[p]);
        to_weight[p % kLanes<R>] += with_xhat, to_bias[p % kLanes<R>] += g[p];
        plain[p] += weight * g[p], product[p] += weight * with_xhat;
    }
}

// one pixel of a tile: the sums of w g and w g xhat over its channels; g xhat and g go to the channels' sums
template <class R>
LOWLIGHT_FN void pixel_sums(const R* g, const R* x, R mean, R inverse, const R* weight, int64_t channels, R& plain,
                            R& product, R* to_weight, R* to_bias) {
    using V = typename Vector<R>::type;
    alignas(64) R plain_lanes[kLanes<R>], product_lanes[kLanes<R>];
    int64_t whole = channels / kLanes<R> * kLanes<R>;
    for (int64_t lane = 0; lane < kLanes<R>; lane += kWidthOf<R>) {
        V sum = {}, products = {};
        for (int64_t c = lane; c < whole; c += kLanes<R>) {
            V grad, xhat, w, weight_sum, bias_sum;
            get(grad, g + c), get(xhat, x + c), get(w, weight + c);
            get(weight_sum, to_weight + c), get(bias_sum, to_bias + c);
            xhat = (xhat - mean) * inverse;
            weight_sum += grad * xhat, bias_sum += grad;
            put(to_weight + c, weight_sum), put(to_bias + c, bias_sum);
            grad *= w, sum += grad, products += grad * xhat;
        }
        put(plain_lanes + lane, sum), put(product_lanes + lane, products);
    }
    plain = across(plain_lanes), product = across(product_lanes);
    for (int64_t c = whole; c < channels; ++c) {
        R xhat = (x[c] - mean) * inverse;
        to_weight[c] += g[c] * xhat, to_bias[c] += g[c];
        plain += g[c] * weight[c], product += g[c] * weight[c] * xhat;
    }
}

template <class R, bool kLast>
static void backward(const NormGradients& a) {
    Tiling tiling(a.channels, a.inner, kLast);
    Channels<R> k(a);
    int64_t channels = a.channels, inner = a.inner, elements = a.batch * channels * inner;
    int64_t items = a.batch * tiling.spans;
    Stored<R> x(a.x, a.dtype), grad(a.grad, a.dtype), to_x(a.to_x, a.dtype);
    bool stream = elements * x.bytes() >= kKeptBytes;
    // [items, 2, channels]: gradients to weight and bias
    Scratch<double> partial(items * 2 * channels);
    LOWLIGHT_PARALLEL(elements, items)
    for (int64_t item = 0; item < items; ++item) {
        Scratch<R> scratch(x.plain() ? 0 : 2 * channels * tiling.pixels), sums(2 * channels);
        LaneSums<R> lanes(kLast ? 0 : channels);
        double* into = partial.values + item * 2 * channels;
        for (int64_t c = 0; c < 2 * channels; ++c) into[c] = 0;
        int64_t sample = item / tiling.spans;
        tiling.tiles(item % tiling.spans, inner, [&](int64_t first, int64_t n) {
            alignas(64) R plain[kMaxTile], product[kMaxTile];
            const R *mean = static_cast<const R*>(a.stats) + sample * inner + first, *inverse = mean + a.batch * inner;
            int64_t at = sample * channels * inner + first * (kLast ? channels : 1);
            int64_t rows = kLast ? n : channels, length = kLast ? channels : n, step = kLast ? channels : inner;
            Tile<R> v(x + at, rows, length, step, scratch.values);
            Tile<R> g(grad + at, rows, length, step, scratch.values + (x.plain() ? 0 : channels * tiling.pixels));
            if constexpr (kLast) {
                R *to_weight = sums.values, *to_bias = to_weight + channels;
                for (int64_t c = 0; c < 2 * channels; ++c) sums.values[c] = R(0);
                for (int64_t p = 0; p < n; ++p)
                    pixel_sums(g[p], v[p], mean[p], inverse[p], k.weight, channels, plain[p], product[p], to_weight,
                               to_bias);
                for (int64_t c = 0; c < 2 * channels; ++c) into[c] += double(sums.values[c]);
            } else {
                for (int64_t p = 0; p < n; ++p) plain[p] = product[p] = R(0);
                for (int64_t c = 0; c < channels; ++c)
                    channel_sums(g[c], v[c], mean, inverse, k.weight[c], n, plain, product, lanes.of(0, c),
                                 lanes.of(1, c));
            }
            if (!a.to_x) return;
            for (int64_t p = 0; p < n; ++p) plain[p] /= R(channels), product[p] = product[p] / R(channels) * inverse[p];
            for (int64_t row = 0; row < rows; ++row) {
                int64_t next = at + row * step + (kLast ? n * channels : n);
                prefetch(x + next, length);
                prefetch(grad + next, length);
                write_row<R>(to_x + at + row * step, length, stream,
                             [&](R* __restrict__ y, int64_t from, int64_t count) {
                                 const R *u = v[row] + from, *d = g[row] + from;
                                 if constexpr (kLast) {
                                     const R* weight = k.weight + from;
                                     R m = mean[row], s = inverse[row], level = plain[row], tilt = product[row];
                                     write_channels(y, count, [&](auto& t, int64_t c) {
                                         auto w = t, v_of = t;
                                         get(t, d + c), get(w, weight + c), get(v_of, u + c);
                                         t = s * (w * t - level - (v_of - m) * tilt);
                                     });
                                 } else {
                                     const R *m = mean + from, *s = inverse + from, *level = plain + from,
                                             *tilt = product + from;
                                     R weight = k.weight[row];
                                     for (int64_t i = 0; i < count; ++i)
                                         y[i] = s[i] * (weight * d[i] - level[i] - (u[i] - m[i]) * tilt[i]);
                                 }
                             });
            }
            if (stream) stream_fence();
        });
        for (int64_t c = 0; c < channels && !kLast; ++c)
            into[c] = lanes.sum(0, c), into[channels + c] = lanes.sum(1, c);
    }
    for (int64_t c = 0; c < channels; ++c) {
        double weight = 0, bias = 0;
        for (int64_t item = 0; item < items; ++item)
            weight += partial.values[item * 2 * channels + c], bias += partial.values[(item * 2 + 1) * channels + c];
        if (a.to_weight) static_cast<R*>(a.to_weight)[c] = R(weight);
        if (a.to_bias) static_cast<R*>(a.to_bias)[c] = R(bias);
    }
}

void layer_norm_cpu(const NormArguments& a) {
    dispatch_real(a.dtype, [&](auto tag) {
        a.channels_last ? forward<decltype(tag), true>(a) : forward<decltype(tag), false>(a);
    });
}

void layer_norm_backward_cpu(const NormGradients& a) {
    dispatch_real(a.dtype, [&](auto tag) {
        a.channels_last ? backward<decltype(tag), true>(a) : backward<decltype(tag), false>(a);
    });
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
