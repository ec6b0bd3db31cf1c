#include "machine.h"

#include <algorithm>
#include <cstdio>

namespace ptx {

constexpr size_t kStack = 1 << 18;

Device& device() {
    static Device one;
    return one;
}

const char* Device::launch(const char* name, Dim asked, Dim threads_of_block, const char* const* parameters) {
    auto found = kernels.find(name);
    if (found == kernels.end() && missing) missing(name), found = kernels.find(name);
    problem.clear();
    if (found == kernels.end()) return problem = std::string("no kernel ") + name, problem.c_str();
    kernel_ = &found->second, name_ = name, parameters_ = parameters, block = threads_of_block;
    if (!asked.x || !asked.y || !asked.z || asked.x >= 1u << 31 || asked.y > 65535 || asked.z > 65535 || !threads() ||
        threads() > kernel_->most_threads || kernel_->shared_bytes > kMostShared)
        return problem = "a launch that CUDA would refuse", problem.c_str();
    grid = {std::min(asked.x, most_blocks), std::min(asked.y, most_blocks), std::min(asked.z, most_blocks)};
    while (int(fibers_.size()) < threads()) fibers_.emplace_back().stack.reset(new char[kStack]);
    ++counts.launches, counts.threads += int64_t(grid.x) * grid.y * grid.z * threads();
    int64_t blocks = int64_t(grid.x) * grid.y * grid.z;
    for (int64_t i = 0; i < blocks && problem.empty(); ++i) {
        int64_t at = backwards ? blocks - 1 - i : i;
        run_block(Dim{unsigned(at % grid.x), unsigned(at / grid.x % grid.y), unsigned(at / grid.x / grid.y)});
    }
    return problem.empty() ? nullptr : problem.c_str();
}

void Device::enter(unsigned high, unsigned low) {
    Device& self = *reinterpret_cast<Device*>(uintptr_t(high) << 32 | low);
    self.kernel_->body(self.running_->thread, self.parameters_);
    self.stop(Stop::end, 0);
}

void Device::run_block(Dim index) {
    // nothing in shared memory is of this block
    began_ = ++now_;
    for (int i = 0; i < threads(); ++i) {
        Fiber& fiber = fibers_[i];
        unsigned x = i % block.x, y = i / block.x % block.y, z = i / block.x / block.y;
        fiber.thread = Thread{{x, y, z}, index, block, grid, i, this};
        fiber.stop = Stop::none;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.get(), fiber.context.uc_stack.ss_size = kStack;
        uintptr_t self = reinterpret_cast<uintptr_t>(this);
        makecontext(&fiber.context, reinterpret_cast<void (*)()>(enter), 2, unsigned(self >> 32), unsigned(self));
    }
    int warps = (threads() + kWarp - 1) / kWarp;
    for (bool all_done = false; !all_done;) {
        for (int i = 0; i < warps; ++i)
            if (!run_warp(place(i, warps))) return;
        const Fiber& first = fibers_[0];
        all_done = first.stop == Stop::end;
        for (int i = 1; i < threads(); ++i)
            if (fibers_[i].stop != first.stop || fibers_[i].line != first.line)
                return running_ = nullptr,
                       fail("not all threads of a block came to this barrier", std::max(first.line, fibers_[i].line));
        counts.barriers += !all_done, ++now_;
        for (int i = 0; i < threads() && !all_done; ++i) fibers_[i].stop = Stop::none;
    }
}

// up to the next barrier, or the end; false where something went wrong
bool Device::run_warp(int warp) {
    int first = warp * kWarp, count = std::min(kWarp, threads() - first);
    for (;;) {
        for (int i = 0; i < count; ++i) {
            running_ = &fibers_[first + place(i, count)];
            swapcontext(&scheduler_, &running_->context);
            if (!problem.empty()) return false;
        }
        const Fiber& one = fibers_[first];
        for (int i = 1; i < count; ++i) {
            const Fiber& other = fibers_[first + i];
            if (other.stop != one.stop || other.line != one.line) {
                running_ = nullptr;
                fail("not all threads of a warp came here", std::max(one.line, other.line));
                return false;
            }
        }
        if (one.stop != Stop::shuffle) return true;
        if (!exchange(first, count)) return false;
    }
}

bool Device::exchange(int first, int count) {
    counts.shuffles += count;
    for (int i = 0; i < count; ++i) {
        Fiber& fiber = fibers_[first + i];
        unsigned from = unsigned(i) ^ fiber.lanes;
        if (from >= unsigned(count)) {
            running_ = nullptr;
            fail("a shuffle from a lane that is not there", fiber.line);
            return false;
        }
        fiber.taken = fibers_[first + from].given;
    }
    return true;
}

// gives the processor back, until the scheduler comes again
void Device::stop(Stop why, int line) {
    Fiber& self = *running_;
    self.stop = why, self.line = line;
    swapcontext(&self.context, &scheduler_);
}

// the launch is over: a thread that is running never comes back
void Device::fail(const std::string& what, int line) {
    problem = what + " (line " + std::to_string(line) + " of the PTX";
    if (running_) {
        const Thread& t = running_->thread;
        char where[100];
        snprintf(where, sizeof(where), ", thread %d of block %u %u %u", t.number, t.ctaid.x, t.ctaid.y, t.ctaid.z);
        problem += where;
    }
    problem += ") in " + name_;
    if (running_) stop(Stop::end, line);
}

void* Device::global(uint64_t address, unsigned bytes, int line) {
    ++counts.global_accesses;
    if (address % bytes) fail("a misaligned access of " + std::to_string(bytes) + " bytes", line);
    for (auto [from, to] : allowed)
        if (address >= from && address + bytes <= to) return reinterpret_cast<void*>(address);
    fail("an access of " + std::to_string(bytes) + " bytes outside the call's tensors", line);
    return nullptr;
}

char* Device::in_shared(uint32_t offset, unsigned bytes, int line) {
    ++counts.shared_accesses;
    if (offset % bytes) fail("a misaligned access of " + std::to_string(bytes) + " bytes of shared memory", line);
    if (uint64_t(offset) + bytes > kernel_->shared_bytes) fail("an access outside the shared memory", line);
    return shared_ + offset;
}

void* Device::shared_read(Thread& thread, uint32_t offset, unsigned bytes, int line) {
    char* at = in_shared(offset, bytes, line);
    for (Trace* trace = &traces_[offset]; trace < &traces_[offset] + bytes; ++trace) {
        if (trace->written < began_) fail("a read of shared memory that the block has not written", line);
        if (trace->written == now_ && trace->writer != thread.number)
            fail("a read of what another thread wrote with no barrier between", line);
        // of several readers since the barrier none is named
        bool first = trace->read != now_;
        trace->reader = first || trace->reader == thread.number ? thread.number : -1;
        trace->read = now_;
    }
    return at;
}

void* Device::shared_write(Thread& thread, uint32_t offset, unsigned bytes, int line) {
    char* at = in_shared(offset, bytes, line);
    for (Trace* trace = &traces_[offset]; trace < &traces_[offset] + bytes; ++trace) {
        bool others = trace->written == now_ && trace->writer != thread.number;
        if (others || (trace->read == now_ && trace->reader != thread.number))
            fail("a write over what another thread wrote or read with no barrier between", line);
        trace->writer = thread.number, trace->written = now_;
    }
    return at;
}

void Device::barrier(Thread&, int line) {
    stop(Stop::barrier, line);
}

uint32_t Device::shuffle(Thread&, uint32_t value, uint32_t lanes, uint32_t clamp, uint32_t members, int line) {
    if (clamp != kWarp - 1 || members != ~0u) fail("a shuffle among a part of the warp", line);
    Fiber& self = *running_;
    self.given = value, self.lanes = lanes;
    stop(Stop::shuffle, line);
    return self.taken;
}

}  // namespace ptx

extern "C" {
#define EXPORTED __attribute__((visibility("default")))
EXPORTED void machine_missing(void (*ask)(const char*)) {
    ptx::device().missing = ask;
}
EXPORTED void machine_add(const char* name, ptx::Body body, int most_threads, uint64_t shared_bytes) {
    ptx::device().kernels[name] = {body, most_threads, size_t(shared_bytes)};
}
// pairs of addresses: from, to
EXPORTED void machine_allow(const uint64_t* bounds, int count) {
    auto& allowed = ptx::device().allowed;
    allowed.clear();
    for (int i = 0; i < count; ++i) allowed.emplace_back(bounds[2 * i], bounds[2 * i + 1]);
}
EXPORTED void machine_limit(unsigned blocks, bool backwards) {
    ptx::device().most_blocks = blocks, ptx::device().backwards = backwards;
}
EXPORTED const int64_t* machine_counts() {
    return &ptx::device().counts.launches;
}
// of the last launch: blocks, threads
EXPORTED const unsigned* machine_grid() {
    static unsigned numbers[6];
    const ptx::Dim &g = ptx::device().grid, &b = ptx::device().block;
    unsigned found[6] = {g.x, g.y, g.z, b.x, b.y, b.z};
    std::copy(found, found + 6, numbers);
    return numbers;
}
}
