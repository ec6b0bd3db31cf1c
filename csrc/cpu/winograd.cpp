// conv3x3 by Winograd in float32
#include "winograd_tiles.h"

namespace lowlight {
LOWLIGHT_DECLARE_LEVEL(LOWLIGHT_CPU_LEVEL)
namespace LOWLIGHT_CPU_LEVEL {

void winograd_cpu(const WinogradArguments& a) {
    winograd<float>(a);
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
