// one level of the Haar transform: a thread turns 2 rows of 2 kColumns pixels into kColumns pixels of four bands, or
// back
#include <cuda_runtime.h>

#include "../core/haar.h"
#include "launchers.h"

namespace lowlight {

// kCount elements moved by one or two wide instructions
template <class T, int kCount>
struct alignas(sizeof(T) * kCount > 16 ? 16 : sizeof(T) * kCount) Pack {
    T items[kCount];
};

template <class T>
struct HaarView {
    T *image, *ll, *details;
    int64_t items, height, columns;  // items = planes * height * columns / kColumns; height, columns of a band
    int64_t band;                    // elements of one detail band
    bool affine;
};

template <class T, int kColumns, bool kForward>
__global__ void haar_kernel(HaarView<T> v) {
    using R = Real<T>;
    int64_t per_row = v.columns / kColumns;
    for (int64_t item = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; item < v.items;
         item += int64_t(gridDim.x) * blockDim.x) {
        // row counts through all planes: band row `row` covers image rows 2 row and 2 row + 1
        int64_t row = item / per_row, x = (item - row * per_row) * kColumns;
        T* image = v.image + (2 * row * v.columns + x) * 2;
        auto* even = reinterpret_cast<Pack<T, 2 * kColumns>*>(image);
        auto* odd = reinterpret_cast<Pack<T, 2 * kColumns>*>(image + 2 * v.columns);
        int64_t at = row * v.columns + x;
        Pack<T, kColumns>* bands[4] = {reinterpret_cast<Pack<T, kColumns>*>(v.ll + at),
                                       reinterpret_cast<Pack<T, kColumns>*>(v.details + at),
                                       reinterpret_cast<Pack<T, kColumns>*>(v.details + v.band + at),
                                       reinterpret_cast<Pack<T, kColumns>*>(v.details + 2 * v.band + at)};
        Pack<T, 2 * kColumns> upper, lower;
        Pack<T, kColumns> b[4];
        if (kForward) {
            upper = *even, lower = *odd;
        } else {
#pragma unroll
            for (int k = 0; k < 4; ++k) b[k] = *bands[k];
        }
#pragma unroll
        for (int i = 0; i < kColumns; ++i) {
            if (kForward) {
                Square<R> s{widen(upper.items[2 * i]), widen(upper.items[2 * i + 1]), widen(lower.items[2 * i]),
                            widen(lower.items[2 * i + 1])};
                if (v.affine)
                    s = Square<R>{normalised(s.even_left), normalised(s.even_right), normalised(s.odd_left),
                                  normalised(s.odd_right)};
                Bands<R> r = haar_forward(s);
                b[0].items[i] = narrow<T>(r.ll), b[1].items[i] = narrow<T>(r.hl);
                b[2].items[i] = narrow<T>(r.lh), b[3].items[i] = narrow<T>(r.hh);
            } else {
                Square<R> s = haar_inverse(
                    Bands<R>{widen(b[0].items[i]), widen(b[1].items[i]), widen(b[2].items[i]), widen(b[3].items[i])});
                if (v.affine)
                    s = Square<R>{denormalised(s.even_left), denormalised(s.even_right), denormalised(s.odd_left),
                                  denormalised(s.odd_right)};
                upper.items[2 * i] = narrow<T>(s.even_left), upper.items[2 * i + 1] = narrow<T>(s.even_right);
                lower.items[2 * i] = narrow<T>(s.odd_left), lower.items[2 * i + 1] = narrow<T>(s.odd_right);
            }
        }
        if (kForward) {
#pragma unroll
            for (int k = 0; k < 4; ++k) *bands[k] = b[k];
        } else {
            *even = upper, *odd = lower;
        }
    }
}

template <class T, int kColumns, bool kForward>
static const char* launch(HaarView<T> v, cudaStream_t stream) {
    constexpr int kThreads = 256;
    v.items /= kColumns;
    int64_t blocks = (v.items + kThreads - 1) / kThreads;
    constexpr int64_t kMostBlocks = int64_t(1) << 30;
    haar_kernel<T, kColumns, kForward>
        <<<unsigned(blocks < kMostBlocks ? blocks : kMostBlocks), kThreads, 0, stream>>>(v);
    cudaError_t status = cudaGetLastError();
    return status == cudaSuccess ? nullptr : cudaGetErrorString(status);
}

template <class T, bool kForward>
static const char* launch_typed(const HaarArguments& a, void* stream) {
    int64_t height = a.height / 2, columns = a.width / 2;
    HaarView<T> v{static_cast<T*>(a.image),
                  static_cast<T*>(a.ll),
                  static_cast<T*>(a.details[0]),
                  a.planes * height * columns,
                  height,
                  columns,
                  a.planes * height * columns,
                  a.affine};
    if (v.items == 0) return nullptr;
    // 16 bytes of a band at once where every row of every tensor starts on such a boundary
    constexpr int kWide = 16 / sizeof(T) > 4 ? 4 : 16 / sizeof(T);
    auto places = reinterpret_cast<uintptr_t>(v.image) | reinterpret_cast<uintptr_t>(v.ll) |
                  reinterpret_cast<uintptr_t>(v.details);
    bool wide = columns % kWide == 0 && places % 16 == 0;
    auto where = static_cast<cudaStream_t>(stream);
    return wide ? launch<T, kWide, kForward>(v, where) : launch<T, 1, kForward>(v, where);
}

template <bool kForward>
static const char* launch_any(const HaarArguments& a, void* stream) {
    switch (a.dtype) {
        case DType::f32:
            return launch_typed<float, kForward>(a, stream);
        case DType::f64:
            return launch_typed<double, kForward>(a, stream);
        case DType::f16:
            return launch_typed<Half, kForward>(a, stream);
        case DType::bf16:
            return launch_typed<BFloat16, kForward>(a, stream);
    }
    return "unknown dtype";
}

const char* launch_haar_forward(const HaarArguments& a, void* stream) {
    return launch_any<true>(a, stream);
}
const char* launch_haar_inverse(const HaarArguments& a, void* stream) {
    return launch_any<false>(a, stream);
}

}  // namespace lowlight
