// the halves of the channels multiplied: in memory rows of two halves, whatever the layout
#include "blocks.h"

namespace lowlight {
LOWLIGHT_DECLARE_LEVEL(LOWLIGHT_CPU_LEVEL)
namespace LOWLIGHT_CPU_LEVEL {

constexpr int64_t kGateSpan = 32768;
// bytes of a row from which on streaming pays: it writes whole lines, and a short row begins and ends within one
constexpr int64_t kLongRow = 4096;

// calls body(row, first, number) for pieces of at most kGateSpan numbers of the rows of n
template <class Body>
LOWLIGHT_FN void pieces(int64_t rows, int64_t n, Body body) {
    int64_t in_row = (n + kGateSpan - 1) / kGateSpan;
    int64_t together = n < kGateSpan ? kGateSpan / (n < 1 ? 1 : n) : 1;
    int64_t items = (rows + together - 1) / together * in_row;
    LOWLIGHT_PARALLEL(rows * n, items)
    for (int64_t item = 0; item < items; ++item) {
        int64_t row = item / in_row * together, first = item % in_row * kGateSpan;
        int64_t end = row + together < rows ? row + together : rows;
        for (; row < end; ++row) body(row, first, n - first < kGateSpan ? n - first : kGateSpan);
        stream_fence();
    }
}

// out = a b, n numbers; plain loops over the stored type: no buffer between
template <class T>
LOWLIGHT_FN void multiply(const T* a, const T* b, T* __restrict__ out, int64_t n) {
    for (int64_t i = 0; i < n; ++i) out[i] = narrow<T>(widen(a[i]) * widen(b[i]));
}

template <class T>
LOWLIGHT_FN void multiply_streaming(const T* a, const T* b, T* out, int64_t n) {
    alignas(64) T buffer[kBlock];
    for (int64_t i = 0; i < n; i += kBlock) {
        int64_t count = n - i < kBlock ? n - i : kBlock;
        multiply(a + i, b + i, buffer, count);
        stream_bytes(out + i, buffer, count * int64_t(sizeof(T)));
    }
}

void gate_cpu(const GateArguments& a) {
    dispatch(a.dtype, [&](auto tag) {
        using T = decltype(tag);
        const T* x = static_cast<const T*>(a.x);
        T* out = static_cast<T*>(a.out);
        bool stream = a.rows * a.n * int64_t(sizeof(T)) >= kKeptBytes && a.n * int64_t(sizeof(T)) >= kLongRow;
        pieces(a.rows, a.n, [&](int64_t row, int64_t first, int64_t n) {
            const T* left = x + row * 2 * a.n + first;
            (stream ? multiply_streaming<T> : multiply<T>)(left, left + a.n, out + row * a.n + first, n);
        });
    });
}

void gate_backward_cpu(const GateArguments& a) {
    dispatch(a.dtype, [&](auto tag) {
        using T = decltype(tag);
        const T *x = static_cast<const T*>(a.x), *grad = static_cast<const T*>(a.grad);
        T* out = static_cast<T*>(a.out);
        bool stream = 2 * a.rows * a.n * int64_t(sizeof(T)) >= kKeptBytes && a.n * int64_t(sizeof(T)) >= kLongRow;
        pieces(a.rows, a.n, [&](int64_t row, int64_t first, int64_t n) {
            int64_t left = row * 2 * a.n + first, right = left + a.n;
            const T* g = grad + row * a.n + first;
            auto product = stream ? multiply_streaming<T> : multiply<T>;
            // the second product finds the gradient in the cache
            for (int64_t i = 0; i < n; i += kBlock) {
                int64_t count = n - i < kBlock ? n - i : kBlock;
                product(g + i, x + right + i, out + left + i, count);
                product(g + i, x + left + i, out + right + i, count);
            }
        });
    });
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
