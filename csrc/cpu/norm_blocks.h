// group norms, block by block: what contiguous and channels_last tensors share
#pragma once

#include "../core/norm.h"
#include "sums.h"

namespace lowlight {
namespace LOWLIGHT_CPU_LEVEL {

// norm_channels_last.cpp
void norm_channels_last(const NormArguments& a);
void norm_backward_channels_last(const NormGradients& a);

// elements between two starts of a thread
constexpr int64_t kSpan = 32768;

// a number that is the same at every index: what a pattern of one number a channel is where the channels are rows
template <class R>
struct Same {
    R value;
    LOWLIGHT_METHOD R operator[](int64_t) const { return value; }
};

// K: const R* or Same<R>
template <class K>
struct Affine {
    K mean, scale, shift;
};

// calls body with where n results go: into the tensor itself where it can take them
template <class R, class Body>
LOWLIGHT_FN void produce(Stored<R> to, int64_t n, bool stream, Body body) {
    alignas(64) R buffer[kBlock];
    bool direct = to.plain() && !stream;
    body(direct ? to.template as<R>() : buffer);
    if (!direct) store(to, buffer, n, stream);
}

// body(i, e^argument(i)) for i < n <= kBlock
template <class R, class Argument, class Body>
LOWLIGHT_FN void with_powers(int64_t n, Argument argument, Body body) {
    alignas(64) R rest[kBlock], steps[kBlock];
    for (int64_t i = 0; i < n; ++i) {
        Reduced<R> p = reduced(argument(i));
        rest[i] = p.rest, steps[i] = p.steps;
    }
    for (int64_t i = 0; i < n; ++i) body(i, power(Reduced<R>{rest[i], steps[i]}));
}

// Functions of whole blocks: a call costs nothing beside them, and each is compiled once. Which activation it is they
// ask once a block.

// n elements of x as the norm takes them; no copy where they are that already
template <class R>
LOWLIGHT_BLOCK const R* norm_inputs(Activation act, Stored<R> x, R* __restrict__ buffer, int64_t n) {
    if (act != Activation::mish) return load(x, buffer, n);
    alignas(64) R loaded[kBlock];
    for (int64_t start = 0; start < n; start += kBlock) {
        int64_t count = n - start < kBlock ? n - start : kBlock;
        const R* v = load(x + start, loaded, count);
        with_powers<R>(
            count, [&](int64_t i) { return mish_exponent(v[i]); },
            [&](int64_t i, R e) { buffer[start + i] = mish(v[i], e); });
    }
    return buffer;
}

// n <= kBlock elements
template <class R, class K>
LOWLIGHT_BLOCK void normalise(Activation act, Stored<R> x, Stored<R> out, int64_t n, bool stream, Affine<K> k) {
    alignas(64) R buffer[kBlock], z[kBlock];
    const R* v = norm_inputs(act, x, buffer, n);
    produce(out, n, stream, [&](R* __restrict__ y) {
        bool silu_follows = act == Activation::silu;
        R* __restrict__ to = silu_follows ? z : y;
        for (int64_t i = 0; i < n; ++i) to[i] = normalised(v[i], k.mean[i], k.scale[i], k.shift[i]);
        if (silu_follows)
            with_powers<R>(n, [&](int64_t i) { return -z[i]; }, [&](int64_t i, R e) { y[i] = silu(z[i], e); });
    });
}

// the gradients to the normalised values; n <= kBlock elements
template <class R, class K>
LOWLIGHT_BLOCK const R* inner_gradients(Activation act, Stored<R> grad, const R* v, R* __restrict__ buffer, int64_t n,
                                        Affine<K> k) {
    if (act != Activation::silu) return load(grad, buffer, n);
    alignas(64) R z[kBlock], loaded[kBlock];
    const R* g = load(grad, loaded, n);
    for (int64_t i = 0; i < n; ++i) z[i] = normalised(v[i], k.mean[i], k.scale[i], k.shift[i]);
    with_powers<R>(
        n, [&](int64_t i) { return -z[i]; }, [&](int64_t i, R e) { buffer[i] = g[i] * silu_slope(z[i], e); });
    return buffer;
}

// n <= kBlock elements
template <class R, class K>
LOWLIGHT_BLOCK void gradient(Activation act, Stored<R> grad, Stored<R> x, Stored<R> to_x, int64_t n, bool stream,
                             Affine<K> k, K level, K tilt) {
    alignas(64) R x_buffer[kBlock], g_buffer[kBlock];
    const R* v = load(x, x_buffer, n);
    const R* g = inner_gradients(act, grad, v, g_buffer, n, k);
    produce(to_x, n, stream, [&](R* __restrict__ y) {
        if (act != Activation::mish) {
            for (int64_t i = 0; i < n; ++i) y[i] = norm_gradient(g[i], v[i], k.mean[i], k.scale[i], level[i], tilt[i]);
            return;
        }
        with_powers<R>(
            n, [&](int64_t i) { return mish_exponent(v[i]); },
            [&](int64_t i, R e) {
                R to_mish = norm_gradient(g[i], mish(v[i], e), k.mean[i], k.scale[i], level[i], tilt[i]);
                y[i] = to_mish * mish_slope(v[i], e);
            });
    });
}

// sums of the gradients to the normalised values, and of their products with v - mean
struct Sums {
    double plain, product;
};

// stats and the sums over a batch: read and written by group and channel
template <class R>
struct Parameters {
    const R *weight, *bias, *mean, *inverse;
    int64_t channels, groups;

    template <class Arguments>
    explicit Parameters(const Arguments& a)
        : weight(static_cast<const R*>(a.weight)),
          bias(static_cast<const R*>(a.bias)),
          mean(static_cast<const R*>(a.stats)),
          inverse(mean + a.batch * a.groups),
          channels(a.channels),
          groups(a.groups) {}

    // of a channel in the group whose index in the whole batch is `slab`
    Affine<Same<R>> affine(int64_t slab, int64_t channel) const {
        R scale = weight ? inverse[slab] * weight[channel] : inverse[slab];
        return Affine<Same<R>>{{mean[slab]}, {scale}, {bias ? bias[channel] : R(0)}};
    }
};

// what a group takes from the gradient to x: level = (the mean of w g) / sd, tilt = (the mean of w g xhat) / variance
struct Slope {
    double level, tilt;
};

// from the sums of the group's channels; turns each product's sum into that of products with xhat
template <class R>
Slope group_slope(const Parameters<R>& p, int64_t slab, int64_t count, Sums* of_channels) {
    int64_t per_group = p.channels / p.groups, first = slab % p.groups * per_group;
    double inverse = p.inverse[slab], plain = 0, product = 0;
    for (int64_t c = 0; c < per_group; ++c) {
        of_channels[c].product *= inverse;
        double weight = p.weight ? double(p.weight[first + c]) : 1.0;
        plain += weight * of_channels[c].plain;
        product += weight * of_channels[c].product;
    }
    return Slope{inverse * plain / double(count), inverse * inverse * product / double(count)};
}

// gradients to weight and bias, where wanted, from the sums of [batch, channels]
template <class R>
void parameter_gradients(const NormGradients& a, const Sums* sums) {
    for (int64_t c = 0; c < a.channels; ++c) {
        double weight = 0, bias = 0;
        for (int64_t b = 0; b < a.batch; ++b)
            weight += sums[b * a.channels + c].product, bias += sums[b * a.channels + c].plain;
        if (a.to_weight) static_cast<R*>(a.to_weight)[c] = R(weight);
        if (a.to_bias) static_cast<R*>(a.to_bias)[c] = R(bias);
    }
}

template <class R>
void write_stats(const NormArguments& a, int64_t slab, Moments m) {
    R* stats = static_cast<R*>(a.stats);
    stats[slab] = R(m.mean);
    stats[a.batch * a.groups + slab] = R(1.0 / sqrt((m.n > 0 ? m.squares / m.n : 0.0) + a.eps));
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
