// Winograd's conv3x3 around its products: tiles of a picture -> points, sums of products -> tiles of the result.
// Templates on T, what pictures are stored in, and P, what the points are.
#pragma once

#include "../core/winograd.h"
#include "sums.h"

namespace lowlight {
namespace LOWLIGHT_CPU_LEVEL {

using Lane = Lanes<float>::type;
constexpr int64_t kLane = kLanes<float>, kPanel = 2 * kLane;
constexpr int64_t kSide = 6, kTile = 4, kPoints = kSide * kSide;
// tiles of a block: a multiple of the rows of a product on every level
constexpr int64_t kGroup = 12;
constexpr int64_t kBlockBytes = 600000;

LOWLIGHT_FN void put(float* to, const Lane& v) {
    memcpy(to, &v, sizeof(Lane));
}

LOWLIGHT_FN int64_t inside(int64_t i, int64_t size, bool reflect) {
    if (i >= 0 && i < size) return i;
    if (!reflect) return -1;
    i = i < 0 ? -i : 2 * size - 2 - i;
    // what lies further out than a pixel is of outputs that nobody writes
    return i < 0 || i >= size ? -1 : i;
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

// tile `at` of a grid of x [height, width, channels] -> its 36 points, `step` apart
template <class T, class P>
static void take(const WinogradArguments& a, const Grid& grid, const T* x, int64_t at, P* to, int64_t step) {
    int64_t y = at / grid.across * kTile - 1, first = at % grid.across * kTile - 1;
    const T* from[kSide][kSide];
    for (int64_t i = 0; i < kSide; ++i) {
        int64_t row = inside(y + i, grid.height, a.reflect);
        for (int64_t j = 0; j < kSide; ++j) {
            int64_t column = inside(first + j, grid.width, a.reflect);
            from[i][j] =
                row < 0 || column < 0 ? nullptr : x + (grid.first + row * grid.row + column * grid.pixel) * a.channels;
        }
    }
    for (int64_t c = 0; c < a.channels; c += kLane) {
        Lane rows[kSide][kSide], column[kSide], out[kSide];
        for (int64_t j = 0; j < kSide; ++j) {
            for (int64_t i = 0; i < kSide; ++i) {
                column[i] = Lane{};
                if (from[i][j]) get(column[i], from[i][j] + c);
            }
            winograd_input(column, out);
            for (int64_t i = 0; i < kSide; ++i) rows[i][j] = out[i];
        }
        for (int64_t i = 0; i < kSide; ++i) {
            winograd_input(rows[i], out);
            for (int64_t j = 0; j < kSide; ++j) put(to + (i * kSide + j) * step + c, out[j]);
        }
    }
}

// 36 points [.., kPanel], `step` apart -> channels from `first` on of tile `at` of a grid of out
template <class T>
static void give(const WinogradArguments& a, const Grid& grid, const float* from, int64_t step, T* out, int64_t at,
                 int64_t first) {
    int64_t y = at / grid.across * kTile, x = at % grid.across * kTile;
    int64_t high = grid.height - y < kTile ? grid.height - y : kTile;
    int64_t wide = grid.width - x < kTile ? grid.width - x : kTile;
    for (int64_t c = 0; c < kPanel && first + c < a.out_channels; c += kLane) {
        Lane rows[kTile][kSide], column[kSide], made[kTile], bias;
        get(bias, static_cast<const T*>(a.bias) + first + c);
        for (int64_t j = 0; j < kSide; ++j) {
            for (int64_t i = 0; i < kSide; ++i) get(column[i], from + (i * kSide + j) * step + c);
            winograd_output(column, made);
            for (int64_t i = 0; i < kTile; ++i) rows[i][j] = made[i];
        }
        for (int64_t i = 0; i < high; ++i) {
            winograd_output(rows[i], made);
            T* to = out + (grid.first + (y + i) * grid.row + x * grid.pixel) * a.out_channels + first + c;
            for (int64_t j = 0; j < wide; ++j) put(to + j * grid.pixel * a.out_channels, made[j] + bias);
        }
    }
}

// tiles of a block: so many that their points stay in the second-level cache, and that every thread has some
template <class P>
static int64_t block_of(int64_t channels, int64_t tiles) {
    int64_t most = kBlockBytes / (int64_t(sizeof(P)) * kPoints * channels), share = (tiles + threads() - 1) / threads();
    int64_t groups = ((share < most ? share : most) + kGroup - 1) / kGroup;
    return kGroup * (groups < 1 ? 1 : groups);
}

// the whole convolution: a block of tiles goes through its 36 matrix products while its points lie in the second-level
// cache. products(to, from, weight, channels): to [rows, kPanel] = from [rows, channels] times weight [channels,
// kPanel]; rows divides kGroup.
template <class T, class P, class Products>
static void winograd(const WinogradArguments& a, int64_t rows, Products products) {
    // the first grid has the most tiles
    int64_t grids = a.dilation * a.dilation, most = Grid(a, 0).tiles;
    int64_t block = block_of<P>(a.channels, a.batch * grids * most), blocks = (most + block - 1) / block;
    int64_t panels = (a.out_channels + kPanel - 1) / kPanel, items = a.batch * grids * blocks;
    LOWLIGHT_PRAGMA(omp parallel if (items > 1)) {
        Scratch<P> points(kPoints * block * a.channels);
        Scratch<float> sums(kPoints * block * kPanel);
        memset(points.values, 0, kPoints * block * a.channels * sizeof(P));
        LOWLIGHT_PRAGMA(omp for schedule(dynamic))
        for (int64_t item = 0; item < items; ++item) {
            Grid grid(a, item / blocks % grids);
            int64_t sample = item / blocks / grids * a.height * a.width, first = item % blocks * block;
            const T* x = static_cast<const T*>(a.x) + sample * a.channels;
            T* out = static_cast<T*>(a.out) + sample * a.out_channels;
            int64_t n = grid.tiles - first < block ? grid.tiles - first : block;
            for (int64_t i = 0; i < n; ++i)
                take(a, grid, x, first + i, points.values + i * a.channels, block * a.channels);
            for (int64_t panel = 0; panel < panels; ++panel) {
                const P* weight = static_cast<const P*>(a.weight) + panel * kPoints * a.channels * kPanel;
                for (int64_t k = 0; k < kPoints; ++k)
                    for (int64_t i = 0; i < n; i += rows)
                        products(sums.values + (k * block + i) * kPanel, points.values + (k * block + i) * a.channels,
                                 weight + k * a.channels * kPanel, a.channels);
                for (int64_t i = 0; i < n; ++i)
                    give(a, grid, sums.values + i * kPanel, block * kPanel, out, first + i, panel * kPanel);
            }
        }
    }
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
