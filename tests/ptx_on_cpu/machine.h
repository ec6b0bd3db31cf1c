// a device as far as one launch sees it: blocks one after the other, a fiber a thread
#pragma once

#include <ucontext.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "thread.h"

namespace ptx {

constexpr int kWarp = 32;
// of static shared memory
constexpr size_t kMostShared = 48 << 10;

struct Kernel {
    Body body;
    int most_threads;
    size_t shared_bytes;
};

enum class Stop { none, shuffle, barrier, end };

struct Fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    Thread thread;
    Stop stop;
    int line;  // of the PTX, where it stopped
    uint32_t given, lanes, taken;
};

// of a byte of shared memory: when it was last written and read, counted in barriers, and by which thread
struct Trace {
    uint64_t written, read;
    int writer, reader;
};

struct Counts {
    int64_t launches, threads, barriers, shuffles, global_accesses, shared_accesses;
};

class Device final : public Machine {
  public:
    std::map<std::string, Kernel> kernels;
    // asked for a kernel that is not there yet: adds it, or does not
    void (*missing)(const char* name) = nullptr;
    // memory that a launch may touch: from, to
    std::vector<std::pair<uint64_t, uint64_t>> allowed;
    // blocks on an axis at most; blocks, warps and threads from the last to the first
    unsigned most_blocks = ~0u;
    bool backwards = false;
    Counts counts{};
    Dim grid{}, block{};
    std::string problem;

    // nullptr, or what went wrong
    const char* launch(const char* name, Dim grid, Dim block, const char* const* parameters);

    void* global(uint64_t address, unsigned bytes, int line) override;
    void* shared_read(Thread& thread, uint32_t offset, unsigned bytes, int line) override;
    void* shared_write(Thread& thread, uint32_t offset, unsigned bytes, int line) override;
    void barrier(Thread& thread, int line) override;
    uint32_t shuffle(Thread&, uint32_t value, uint32_t lanes, uint32_t clamp, uint32_t members, int line) override;

  private:
    const Kernel* kernel_;
    const char* const* parameters_;
    std::string name_;
    std::vector<Fiber> fibers_;
    ucontext_t scheduler_;
    Fiber* running_;
    alignas(16) char shared_[kMostShared];
    std::vector<Trace> traces_ = std::vector<Trace>(kMostShared);
    // barriers so far, and before this block
    uint64_t now_ = 1, began_ = 1;

    static void enter(unsigned high, unsigned low);
    void run_block(Dim index);
    bool run_warp(int warp);
    bool exchange(int first, int count);
    void stop(Stop why, int line);
    void fail(const std::string& what, int line);
    int place(int i, int count) const { return backwards ? count - 1 - i : i; }
    int threads() const { return int(block.x * block.y * block.z); }
    char* in_shared(uint32_t offset, unsigned bytes, int line);
};

Device& device();

}  // namespace ptx
