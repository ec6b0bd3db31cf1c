// Poisson counts of a piece of a row
#pragma once

#include "source_line.h"

namespace lowlight {
namespace LOWLIGHT_CPU_LEVEL {

// whole groups of registers are written
constexpr int64_t kPadded = kBlock + 64;

// counts of pixels x .. x + n - 1 (n <= kBlock) of a row to counts [kPadded]; the counts of what is no mean (NaN, below
// 0, above kMostMean) are NaN, and their number is returned. A function of its own: it is long.
int64_t poisson_line(NoiseLine line, int64_t x, int64_t n, const float* mean, float* counts);

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
