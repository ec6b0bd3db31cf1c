// what one thread does for a level of the Haar transform: two rows of pixels <-> a group of columns of four bands
#pragma once

#include "../core/haar.h"
#include "grid.h"

namespace lowlight {

template <class T, class G, bool kForward>
struct HaarBody {
    using R = Real<T>;
    struct Shared {};
    HaarArguments a;
    int64_t planes, lines, groups;

    HaarBody(const HaarArguments& a)
        : a(a), planes(a.planes), lines(a.height / 2), groups((a.width / 2 + G::kPixels - 1) / G::kPixels) {}

    LOWLIGHT_METHOD Shared prepare(int64_t) const { return Shared{}; }

    LOWLIGHT_METHOD void operator()(const Shared&, int64_t plane, int64_t line, int64_t index) const {
        int64_t columns = a.width / 2, row = plane * lines + line, band = planes * lines;
        G ll(row, columns, index, 0);
        G details[3] = {G(row, columns, index, 0), G(band + row, columns, index, 0),
                        G(2 * band + row, columns, index, 0)};
        // groups 2 index and 2 index + 1 of the image rows; of a narrow one-column group, pixels 2 index, 2 index + 1
        G even[2] = {G(2 * row, a.width, 2 * index, 0), G(2 * row, a.width, 2 * index + 1, 0)};
        G odd[2] = {G(2 * row + 1, a.width, 2 * index, 0), G(2 * row + 1, a.width, 2 * index + 1, 0)};
        R upper[2 * G::kPixels], lower[2 * G::kPixels], b[4][G::kPixels];
        if (kForward) {
            for (int side = 0; side < 2; ++side) {
                load_group<T>(a.image, even[side], upper + side * G::kPixels);
                load_group<T>(a.image, odd[side], lower + side * G::kPixels);
            }
            if (a.affine)
                for (int i = 0; i < 2 * G::kPixels; ++i)
                    upper[i] = normalised(upper[i]), lower[i] = normalised(lower[i]);
            for (int i = 0; i < G::kPixels; ++i) {
                Bands<R> v = haar_forward(Square<R>{upper[2 * i], upper[2 * i + 1], lower[2 * i], lower[2 * i + 1]});
                b[0][i] = v.ll, b[1][i] = v.hl, b[2][i] = v.lh, b[3][i] = v.hh;
            }
            store_group<T>(a.ll, ll, b[0]);
            for (int k = 0; k < 3; ++k) store_group<T>(a.details.finest, details[k], b[k + 1]);
        } else {
            load_group<T>(a.ll, ll, b[0]);
            for (int k = 0; k < 3; ++k) load_group<T>(a.details.finest, details[k], b[k + 1]);
            for (int i = 0; i < G::kPixels; ++i) {
                Square<R> v = haar_inverse(Bands<R>{b[0][i], b[1][i], b[2][i], b[3][i]});
                upper[2 * i] = v.even_left, upper[2 * i + 1] = v.even_right;
                lower[2 * i] = v.odd_left, lower[2 * i + 1] = v.odd_right;
            }
            if (a.affine)
                for (int i = 0; i < 2 * G::kPixels; ++i)
                    upper[i] = denormalised(upper[i]), lower[i] = denormalised(lower[i]);
            for (int side = 0; side < 2; ++side) {
                store_group<T>(a.image, even[side], upper + side * G::kPixels);
                store_group<T>(a.image, odd[side], lower + side * G::kPixels);
            }
        }
    }
};

template <bool kForward, class Runner>
const char* run_haar(const HaarArguments& a, Runner runner) {
    return with_type(a.dtype, [&](auto tag) {
        using T = decltype(tag);
        uintptr_t misaligned = misalignment(a.image, a.ll, a.details.finest);
        return with_groups<T, 1>(a.width / 2, 0, misaligned, [&](auto group) {
            return run_body(HaarBody<T, decltype(group), kForward>(a), runner);
        });
    });
}

template <class Runner>
const char* run_haar_forward(const HaarArguments& a, Runner runner) {
    return run_haar<true>(a, runner);
}
template <class Runner>
const char* run_haar_inverse(const HaarArguments& a, Runner runner) {
    return run_haar<false>(a, runner);
}

}  // namespace lowlight
