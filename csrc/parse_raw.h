// numbers from Python -> argument structs of the raw-space operators
#pragma once

#include "core/raw_arguments.h"
#include "parse.h"

namespace lowlight {

// address of float64 rows, 1 or 0 to step by one a sample
using Rows = std::array<int64_t, 2>;

inline PoissonArguments poisson_arguments(uintptr_t mean, uintptr_t out, int dtype, const Sizes& size,
                                          const NoiseSource& source) {
    return PoissonArguments{address(mean), address(out), dtype_code(dtype), block(size), source};
}

inline TukeyArguments tukey_arguments(uintptr_t out, int dtype, const Sizes& size, const NoiseSource& source,
                                      double lambda) {
    return TukeyArguments{address(out), dtype_code(dtype), block(size), source, lambda};
}

inline RawNoiseArguments raw_noise_arguments(uintptr_t clean, uintptr_t out, int dtype, const Sizes& size,
                                             const NoiseSource& source, const Rows& rows, double saturation, int parts,
                                             bool clip) {
    return RawNoiseArguments{address(clean),
                             address(out),
                             dtype_code(dtype),
                             block(size),
                             source,
                             address<const double>(uintptr_t(rows[0])),
                             rows[1],
                             saturation,
                             parts,
                             clip};
}

// tensors: output, original, counts, out
inline ExposureArguments exposure_arguments(const std::array<uintptr_t, 4>& tensors, int dtype, const Sizes& size,
                                            const Rows& rows, const std::optional<NoiseSource>& source) {
    return ExposureArguments{address(tensors[0]),
                             address(tensors[1]),
                             address(tensors[2]),
                             address(tensors[3]),
                             dtype_code(dtype),
                             block(size),
                             address<const double>(uintptr_t(rows[0])),
                             rows[1],
                             source.has_value(),
                             source.value_or(NoiseSource{})};
}

// tensors: grad, output, original, then where the gradients to output and original go
inline ExposureGradients exposure_gradients(const std::array<uintptr_t, 5>& tensors, int dtype, int64_t batch,
                                            int64_t per_sample, const Rows& rows) {
    return ExposureGradients{address(tensors[0]),
                             address(tensors[1]),
                             address(tensors[2]),
                             address(tensors[3]),
                             address(tensors[4]),
                             dtype_code(dtype),
                             batch,
                             per_sample,
                             address<const double>(uintptr_t(rows[0])),
                             rows[1]};
}

}  // namespace lowlight
