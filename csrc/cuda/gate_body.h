// what one thread does for simple_gate and its gradient: rows of two halves, whatever the layout
#pragma once

#include "../core/norm_arguments.h"
#include "crew.h"

namespace lowlight {

template <class T, class G, bool kForward>
struct GateBody {
    using R = Real<T>;
    struct Shared {};
    GateArguments a;
    int64_t planes, lines, groups;

    GateBody(const GateArguments& a) : a(a), planes(1), lines(a.rows), groups(ceil_divide(a.n, G::kPixels)) {}

    LOWLIGHT_METHOD Shared prepare(int64_t) const { return Shared{}; }

    LOWLIGHT_METHOD void operator()(const Shared&, int64_t, int64_t row, int64_t index) const {
        G half(row, a.n, index, 0), left(2 * row, a.n, index, 0), right(2 * row + 1, a.n, index, 0);
        R l[G::kPixels], r[G::kPixels];
        load_group<T>(a.x, left, l);
        load_group<T>(a.x, right, r);
        if constexpr (kForward) {
            for (int i = 0; i < G::kPixels; ++i) l[i] *= r[i];
            store_group<T>(a.out, half, l);
        } else {
            R g[G::kPixels];
            load_group<T>(a.grad, half, g);
            for (int i = 0; i < G::kPixels; ++i) {
                R to_left = g[i] * r[i];
                r[i] = g[i] * l[i], l[i] = to_left;
            }
            store_group<T>(a.out, left, l);
            store_group<T>(a.out, right, r);
        }
    }
};

template <bool kForward, class Runner>
const char* run_halves(const GateArguments& a, Runner runner) {
    return with_type(a.dtype, [&](auto tag) {
        using T = decltype(tag);
        return with_vectors<T>(a.n, misalignment(a.x, a.grad, a.out),
                               [&](auto group) { return run_body(GateBody<T, decltype(group), kForward>(a), runner); });
    });
}

template <class Runner>
const char* run_gate(const GateArguments& a, Runner runner) {
    return run_halves<true>(a, runner);
}
template <class Runner>
const char* run_gate_backward(const GateArguments& a, Runner runner) {
    return run_halves<false>(a, runner);
}

}  // namespace lowlight
