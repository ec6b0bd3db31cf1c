// Poisson counts of a piece of a row
#pragma once

#include "source_line.h"

namespace lowlight {
namespace LOWLIGHT_CPU_LEVEL {

// counts of pixels x .. x + n - 1 (n <= kBlock) of a row to `out`; the counts of what is no mean (NaN, below 0, above
// kMostMean) are NaN, and their number is returned. A function of its own: it is long, and each loop calls it once.
int64_t poisson_line(NoiseLine line, int64_t x, int64_t n, const float* mean, float* out);

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
