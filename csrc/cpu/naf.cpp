// NAFNet in float32
#include "naf_block.h"
#include "naf_scale.h"

namespace lowlight {
LOWLIGHT_DECLARE_LEVEL(LOWLIGHT_CPU_LEVEL)
namespace LOWLIGHT_CPU_LEVEL {

void naf_block_cpu(const NafArguments& a) {
    naf_block<float>(a);
}
void naf_down_cpu(const NafScaleArguments& a) {
    naf_scale<float, false>(a);
}
void naf_up_cpu(const NafScaleArguments& a) {
    naf_scale<float, true>(a);
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
