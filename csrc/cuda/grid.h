// how a tensor is spread over a grid: planes on z, lines of a plane on y, groups of neighbouring pixels of a line on x.
// Plain C++: the kernels are __global__ shells around these pieces, and a test runs the same pieces on the host.
#pragma once

#include "../core/arguments.h"

namespace lowlight {

// a thread's first line and group, and how far the next ones are
struct Thread {
    int64_t line, group, line_step, group_step;
};

struct Grid {
    unsigned blocks_x, blocks_y, blocks_z, threads_x, threads_y;
};

constexpr int kThreads = 256;

// what all threads of a plane share: in the registers of every thread where a body says so (kKeepsShared), for stores
// may not be passed by loads
template <class Body, class = void>
struct Own {
    using type = const typename Body::Shared&;
};
template <class Body>
struct Own<Body, std::enable_if_t<Body::kKeepsShared>> {
    using type = typename Body::Shared;
};

// a body that says so (kHasLine) forms what it needs of a line by `of_line`, once for all groups of it that a thread
// has
template <class Body, class = void>
constexpr bool kFormsLines = false;
template <class Body>
constexpr bool kFormsLines<Body, std::enable_if_t<Body::kHasLine>> = true;

// a body says how many planes, lines and groups it has; what all threads of a plane share it forms once in `prepare`
template <class Body>
LOWLIGHT_FN void run_plane(const Body& body, typename Own<Body>::type shared, int64_t plane, Thread thread) {
    for (int64_t line = thread.line; line < body.lines; line += thread.line_step) {
        if constexpr (kFormsLines<Body>) {
            if (thread.group >= body.groups) return;
            typename Body::Line own = body.of_line(shared, plane, line);
            for (int64_t group = thread.group; group < body.groups; group += thread.group_step)
                body(shared, own, plane, line, group);
        } else {
            for (int64_t group = thread.group; group < body.groups; group += thread.group_step)
                body(shared, plane, line, group);
        }
    }
}

// warps run along a line, or along several short ones; large tensors give a thread up to 16 pieces of work, so that
// `prepare` weighs little, along the line first: what a line is asked for weighs little then, too
inline Grid grid_of(int64_t planes, int64_t lines, int64_t groups) {
    constexpr int64_t kMostYZ = 65535, kMostX = int64_t(1) << 30, kManyBlocks = 8192;
    // of a line of 33 groups 17 threads take two, so that few are idle
    int64_t most_x = lines > 1 ? 32 : kThreads, blocks_x = (groups + most_x - 1) / most_x;
    int64_t x = (groups + blocks_x - 1) / blocks_x, y = kThreads / x < lines ? kThreads / x : lines;
    int64_t blocks_y = (lines + y - 1) / y;
    for (int pieces = 1; pieces < 16; pieces *= 4) {
        if (double(blocks_x) * double(blocks_y) * double(planes) < double(kManyBlocks)) break;
        int64_t& blocks = blocks_x >= 4 ? blocks_x : blocks_y;
        blocks = (blocks + 3) / 4;
    }
    return Grid{unsigned(blocks_x < kMostX ? blocks_x : kMostX), unsigned(blocks_y < kMostYZ ? blocks_y : kMostYZ),
                unsigned(planes < kMostYZ ? planes : kMostYZ), unsigned(x), unsigned(y)};
}

// hands a body to a runner, a CUDA launch or the host's loops: nullptr, or what went wrong
template <class Body, class Runner>
const char* run_body(const Body& body, Runner& runner) {
    if (body.planes <= 0 || body.lines <= 0 || body.groups <= 0) return nullptr;
    return runner(body, grid_of(body.planes, body.lines, body.groups));
}

// calls `run(type tag)` with the stored type of a dtype code
template <class Run>
const char* with_type(DType dtype, Run run) {
    switch (dtype) {
        case DType::f32:
            return run(float());
        case DType::f64:
            return run(double());
        case DType::f16:
            return run(Half());
        case DType::bf16:
            return run(BFloat16());
    }
    return "unknown dtype";
}

// the bits in which any of these addresses differs from a multiple of 16
template <class... Tensors>
uintptr_t misalignment(const Tensors*... tensors) {
    return (uintptr_t(0) | ... | reinterpret_cast<uintptr_t>(tensors)) % 16;
}

// kPixels of a line that one thread treats; kAligned: every group is whole, and every address one of move_wide's
template <int kPixels_, bool kAligned_>
struct Group {
    static constexpr int kPixels = kPixels_;
    static constexpr bool kAligned = kAligned_;
    int64_t at;  // index of the first pixel in the tensor
    int first, end;

    // group `index` of line `line` of `width` pixels; the first group begins `skip` pixels before the line
    LOWLIGHT_METHOD Group(int64_t line, int64_t width, int64_t index, int skip) : first(0), end(kPixels) {
        int64_t x = index * kPixels - (kAligned ? 0 : skip);
        at = line * width + x;
        if (kAligned) return;
        first = x < 0 ? int(-x) : 0;
        end = width - x < kPixels ? int(width - x) : kPixels;
    }

    LOWLIGHT_METHOD bool has(int i) const { return kAligned || (i >= first && i < end); }
};

// moves kBytes in accesses of 16 bytes, or one of 8; both places are aligned to them. Spelled out, so that the width
// does not hang on what the compiler makes of a struct
template <int kBytes>
LOWLIGHT_FN void move_wide(void* to, const void* from) {
    static_assert(kBytes == 8 || kBytes % 16 == 0, "whole accesses");
#if defined(__CUDA_ARCH__)
    using Word = std::conditional_t<kBytes == 8, uint2, uint4>;
    for (int i = 0; i < kBytes / int(sizeof(Word)); ++i) static_cast<Word*>(to)[i] = static_cast<const Word*>(from)[i];
#else
    memcpy(to, from, kBytes);
#endif
}

// move_wide to a tensor: the compiler splits the store of a struct, and does not always join its parts again
template <int kBytes>
LOWLIGHT_FN void store_wide(void* to, const void* from) {
#if defined(__CUDA_ARCH__)
    static_assert(kBytes == 8 || kBytes % 16 == 0, "whole accesses");
    uint32_t words[kBytes / 4];
    memcpy(words, from, kBytes);
    size_t place = __cvta_generic_to_global(to);
    if constexpr (kBytes == 8) {
        asm volatile("st.global.v2.b32 [%0], {%1, %2};" ::"l"(place), "r"(words[0]), "r"(words[1]) : "memory");
    } else {
        for (int i = 0; i < kBytes / 4; i += 4)
            asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(place + 4 * i), "r"(words[i]),
                         "r"(words[i + 1]), "r"(words[i + 2]), "r"(words[i + 3])
                         : "memory");
    }
#else
    move_wide<kBytes>(to, from);
#endif
}

// a group in the type it is computed in
template <class T, class G>
LOWLIGHT_FN void load_group(const void* tensor, const G& group, Real<T>* values) {
    const T* from = static_cast<const T*>(tensor) + group.at;
    if constexpr (G::kAligned) {
        alignas(16) T items[G::kPixels];
        move_wide<sizeof(items)>(items, from);
        for (int i = 0; i < G::kPixels; ++i) values[i] = widen(items[i]);
    } else {
        for (int i = 0; i < G::kPixels; ++i) values[i] = group.has(i) ? widen(from[i]) : Real<T>(0);
    }
}

template <class T, class G>
LOWLIGHT_FN void store_group(void* tensor, const G& group, const Real<T>* values) {
    T* to = static_cast<T*>(tensor) + group.at;
    if constexpr (G::kAligned) {
        alignas(16) T items[G::kPixels];
        for (int i = 0; i < G::kPixels; ++i) items[i] = narrow<T>(values[i]);
        store_wide<sizeof(items)>(to, items);
    } else {
        for (int i = 0; i < G::kPixels; ++i)
            if (group.has(i)) to[i] = narrow<T>(values[i]);
    }
}

// calls `run(group tag)` with the widest groups that the width of a line and the addresses allow; a narrow group has
// kNarrow pixels
template <class T, int kNarrow, class Run>
const char* with_groups(int64_t width, int skip, uintptr_t misaligned, Run run) {
    if (skip == 0 && misaligned == 0) {
        if constexpr (sizeof(T) < 4)
            if (width % 8 == 0) return run(Group<8, true>(0, 0, 0, 0));
        if (width % 4 == 0) return run(Group<4, true>(0, 0, 0, 0));
    }
    return run(Group<kNarrow, false>(0, 0, 0, 0));
}

}  // namespace lowlight
