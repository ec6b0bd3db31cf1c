// sums in lanes of 64 bytes, whatever the level: the order of additions is the same everywhere
#pragma once

#include "registers.h"

namespace lowlight {
namespace LOWLIGHT_CPU_LEVEL {

template <class R>
constexpr int64_t kLanes = 64 / sizeof(R);
template <class R>
constexpr int64_t kQuarter = 16 / sizeof(R);

template <class R>
struct Pair {
    R first, second;
};

// the sum of lanes
template <class R>
LOWLIGHT_FN R across(const R* lanes) {
    typedef R Half __attribute__((vector_size(32)));
    typedef R Quarter __attribute__((vector_size(16)));
    Half low, high;
    memcpy(&low, lanes, 32), memcpy(&high, lanes + kLanes<R> / 2, 32);
    low += high;
    Quarter left, right;
    memcpy(&left, &low, 16), memcpy(&right, reinterpret_cast<const char*>(&low) + 16, 16);
    left += right;
    if (sizeof(R) == 8) return left[0] + left[1];
    return (left[0] + left[2 % kQuarter<R>]) + (left[1] + left[3 % kQuarter<R>]);
}

// the sums of first(0) .. first(n - 1) and of second; term(a, b, i) sets a and b, numbers or vectors, to those from i
// on. A register's lanes after the other's: the registers hold the sums of those.
template <class R, class Term>
LOWLIGHT_FN Pair<R> totals(int64_t n, Term term) {
    using V = typename Vector<R>::type;
    alignas(64) R first_lanes[kLanes<R>], second_lanes[kLanes<R>];
    int64_t whole = n / kLanes<R> * kLanes<R>;
    for (int64_t lane = 0; lane < kLanes<R>; lane += kWidthOf<R>) {
        V firsts[4] = {}, seconds[4] = {}, a, b;
        int64_t i = 0;
        for (; i + 4 * kLanes<R> <= n; i += 4 * kLanes<R>)
            for (int j = 0; j < 4; ++j) term(a, b, i + j * kLanes<R> + lane), firsts[j] += a, seconds[j] += b;
        for (; i < whole; i += kLanes<R>) term(a, b, i + lane), firsts[0] += a, seconds[0] += b;
        put(first_lanes + lane, (firsts[0] + firsts[1]) + (firsts[2] + firsts[3]));
        put(second_lanes + lane, (seconds[0] + seconds[1]) + (seconds[2] + seconds[3]));
    }
    R first = 0, second = 0, x, y;
    for (int64_t i = whole; i < n; ++i) term(x, y, i), first += x, second += y;
    return Pair<R>{across(first_lanes) + first, across(second_lanes) + second};
}

// the sum of term(0) .. term(n - 1), n small: one vector at a time
template <class R, class Term>
LOWLIGHT_FN R total(int64_t n, Term term) {
    using V = typename Vector<R>::type;
    alignas(64) R lanes[kLanes<R>];
    int64_t whole = n / kLanes<R> * kLanes<R>;
    for (int64_t lane = 0; lane < kLanes<R>; lane += kWidthOf<R>) {
        V sum = {}, v;
        for (int64_t i = lane; i < whole; i += kLanes<R>) term(v, i), sum += v;
        put(lanes + lane, sum);
    }
    R rest = 0, one;
    for (int64_t i = whole; i < n; ++i) term(one, i), rest += one;
    return across(lanes) + rest;
}

// firsts[w], seconds[w] for w < width (a multiple of kLanes): the sums over i < n with i % width = w;
// term(a, b, i, w) as above
template <class R, class Term>
LOWLIGHT_FN void column_totals(R* firsts, R* seconds, int64_t n, int64_t width, Term term) {
    using V = typename Vector<R>::type;
    constexpr int64_t lanes = kWidthOf<R>;
    int64_t whole = n / width * width, w = 0;
    for (; w + 4 * lanes <= width; w += 4 * lanes) {
        V a[4] = {}, b[4] = {}, x, y;
        for (int64_t i = w; i < whole; i += width)
            for (int j = 0; j < 4; ++j) term(x, y, i + j * lanes, w + j * lanes), a[j] += x, b[j] += y;
        for (int j = 0; j < 4; ++j) put(firsts + w + j * lanes, a[j]), put(seconds + w + j * lanes, b[j]);
    }
    for (; w < width; w += lanes) {
        V a = {}, b = {}, x, y;
        for (int64_t i = w; i < whole; i += width) term(x, y, i, w), a += x, b += y;
        put(firsts + w, a), put(seconds + w, b);
    }
    R x, y;
    for (int64_t i = whole; i < n; ++i) term(x, y, i, i - whole), firsts[i - whole] += x, seconds[i - whole] += y;
}

// of `n` numbers: their mean, and the sum of squared deviations from it
struct Moments {
    double n, mean, squares;
};

// Chan, Golub and LeVeque 1983
LOWLIGHT_FN Moments merged(Moments a, Moments b) {
    double n = a.n + b.n, difference = b.mean - a.mean;
    if (n == 0) return a;
    return Moments{n, a.mean + difference * (b.n / n),
                   a.squares + b.squares + difference * difference * (a.n * b.n / n)};
}

// adds n numbers, in one pass of deviations from the mean so far (at first from that of a few of them). Where the
// numbers lie far from it the squares cancel, but then this distance is most of the variance of them all: the error is
// a small multiple of the rounding of the sum itself.
template <class R>
LOWLIGHT_FN Moments with(Moments m, const R* v, int64_t n) {
    int64_t few = n < 4 * kLanes<R> ? n : 4 * kLanes<R>;
    auto plain = [&](auto& a, auto& b, int64_t i) { get(a, v + i), b = a; };
    R origin = m.n > 0 ? R(m.mean) : totals<R>(few, plain).first / R(few);
    Pair<R> sums = totals<R>(n, [&](auto& a, auto& b, int64_t i) { get(a, v + i), a -= origin, b = a * a; });
    double count = double(n), mean = double(sums.first) / count;
    double squares = double(sums.second) - double(sums.first) * mean;
    return merged(m, Moments{count, double(origin) + mean, squares > 0 || squares != squares ? squares : 0});
}

// every slab in spans: gather(slab, span, kept) of all of them, finish(slab), spread(slab, span, kept). Where there are
// slabs enough a thread has each to itself, in its cache, with room for `keep` numbers from the first pass to the
// second; else all share each, and kept is null. What is computed is the same.
template <class R, class Gather, class Finish, class Spread>
LOWLIGHT_FN void in_two_passes(int64_t slabs, int64_t spans, int64_t elements, int64_t keep, Gather gather,
                               Finish finish, Spread spread) {
    if (slabs >= threads()) {
        LOWLIGHT_PRAGMA(omp parallel if (elements > kGrain)) {
            Scratch<R> scratch(keep);
            R* kept = keep ? scratch.values : nullptr;
            LOWLIGHT_PRAGMA(omp for schedule(static))
            for (int64_t slab = 0; slab < slabs; ++slab) {
                for (int64_t span = 0; span < spans; ++span) gather(slab, span, kept);
                finish(slab);
                for (int64_t span = 0; span < spans; ++span) spread(slab, span, kept);
            }
        }
        return;
    }
    LOWLIGHT_PARALLEL(elements, slabs * spans)
    for (int64_t item = 0; item < slabs * spans; ++item) gather(item / spans, item % spans, nullptr);
    for (int64_t slab = 0; slab < slabs; ++slab) finish(slab);
    LOWLIGHT_PARALLEL(elements, slabs * spans)
    for (int64_t item = 0; item < slabs * spans; ++item) spread(item / spans, item % spans, nullptr);
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
