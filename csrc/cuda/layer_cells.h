// how a layer norm over channels is spread over threads: pixels as they lie in memory, and the channels of a pixel over
// several threads, which keep them in registers from the first sum to the result where they are not too many
#pragma once

#include "crew.h"

namespace lowlight {

// A cell is what a thread's vector holds: the same channel of kVector pixels, or kVector channels of one pixel where
// the channels come last. A unit is one channel, or kVector of them.
template <class T, bool kAligned, bool kLast>
struct LayerCells {
    using R = Real<T>;
    using G = Vector<T, kAligned>;
    // pixels of a cell
    static constexpr int kPixels = kLast ? 1 : kVector<T>;
    int64_t batch, channels, inner, units, per_sample, cells, items;
    int threads, lanes, bits;  // lanes: threads that share a cell's units; bits of those, or of the cells of a block

    LayerCells(int64_t batch, int64_t channels, int64_t inner, int threads)
        : batch(batch), channels(channels), inner(inner), threads(threads) {
        units = kLast ? ceil_divide(channels, kVector<T>) : channels;
        per_sample = kLast ? inner : ceil_divide(inner, kVector<T>);
        cells = batch * per_sample;
        // four neighbours at least read what lies together
        lanes =
            kLast ? power_of_two(ceil_divide(units, 4), 1, kWarp) : power_of_two(ceil_divide(units, kSlots<T>), 1, 64);
        bits = bits_below(kLast ? lanes : threads / lanes);
        items = ceil_divide(cells, threads / lanes);
    }

    // whether a thread has a slot for each of its units
    bool fits() const { return units <= int64_t(lanes) * kSlots<T>; }

    // the bits of a thread's number in which those of a cell differ
    LOWLIGHT_METHOD int low() const { return kLast ? 1 : threads / lanes; }
    LOWLIGHT_METHOD int high() const { return kLast ? lanes : threads; }
    LOWLIGHT_METHOD int lane(int thread) const { return kLast ? thread & ((1 << bits) - 1) : thread >> bits; }
    LOWLIGHT_METHOD int64_t cell(int64_t item, int thread) const {
        return item * (threads / lanes) + (kLast ? thread >> bits : thread & ((1 << bits) - 1));
    }

    // where a thread begins, formed once for all visits: it divides
    struct Start {
        int64_t at, units;  // its first element; units from the thread's first on, none beyond the last cell
        int unit, end;
    };
    LOWLIGHT_METHOD Start start(int64_t item, int thread) const {
        int64_t place = cell(item, thread), sample = kLast ? 0 : place / per_sample;
        G first = kLast ? G(place, channels, 0, 0) : G(sample * channels, inner, place - sample * per_sample, 0);
        int unit = lane(thread);
        return Start{first.at + unit * next_unit(), place < cells ? units - unit : 0, unit, first.end};
    }
    LOWLIGHT_METHOD int64_t next_unit() const { return kLast ? kVector<T> : inner; }

    // the pixels of a cell in [batch, inner], where the channels do not come last
    LOWLIGHT_METHOD G pixels(int64_t cell) const {
        int64_t sample = cell / per_sample;
        return G(sample, inner, cell - sample * per_sample, 0);
    }
    // calls work(elements, unit, slot) for the units of a thread; all of them have slot 0 where none are kept
    template <bool kKept, class Work>
    LOWLIGHT_METHOD void visit(const Start& start, Work work) const {
        G of(0, 0, 0, 0);
        of.at = start.at, of.end = start.end;
        int64_t next = lanes * next_unit();
        auto one = [&](int64_t unit, int k) {
            if (kLast && !kAligned) {
                int64_t rest = channels - unit * kVector<T>;
                of.end = rest < kVector<T> ? int(rest) : kVector<T>;
            }
            work(of, unit, k);
        };
        if constexpr (kKept) {
            // so few that 32 bits suffice
            int unit = start.unit, rest = int(start.units);
            LOWLIGHT_UNROLL
            for (int k = 0; k < kSlots<T>; ++k, unit += lanes, rest -= lanes, of.at += next)
                if (rest > 0) one(unit, k);
        } else {
            for (int64_t rest = start.units; rest > 0; rest -= lanes, of.at += next) one(units - rest, 0);
        }
    }

    // index of a number of the vector among the pixels of the cell
    LOWLIGHT_METHOD static int pixel(int i) { return kLast ? 0 : i; }

    // moments of the pixels of a cell
    LOWLIGHT_METHOD void load_stats(const void* stats, int64_t item, int thread, R* mean, R* inverse) const {
        const R *means = static_cast<const R*>(stats), *inverses = means + batch * inner;
        int64_t place = cell(item, thread);
        if (place >= cells) return;
        if constexpr (kLast)
            mean[0] = means[place], inverse[0] = inverses[place];
        else
            load_group<R>(means, pixels(place), mean), load_group<R>(inverses, pixels(place), inverse);
    }
    // by the first of the threads that share it
    LOWLIGHT_METHOD void store_stats(void* stats, int64_t item, int thread, const R* mean, const R* inverse) const {
        R *means = static_cast<R*>(stats), *inverses = means + batch * inner;
        int64_t place = cell(item, thread);
        if (place >= cells || lane(thread) > 0) return;
        if constexpr (kLast)
            means[place] = mean[0], inverses[place] = inverse[0];
        else
            store_group<R>(means, pixels(place), mean), store_group<R>(inverses, pixels(place), inverse);
    }

    // weight or bias of the channels of a unit, in the places of the vector
    LOWLIGHT_METHOD void load_parameter(const void* numbers, int64_t unit, R otherwise, R* values) const {
        const R* from = static_cast<const R*>(numbers);
        if (!from || !kLast) {
            R one = from ? from[unit] : otherwise;
            for (int i = 0; i < kVector<T>; ++i) values[i] = one;
        } else {
            load_group<R>(from, G(0, channels, unit, 0), values);
        }
    }
};

}  // namespace lowlight
