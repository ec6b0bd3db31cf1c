// in place of a launch: loops over the blocks and threads of a grid
#pragma once

#include <algorithm>
#include <array>

#include "../csrc/cuda/grid.h"

namespace lowlight {

// no axis of the grid gets more blocks than this: threads then have to come round again
static unsigned most_blocks = ~0u;
// blocks and threads from the last to the first
static bool backwards = false;
// of the last launch: blocks, threads, pixels of a group, whether they were aligned
static std::array<int64_t, 7> last = {};

template <class Body>
struct GroupOf {
    static constexpr int kPixels = 1;
    static constexpr bool kAligned = false;
};
template <class T, class G, bool kFlag, template <class, class, bool> class Body>
struct GroupOf<Body<T, G, kFlag>> : G {};
template <class T, class G, template <class, class> class Body>
struct GroupOf<Body<T, G>> : G {};

template <class Visit>
static void each(int64_t count, Visit visit) {
    for (int64_t i = 0; i < count; ++i) visit(backwards ? count - 1 - i : i);
}

struct HostRunner {
    template <class Body>
    const char* operator()(const Body& body, Grid grid) const {
        int64_t x = std::min(grid.blocks_x, most_blocks), y = std::min(grid.blocks_y, most_blocks);
        int64_t z = std::min(grid.blocks_z, most_blocks), width = grid.threads_x, height = grid.threads_y;
        last = {x, y, z, width, height, GroupOf<Body>::kPixels, GroupOf<Body>::kAligned};
        if (width * height > kThreads) return "a block has more threads than the kernel is compiled for";
        each(x * y * z, [&](int64_t block) {
            int64_t block_x = block % x, block_y = block / x % y, block_z = block / x / y;
            for (int64_t plane = block_z; plane < body.planes; plane += z) {
                typename Body::Shared shared = body.prepare(plane);
                each(width * height, [&](int64_t thread) {
                    int64_t thread_x = thread % width, thread_y = thread / width;
                    run_plane(body, shared, plane,
                              Thread{block_y * height + thread_y, block_x * width + thread_x, y * height, x * width});
                });
            }
        });
        return nullptr;
    }
};

}  // namespace lowlight
