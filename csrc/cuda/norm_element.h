// an element of a group norm, and the numbers of a channel; the activation is asked for, not compiled in: it is the
// same for all threads, and memory is what they wait for
#pragma once

#include "../core/norm.h"
#include "../core/norm_arguments.h"
#include "crew.h"

namespace lowlight {

template <class R>
LOWLIGHT_FN R power_of_e(R x) {
    return power(reduced(x));
}

// what is normalised
template <class R>
LOWLIGHT_FN R norm_input(Activation act, R x) {
    return act == Activation::mish ? mish(x, power_of_e(mish_exponent(x))) : x;
}

// calls run(activation, as a type): asked once for all elements of a loop
template <class Run>
LOWLIGHT_FN void with_activation(int activation, Run run) {
    Activation act = static_cast<Activation>(activation);
    if (act == Activation::silu)
        run(std::integral_constant<Activation, Activation::silu>());
    else if (act == Activation::mish)
        run(std::integral_constant<Activation, Activation::mish>());
    else
        run(std::integral_constant<Activation, Activation::none>());
}

template <class R>
struct Affine {
    R mean, scale, shift;
};

template <class R>
LOWLIGHT_FN R norm_output(Activation act, R v, Affine<R> k) {
    R z = normalised(v, k.mean, k.scale, k.shift);
    return act == Activation::silu ? silu(z, power_of_e(-z)) : z;
}

// the gradient to what was normalised and scaled
template <class R>
LOWLIGHT_FN R inner_gradient(Activation act, R grad, R v, Affine<R> k) {
    if (act != Activation::silu) return grad;
    R z = normalised(v, k.mean, k.scale, k.shift);
    return grad * silu_slope(z, power_of_e(-z));
}

// the gradient to x; level and tilt are what the group's mean and variance take
template <class R>
LOWLIGHT_FN R input_gradient(Activation act, R grad, R x, Affine<R> k, R level, R tilt) {
    if (act != Activation::mish) return norm_gradient(inner_gradient(act, grad, x, k), x, k.mean, k.scale, level, tilt);
    R e = power_of_e(mish_exponent(x));
    return norm_gradient(grad, mish(x, e), k.mean, k.scale, level, tilt) * mish_slope(x, e);
}

// of channel c in a group with these moments
template <class R>
LOWLIGHT_FN Affine<R> affine(R mean, R inverse, const void* weight, const void* bias, int64_t c) {
    return Affine<R>{mean, weight ? inverse * static_cast<const R*>(weight)[c] : inverse,
                     bias ? static_cast<const R*>(bias)[c] : R(0)};
}

// calls visit(i, slab) for the first kCount of the `rest` channels of a sample that are left from `first` on, with the
// index of each one's group in the batch
template <int kCount, class Visit>
LOWLIGHT_FN void each_group(int64_t sample, int64_t groups, int64_t per_group, int64_t first, int64_t rest,
                            Visit visit) {
    int64_t group = first / per_group, next = (group + 1) * per_group;
    for (int i = 0; i < kCount && i < rest; ++i) {
        if (first + i == next) ++group, next += per_group;
        visit(i, sample * groups + group);
    }
}

// channels_last: a block takes a tile of channels of a chunk of pixels, a thread kVector channels of some of them. What
// a chunk is does not depend on the batch, nor on the launch: so the sums do not.
struct ColumnTiles {
    int lanes, lane_bits, rows;  // threads along the channels, and along the pixels
    int64_t vectors, tiles, chunk_pixels, chunks;

    // slots: pixels of a thread
    template <class T>
    ColumnTiles(T, int64_t channels, int64_t inner, int threads, int slots)
        : vectors(ceil_divide(channels, kVector<T>)) {
        lanes = power_of_two(vectors, 1, kWarp), lane_bits = bits_below(lanes), rows = threads / lanes;
        tiles = ceil_divide(vectors, lanes);
        chunk_pixels = int64_t(rows) * slots, chunks = ceil_divide(inner, chunk_pixels);
    }

    // where the first thread of a block is, formed once a block: it divides
    struct Place {
        int64_t sample, chunk, vector;
        int row;
    };
    LOWLIGHT_METHOD Place first(int64_t item) const {
        int64_t block = item / tiles, sample = block / chunks;
        return Place{sample, block - sample * chunks, (item - block * tiles) * lanes, 0};
    }
    LOWLIGHT_METHOD Place place(Place first, int thread) const {
        return Place{first.sample, first.chunk, first.vector + (thread & (lanes - 1)), thread >> lane_bits};
    }

    LOWLIGHT_METHOD int64_t pixels_of(int64_t chunk, int64_t inner) const {
        int64_t rest = inner - chunk * chunk_pixels;
        return rest < chunk_pixels ? rest : chunk_pixels;
    }
};

}  // namespace lowlight
