// all levels of a Haar transform in one pass: a strip of 2^levels rows at a time, the LL bands between the levels
// stay in a buffer of the thread
#include "../core/haar.h"

#include "blocks.h"

namespace lowlight {
LOWLIGHT_DECLARE_LEVEL(LOWLIGHT_CPU_LEVEL)
namespace LOWLIGHT_CPU_LEVEL {

// columns of a band treated at once: short bursts on each of the six streams (measured; 512 takes twice as long)
constexpr int64_t kColumns = 64;

// two rows of 2n pixels -> n columns of the four bands
template <class T>
static void forward_rows(const T* even, const T* odd, T* const (&bands)[4], int64_t n, bool affine,
                         const bool (&stream)[4]) {
    using R = Real<T>;
    alignas(64) R upper[2 * kColumns], lower[2 * kColumns], values[4][kColumns];
    for (int64_t x = 0; x < n; x += kColumns) {
        int64_t columns = n - x < kColumns ? n - x : kColumns;
        // the next pair of rows: two streams 4 KiB apart are more than the hardware foresees
        prefetch(even + 4 * n + 2 * x, 2 * columns), prefetch(odd + 4 * n + 2 * x, 2 * columns);
        const R *up = load(even + 2 * x, upper, 2 * columns), *low = load(odd + 2 * x, lower, 2 * columns);
        if (affine) {
            for (int64_t i = 0; i < 2 * columns; ++i) upper[i] = normalised(up[i]), lower[i] = normalised(low[i]);
            up = upper, low = lower;
        }
        for (int64_t i = 0; i < columns; ++i) {
            Bands<R> b = haar_forward(Square<R>{up[2 * i], up[2 * i + 1], low[2 * i], low[2 * i + 1]});
            values[0][i] = b.ll, values[1][i] = b.hl, values[2][i] = b.lh, values[3][i] = b.hh;
        }
        for (int k = 0; k < 4; ++k) store(bands[k] + x, values[k], columns, stream[k]);
    }
}

// n columns of the four bands -> two rows of 2n pixels
template <class T>
static void inverse_rows(const T* const (&bands)[4], T* even, T* odd, int64_t n, bool affine, bool stream) {
    using R = Real<T>;
    alignas(64) R upper[2 * kColumns], lower[2 * kColumns], values[4][kColumns];
    for (int64_t x = 0; x < n; x += kColumns) {
        int64_t columns = n - x < kColumns ? n - x : kColumns;
        const R* b[4];
        for (int k = 0; k < 4; ++k) b[k] = load(bands[k] + x, values[k], columns);
        for (int64_t i = 0; i < columns; ++i) {
            Square<R> v = haar_inverse(Bands<R>{b[0][i], b[1][i], b[2][i], b[3][i]});
            upper[2 * i] = v.even_left, upper[2 * i + 1] = v.even_right;
            lower[2 * i] = v.odd_left, lower[2 * i + 1] = v.odd_right;
        }
        if (affine)
            for (int64_t i = 0; i < 2 * columns; ++i)
                upper[i] = denormalised(upper[i]), lower[i] = denormalised(lower[i]);
        store(even + 2 * x, upper, 2 * columns, stream);
        store(odd + 2 * x, lower, 2 * columns, stream);
    }
}

// where the rows of one plane lie, level by level
template <class T>
struct Strip {
    const HaarArguments& a;
    int64_t plane, strip;
    T* between;  // LL rows of levels 1 .. levels - 1 of this strip, one level after the other

    int64_t width(int level) const { return a.width >> level; }
    // row `row` of this strip's LL at `level` (0: the image)
    T* ll(int level, int64_t row) const {
        int64_t index = (strip << (a.levels - level)) + row;
        if (level == 0) return static_cast<T*>(a.image) + (plane * a.height + index) * a.width;
        if (level == a.levels) return static_cast<T*>(a.ll) + (plane * (a.height >> level) + index) * width(level);
        T* start = between;
        for (int l = 1; l < level; ++l) start += width(l) << (a.levels - l);
        return start + row * width(level);
    }
    T* detail(int level, int band, int64_t row) const {
        int64_t height = a.height >> level, index = (strip << (a.levels - level)) + row;
        return static_cast<T*>(a.details[level - 1]) + ((band * a.planes + plane) * height + index) * width(level);
    }
};

static int64_t between_elements(const HaarArguments& a) {
    int64_t count = 1;
    for (int l = 1; l < a.levels; ++l) count += (a.width >> l) << (a.levels - l);
    return count;
}

template <class T, bool kForward>
static void transform(const HaarArguments& a) {
    int64_t strips = a.height >> a.levels, items = a.planes * strips, elements = a.planes * a.height * a.width;
    bool large = elements * int64_t(sizeof(T)) >= kStreamBytes;
    int64_t share = 1 + kShare / ((a.width << a.levels) + 1);
    LOWLIGHT_PRAGMA(omp parallel if (elements > kGrain)) {
        Scratch<T> between(between_elements(a));
        LOWLIGHT_PRAGMA(omp for schedule(dynamic, share))
        for (int64_t item = 0; item < items; ++item) {
            Strip<T> s{a, item / strips, item % strips, between.values};
            for (int step = 0; step < a.levels; ++step) {
                int level = kForward ? step + 1 : a.levels - step;
                for (int64_t row = 0; row < int64_t(1) << (a.levels - level); ++row) {
                    T* even = s.ll(level - 1, 2 * row);
                    T* odd = s.ll(level - 1, 2 * row + 1);
                    T* bands[4] = {s.ll(level, row), s.detail(level, 0, row), s.detail(level, 1, row),
                                   s.detail(level, 2, row)};
                    bool affine = a.affine && level == 1;
                    if (kForward) {
                        bool stream[4] = {large && level == a.levels, large, large, large};
                        forward_rows<T>(even, odd, bands, s.width(level), affine, stream);
                    } else {
                        const T* inputs[4] = {bands[0], bands[1], bands[2], bands[3]};
                        inverse_rows<T>(inputs, even, odd, s.width(level), affine, large && level == 1);
                    }
                }
            }
        }
        if (large) stream_fence();
    }
}

void haar_forward_cpu(const HaarArguments& a) {
    dispatch(a.dtype, [&](auto tag) { transform<decltype(tag), true>(a); });
}

void haar_inverse_cpu(const HaarArguments& a) {
    dispatch(a.dtype, [&](auto tag) { transform<decltype(tag), false>(a); });
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
