// whether memory still holds what it held: a number made of all its bytes, at the speed of reading them
#pragma once

#include <cstring>
#include <vector>

#include "call.h"

namespace lowlight {

// Every word, of eight bytes, changes its lane for good, by steps that can be undone; each bit of it reaches all bits
// of the lane two words on. Eight lanes, so that a processor need not wait for the products.
struct Fingerprint {
    static constexpr int kLanes = 8;
    static constexpr int64_t kPiece = 1 << 17;                // bytes that a thread reads at a time
    static constexpr uint64_t kFactor = 0x9e3779b97f4a7c15u;  // 2^64 over the golden ratio, odd
    uint64_t lanes[kLanes] = {};

    void word(int lane, uint64_t value) {
        uint64_t mixed = (lanes[lane] ^ value) * kFactor;
        lanes[lane] = (mixed << 29 | mixed >> 35) + kFactor;
    }
    void bytes(const char* from, int64_t count) {
        uint64_t block[kLanes];
        int64_t at = 0;
        for (; at + int64_t(sizeof(block)) <= count; at += sizeof(block)) {
            memcpy(block, from + at, sizeof(block));
            for (int lane = 0; lane < kLanes; ++lane) word(lane, block[lane]);
        }
        memset(block, 0, sizeof(block));
        // no numbers may lie nowhere
        if (at < count) memcpy(block, from + at, count - at);
        for (int lane = 0; lane < kLanes; ++lane) word(lane, block[lane]);
    }
    // the same for any number of threads
    void memory(const char* from, int64_t count) {
        int64_t pieces = (count + kPiece - 1) / kPiece;
        std::vector<uint64_t> found(pieces);
#pragma omp parallel for if (pieces > 1)
        for (int64_t i = 0; i < pieces; ++i) {
            Fingerprint piece;
            piece.bytes(from + i * kPiece, i + 1 < pieces ? kPiece : count - i * kPiece);
            found[i] = piece.all();
        }
        bytes(reinterpret_cast<const char*>(found.data()), pieces * int64_t(sizeof(uint64_t)));
    }
    uint64_t all() const {
        Fingerprint joined;
        for (int lane = 0; lane < kLanes; ++lane) joined.word(0, lanes[lane]);
        joined.word(0, 0), joined.word(0, 0);
        return joined.lanes[0];
    }
};

// fingerprint(*tensors, *bytes): of so many bytes of each from its first number on
inline PyObject* fingerprint(PyObject*, PyObject* const* values, Py_ssize_t count) {
    return guarded(values, count, [count](Arguments given) {
        Fingerprint found;
        Arguments sizes{given.next + count / 2, count - count / 2};
        for (given.left = count / 2; given.left;) {
            const void* from;
            int64_t bytes;
            given(from), sizes(bytes);
            found.memory(static_cast<const char*>(from), bytes);
        }
        sizes.end();
        return PyLong_FromUnsignedLongLong(found.all());
    });
}

}  // namespace lowlight
