// which words of Philox belong to whom: an operator that needs more than one word a pixel takes further counters
#pragma once

#include "noise.h"

namespace lowlight {

// source 0 of attempt 0 is the stream itself, which `normal` and `uniform` draw from
enum NoiseSourceNumber : uint32_t {
    kPoissonFirst = 1,   // inversion, and the proposal of the rejection
    kPoissonSecond = 2,  // the rejection's decision
    kQuantisation = 3,   // u
    kSignalNormal = 4,   // p
    kRowNormal = 5,      // r
    kReadNormal = 6,     // g
    kReadTukey = 7,      // G, and tukey_lambda
};

// counter word 3
LOWLIGHT_FN uint32_t stream_word(uint32_t stream, uint32_t attempt, uint32_t source) {
    return stream + ((16u * attempt + source) << 16);
}

// the same line with the words of another source
LOWLIGHT_FN NoiseLine source_line(NoiseLine line, uint32_t source) {
    line.stream = stream_word(line.stream, 0, source);
    return line;
}

}  // namespace lowlight
