// Winograd's conv3x3 around its products: tiles of a picture -> points, sums of products -> tiles of the result.
// Templates on T, what pictures are stored in and the points are, and At, where they lie.
#pragma once

#include "../core/winograd.h"
#include "winograd_products.h"

namespace lowlight {
namespace LOWLIGHT_CPU_LEVEL {

constexpr int64_t kSide = 6, kTile = 4, kPoints = kSide * kSide;
constexpr int64_t kBlockBytes = 300000;
// from one point of all tiles to the next, beyond their numbers: or all 36 lie in the same lines of the cache
template <class T>
constexpr int64_t kGap = 64 / sizeof(T);

LOWLIGHT_FN int64_t inside(int64_t i, int64_t size, bool reflect) {
    if (i >= 0 && i < size) return i;
    if (!reflect) return -1;
    i = i < 0 ? -i : 2 * size - 2 - i;
    // what lies further out than a pixel is of outputs that nobody writes
    return i < 0 || i >= size ? -1 : i;
}

// channels that a vector begins with, the last one too: it may share some with the one before
LOWLIGHT_FN int64_t lane_at(int64_t c, int64_t channels) {
    return c + kWidth <= channels ? c : channels - kWidth;
}

// every dilation-th pixel of a picture, from one of the first on: on such a grid the convolution is an ordinary one
struct Grid {
    int64_t height, width, first, row, pixel, across, tiles;

    Grid(const WinogradArguments& a, int64_t number) {
        int64_t y = number / a.dilation, x = number % a.dilation;
        height = (a.height - y + a.dilation - 1) / a.dilation, width = (a.width - x + a.dilation - 1) / a.dilation;
        first = y * a.width + x, row = a.dilation * a.width, pixel = a.dilation;
        across = (width + kTile - 1) / kTile, tiles = (height + kTile - 1) / kTile * across;
    }
};

// a picture [height, width, channels] that is read, and what is read beyond its edge
template <class T>
struct Source {
    const T *values, *zeros;
    int64_t channels;
};

// where the pixels of a tile's rows or columns lie, from coordinate `first` of the grid on, in steps of `step`; -1:
// beyond the edge. twice: each is there for two coordinates
LOWLIGHT_FN void places(int64_t to[kSide], int64_t first, int64_t size, int64_t step, const WinogradArguments& a) {
    for (int64_t i = 0; i < kSide; ++i) {
        int64_t at = inside(first + i, size, a.reflect);
        to[i] = at < 0 ? at : (a.twice ? at / 2 : at) * step;
    }
}

// tile `at` of a grid of x -> its 36 points, `step` apart
template <class At, class T>
static void take(const WinogradArguments& a, const Grid& grid, const Source<T>& x, int64_t at, T* to, int64_t step) {
    int64_t down[kSide], right[kSide];
    places(down, at / grid.across * kTile - 1, grid.height, a.twice ? a.width / 2 : grid.row, a);
    places(right, at % grid.across * kTile - 1, grid.width, grid.pixel, a);
    const T* from[kSide][kSide];
    for (int64_t i = 0; i < kSide; ++i)
        for (int64_t j = 0; j < kSide; ++j)
            from[i][j] =
                down[i] < 0 || right[j] < 0 ? x.zeros : x.values + (grid.first + down[i] + right[j]) * x.channels;
    int64_t ahead = kTile * grid.pixel * x.channels;
    for (int64_t next = 0; next < x.channels; next += kWidth) {
        Register rows[kSide][kSide], column[kSide], out[kSide];
        int64_t c = lane_at(next, x.channels);
        for (int64_t j = 0; j < kSide; ++j) {
            for (int64_t i = 0; i < kSide; ++i) {
                get(column[i], from[i][j] + c);
                // what the next tile sees first
                if (i > 1 && j > 1) prefetch(from[i][j] + c + ahead, kWidth);
            }
            winograd_input<At>(column, out);
            for (int64_t i = 0; i < kSide; ++i) rows[i][j] = out[i];
        }
        for (int64_t i = 0; i < kSide; ++i) {
            winograd_input<At>(rows[i], out);
            for (int64_t j = 0; j < kSide; ++j) put(to + (i * kSide + j) * step + c, out[j]);
        }
    }
}

// what becomes of a convolution's channels on their way out
struct Finish {
    Register scale, bias;
    float slope;

    Finish(const WinogradArguments& a, int64_t sample, int64_t channel) : slope(float(a.slope)) {
        int64_t at = sample * a.step + channel;
        scale = Register{} + 1.0f;
        if (a.scale) get(scale, static_cast<const float*>(a.scale) + at);
        get(bias, static_cast<const float*>(a.bias) + at);
    }
    LOWLIGHT_METHOD void operator()(Register& v, const Register& plus) const {
        v = v * scale + bias + plus;
        v = v > 0.0f ? v : v * slope;
    }
};

// 36 points [.., kPanel], `step` apart -> channels from `first` on of tile `at` of a grid of out
template <class At, class T>
static void give(const WinogradArguments& a, const Grid& grid, const float* from, int64_t step, int64_t sample,
                 int64_t at, int64_t first) {
    int64_t y = at / grid.across * kTile, x = at % grid.across * kTile;
    int64_t high = grid.height - y < kTile ? grid.height - y : kTile;
    int64_t wide = grid.width - x < kTile ? grid.width - x : kTile;
    int64_t start = sample * a.height * a.width + grid.first + y * grid.row + x * grid.pixel;
    int64_t channels = a.out_channels - first < kPanel ? a.out_channels - first : kPanel;
    for (int64_t next = 0; next < channels; next += kWidth) {
        Register rows[kTile][kSide], column[kSide], made[kTile];
        int64_t c = lane_at(next, channels);
        Finish finish(a, sample, first + c);
        for (int64_t j = 0; j < kSide; ++j) {
            for (int64_t i = 0; i < kSide; ++i) get(column[i], from + (i * kSide + j) * step + c);
            winograd_output<At>(column, made);
            for (int64_t i = 0; i < kTile; ++i) rows[i][j] = made[i];
        }
        for (int64_t i = 0; i < high; ++i) {
            winograd_output<At>(rows[i], made);
            int64_t to = (start + i * grid.row) * a.out_channels + first + c, pixel = grid.pixel * a.out_channels;
            for (int64_t j = 0; j < wide; ++j, to += pixel) {
                Register plus = {};
                if (a.plus) get(plus, static_cast<const T*>(a.plus) + to);
                finish(made[j], plus);
                put(static_cast<T*>(a.out) + to, made[j]);
            }
        }
    }
}

// tiles of a block: so many that their points and sums stay in the second-level cache, and that every thread has some
template <class T>
static int64_t block_of(int64_t width, int64_t tiles) {
    int64_t bytes = kPoints * (int64_t(sizeof(T)) * width + int64_t(sizeof(float)) * kPanel);
    int64_t most = kBlockBytes / bytes, share = share_of(tiles, threads());
    // less is too little for the weights' way
    most = most < 2 * kGroup ? 2 * kGroup : most;
    int64_t groups = share_of(smaller(share, most), kGroup);
    return kGroup * (groups < 1 ? 1 : groups);
}

// see TwicePoints
LOWLIGHT_FN bool vanishes(const WinogradArguments& a, int64_t point) {
    return a.twice && (point / kSide == 2 || point % kSide == 2);
}

// the whole convolution at these points: a block of tiles goes through its 36 matrix products while its points lie in
// the second-level cache
template <class At, class T>
static void winograd_at(const WinogradArguments& a) {
    // the first grid has the most tiles
    int64_t grids = a.dilation * a.dilation, most = Grid(a, 0).tiles, channels = a.channels + a.beside_channels;
    int64_t width = (channels + kWidth - 1) / kWidth * kWidth, pixels = a.height * a.width / (a.twice ? 4 : 1);
    int64_t block = block_of<T>(width, a.batch * grids * most), blocks = share_of(most, block);
    int64_t panels = share_of(a.out_channels, kPanel), items = a.batch * grids * blocks;
    // of a small map, whose weights are what takes long, every thread does some of the results' channels
    int64_t parts = smaller(share_of(threads(), items > 0 ? items : 1), panels);
    int64_t step = block * width + kGap<T>, sum_step = block * kPanel + kGap<float>;
    LOWLIGHT_PRAGMA(omp parallel if (items * parts > 1)) {
        Scratch<T> points(kPoints * step);
        Scratch<float> sums(kPoints * sum_step);
        Scratch<T> zeros(width);
        memset(zeros.values, 0, width * sizeof(T));
        if (a.twice) memset(sums.values, 0, kPoints * sum_step * sizeof(float));
        LOWLIGHT_PRAGMA(omp for schedule(dynamic))
        for (int64_t task = 0; task < items * parts; ++task) {
            int64_t item = task / parts, part = task % parts;
            Grid grid(a, item / blocks % grids);
            int64_t sample = item / blocks / grids, first = item % blocks * block;
            int64_t n = smaller(grid.tiles - first, block), whole = share_of(n, kFew) * kFew;
            // a grid of fewer tiles than the first may end before the last block begins
            if (n <= 0) continue;
            Source<T> x{static_cast<const T*>(a.x) + sample * pixels * a.channels, zeros.values, a.channels};
            Source<T> beside{static_cast<const T*>(a.beside) + sample * pixels * a.beside_channels, zeros.values,
                             a.beside_channels};
            for (int64_t i = 0; i < n; ++i) {
                take<At>(a, grid, x, first + i, points.values + i * width, step);
                if (a.beside) take<At>(a, grid, beside, first + i, points.values + i * width + a.channels, step);
            }
            for (int64_t k = 0; k < kPoints && n < whole; ++k)
                memset(points.values + k * step + n * width, 0, (whole - n) * width * sizeof(T));
            for (int64_t panel = part * panels / parts; panel < (part + 1) * panels / parts; ++panel) {
                const T* weight = static_cast<const T*>(a.weight) + panel * kPoints * channels * kPanel;
                for (int64_t k = 0; k < kPoints; ++k)
                    if (!vanishes(a, k))
                        products(sums.values + k * sum_step, points.values + k * step, weight + k * channels * kPanel,
                                 whole, channels, width);
                for (int64_t i = 0; i < n; ++i)
                    give<At, T>(a, grid, sums.values + i * kPanel, sum_step, sample, first + i, panel * kPanel);
            }
        }
    }
}

template <class T>
static void winograd(const WinogradArguments& a) {
    a.twice ? winograd_at<TwicePoints, T>(a) : winograd_at<BalancedPoints, T>(a);
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
