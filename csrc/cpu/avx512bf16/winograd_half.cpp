// conv3x3 by Winograd in bfloat16, with the instructions of AVX512-BF16: points and weights rounded, sums in float32
#include "../winograd_tiles.h"
#include "short.h"

namespace lowlight {
namespace LOWLIGHT_CPU_LEVEL {

void winograd_half_cpu(const WinogradArguments& a) {
    winograd<Short>(a);
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
