// conv3x3 by Winograd: a block of tiles goes through its 36 matrix products while its points lie in the second-level
// cache
#include "../core/winograd.h"

#include "sums.h"

namespace lowlight {
LOWLIGHT_DECLARE_LEVEL(LOWLIGHT_CPU_LEVEL)
namespace LOWLIGHT_CPU_LEVEL {

using Lane = Lanes<float>::type;
// what one instruction multiplies, and rows of a product whose sums the registers hold
#if defined(__AVX512F__)
using Register = Lane;
constexpr int64_t kRows = 12;
#elif defined(__AVX2__)
typedef float Register __attribute__((vector_size(32)));
constexpr int64_t kRows = 6;
#else
typedef float Register __attribute__((vector_size(16)));
constexpr int64_t kRows = 6;
#endif
constexpr int64_t kLane = kLanes<float>, kPanel = 2 * kLane, kWidth = sizeof(Register) / sizeof(float);
constexpr int64_t kSide = 6, kTile = 4, kPoints = kSide * kSide;
// tiles of a block: a multiple of the rows on every level
constexpr int64_t kGroup = 12;
constexpr int64_t kBlockBytes = 600000;

// to [kRows, kPanel] = from [kRows, channels] times weight [channels, kPanel]
static void products(float* to, const float* from, const float* weight, int64_t channels) {
    for (int64_t part = 0; part < kPanel; part += 2 * kWidth) {
        Register sums[kRows][2] = {};
        for (int64_t c = 0; c < channels; ++c) {
            Register left, right;
            memcpy(&left, weight + c * kPanel + part, sizeof(left));
            memcpy(&right, weight + c * kPanel + part + kWidth, sizeof(right));
#pragma GCC unroll 12
            for (int64_t row = 0; row < kRows; ++row) {
                float value = from[row * channels + c];
                sums[row][0] += left * value, sums[row][1] += right * value;
            }
        }
        for (int64_t row = 0; row < kRows; ++row) memcpy(to + row * kPanel + part, sums[row], sizeof(sums[row]));
    }
}

static int64_t inside(int64_t i, int64_t size, bool reflect) {
    if (i >= 0 && i < size) return i;
    if (!reflect) return -1;
    i = i < 0 ? -i : 2 * size - 2 - i;
    // what lies further out than a pixel is of outputs that nobody writes
    return i < 0 || i >= size ? -1 : i;
}

// tile `at` of x [height, width, channels] -> its 36 points, `step` apart
static void take(const WinogradArguments& a, const float* x, int64_t at, float* to, int64_t step) {
    int64_t across = (a.width + kTile - 1) / kTile;
    int64_t y = at / across * kTile - 1, first = at % across * kTile - 1;
    const float* from[kSide][kSide];
    for (int64_t i = 0; i < kSide; ++i) {
        int64_t row = inside(y + i, a.height, a.reflect);
        for (int64_t j = 0; j < kSide; ++j) {
            int64_t column = inside(first + j, a.width, a.reflect);
            from[i][j] = row < 0 || column < 0 ? nullptr : x + (row * a.width + column) * a.channels;
        }
    }
    for (int64_t c = 0; c < a.channels; c += kLane) {
        Lane rows[kSide][kSide], column[kSide], out[kSide];
        for (int64_t j = 0; j < kSide; ++j) {
            for (int64_t i = 0; i < kSide; ++i) {
                column[i] = Lane{};
                if (from[i][j]) memcpy(&column[i], from[i][j] + c, sizeof(Lane));
            }
            winograd_input(column, out);
            for (int64_t i = 0; i < kSide; ++i) rows[i][j] = out[i];
        }
        for (int64_t i = 0; i < kSide; ++i) {
            winograd_input(rows[i], out);
            for (int64_t j = 0; j < kSide; ++j) memcpy(to + (i * kSide + j) * step + c, &out[j], sizeof(Lane));
        }
    }
}

// 36 points [.., kPanel], `step` apart -> channels from `first` on of tile `at` of out [height, width, out_channels]
static void give(const WinogradArguments& a, const float* from, int64_t step, float* out, int64_t at, int64_t first) {
    int64_t across = (a.width + kTile - 1) / kTile, y = at / across * kTile, x = at % across * kTile;
    int64_t high = a.height - y < kTile ? a.height - y : kTile, wide = a.width - x < kTile ? a.width - x : kTile;
    for (int64_t c = 0; c < kPanel && first + c < a.out_channels; c += kLane) {
        Lane rows[kTile][kSide], column[kSide], made[kTile], bias;
        memcpy(&bias, static_cast<const float*>(a.bias) + first + c, sizeof(bias));
        for (int64_t j = 0; j < kSide; ++j) {
            for (int64_t i = 0; i < kSide; ++i) memcpy(&column[i], from + (i * kSide + j) * step + c, sizeof(Lane));
            winograd_output(column, made);
            for (int64_t i = 0; i < kTile; ++i) rows[i][j] = made[i];
        }
        for (int64_t i = 0; i < high; ++i) {
            winograd_output(rows[i], made);
            float* to = out + ((y + i) * a.width + x) * a.out_channels + first + c;
            for (int64_t j = 0; j < wide; ++j) {
                made[j] += bias;
                memcpy(to + j * a.out_channels, &made[j], sizeof(Lane));
            }
        }
    }
}

// tiles of a block: so many that their points stay in the second-level cache, and that every thread has some
static int64_t block_of(int64_t channels, int64_t tiles) {
    int64_t most = kBlockBytes / (4 * kPoints * channels), share = (tiles + threads() - 1) / threads();
    int64_t groups = ((share < most ? share : most) + kGroup - 1) / kGroup;
    return kGroup * (groups < 1 ? 1 : groups);
}

void winograd_cpu(const WinogradArguments& a) {
    int64_t tiles = ((a.height + kTile - 1) / kTile) * ((a.width + kTile - 1) / kTile);
    int64_t block = block_of(a.channels, a.batch * tiles), blocks = (tiles + block - 1) / block;
    int64_t panels = (a.out_channels + kPanel - 1) / kPanel;
    LOWLIGHT_PRAGMA(omp parallel if (a.batch * blocks > 1)) {
        Scratch<float> points(kPoints * block * a.channels), sums(kPoints * block * kPanel);
        memset(points.values, 0, kPoints * block * a.channels * sizeof(float));
        LOWLIGHT_PRAGMA(omp for schedule(dynamic))
        for (int64_t item = 0; item < a.batch * blocks; ++item) {
            const float* x = static_cast<const float*>(a.x) + item / blocks * a.height * a.width * a.channels;
            float* out = static_cast<float*>(a.out) + item / blocks * a.height * a.width * a.out_channels;
            int64_t first = item % blocks * block, n = tiles - first < block ? tiles - first : block;
            for (int64_t i = 0; i < n; ++i) take(a, x, first + i, points.values + i * a.channels, block * a.channels);
            for (int64_t panel = 0; panel < panels; ++panel) {
                const float* weight = static_cast<const float*>(a.weight) + panel * kPoints * a.channels * kPanel;
                for (int64_t k = 0; k < kPoints; ++k)
                    for (int64_t i = 0; i < n; i += kRows)
                        products(sums.values + (k * block + i) * kPanel, points.values + (k * block + i) * a.channels,
                                 weight + k * a.channels * kPanel, a.channels);
                for (int64_t i = 0; i < n; ++i)
                    give(a, sums.values + i * kPanel, block * kPanel, out, first + i, panel * kPanel);
            }
        }
    }
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
