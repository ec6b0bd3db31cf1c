// the NAF block in float32
#include "naf_block.h"

namespace lowlight {
LOWLIGHT_DECLARE_LEVEL(LOWLIGHT_CPU_LEVEL)
namespace LOWLIGHT_CPU_LEVEL {

void naf_block_cpu(const NafArguments& a) {
    naf_block<float>(a);
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
