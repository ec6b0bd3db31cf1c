// Poisson counts of a piece of a row: the bulk in vectors, what the first attempt leaves is packed together and goes on
#include "poisson_line.h"

#include "../core/poisson.h"

namespace lowlight {
namespace LOWLIGHT_CPU_LEVEL {

// floats of one register, and registers that are in flight together
constexpr int kFloats = 2 * kLanes;
constexpr int kFlight = kLanes == 8 ? 4 : 2;
constexpr int64_t kTogether = kFloats * kFlight;
// arrays are read and written in whole groups
constexpr int64_t kPadded = kBlock + 64;
static_assert(kTogether <= 64, "the padding is too short");

typedef float Floats __attribute__((vector_size(4 * kFloats)));
typedef int32_t Integers __attribute__((vector_size(4 * kFloats)));

LOWLIGHT_FN bool any_of(Integers mask) {
#if defined(__AVX512F__)
    return _mm512_movepi32_mask(__m512i(mask)) != 0;
#elif defined(__AVX2__)
    return _mm256_movemask_ps(__m256(mask)) != 0;
#elif defined(__SSE2__)
    return _mm_movemask_ps(__m128(mask)) != 0;
#else
    int32_t any = 0;
    for (int i = 0; i < kFloats; ++i) any |= mask[i];
    return any != 0;
#endif
}

// indices of what is not 0, in order; `to` has room for one register more
static int64_t indices_of(const int32_t* keep, int64_t n, int32_t* to) {
    int64_t count = 0;
#if defined(__AVX512F__)
    __m512i index = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 inside = n - i < 16 ? __mmask16((1u << (n - i)) - 1u) : __mmask16(0xffff);
        __m512i values = _mm512_loadu_si512(keep + i);
        __mmask16 kept = _mm512_mask_test_epi32_mask(inside, values, values);
        _mm512_storeu_si512(to + count, _mm512_maskz_compress_epi32(kept, index));
        count += __builtin_popcount(kept);
        index = _mm512_add_epi32(index, _mm512_set1_epi32(16));
    }
#else
    for (int64_t i = 0; i < n; ++i) {
        to[count] = int32_t(i);
        count += keep[i] != 0;
    }
#endif
    return count;
}

// one word
LOWLIGHT_FN uint32_t draw_word(NoiseLine line, int64_t x, uint32_t attempt, uint32_t source) {
    int64_t at = line.x + x;
    Words w = philox(Words{uint32_t(uint64_t(at >> 2)), line.y, line.plane, stream_word(line.stream, attempt, source)},
                     line.key0, line.key1);
    uint32_t words[4] = {w.w0, w.w1, w.w2, w.w3};
    return words[at & 3];
}

// pixels that are still to be decided
struct PoissonJobs {
    alignas(64) int32_t at[kPadded];
    alignas(64) float mean[kPadded];
    alignas(64) uint32_t first[kPadded], second[kPadded];
};

struct PoissonBuffer {
    NoiseBuffer noise;
    alignas(64) uint32_t first[4 * NoiseBuffer::kCounters], second[4 * NoiseBuffer::kCounters];
    PoissonJobs jobs, pending;
    alignas(64) float value[kPadded], spare[kPadded];
    alignas(64) int32_t keep[kPadded], list[kPadded], rejected[kPadded];
};

// words of a later attempt: neighbours in the list are none in the picture, each has a counter of its own
static void draw_retry_words(NoiseLine line, int64_t x, uint32_t attempt, uint32_t source, const int32_t* at,
                                  int64_t n, uint32_t* words) {
    const Lanes zero = {};
    uint32_t stream = stream_word(line.stream, attempt, source);
    for (int64_t i = 0; i < n; i += kLanes) {
        Lanes pixel = {};
        for (int k = 0; k < kLanes; ++k) pixel[k] = uint64_t(line.x + x + at[i + k]);
        auto w = philox_rounds(Counter<Lanes>{(pixel >> 2) & uint64_t(0xffffffffu), zero + line.y, zero + line.plane,
                                              zero + stream},
                               line.key0, line.key1, LaneProduct());
        Lanes which = pixel & 3;
        Lanes low = which == 0 ? w.w0 : w.w1, high = which == 2 ? w.w2 : w.w3;
        Lanes chosen = which < 2 ? low : high;
        for (int k = 0; k < kLanes; ++k) words[i + k] = uint32_t(chosen[k]);
    }
}

// counts of n pixels whose means are below 10; `level` and `zero` have kPadded elements
static void invert_all(const float* mean, const uint32_t* words, float* level, float* zero, float* out, int64_t n) {
    int32_t tails = 0;
    for (int64_t i = 0; i < n; ++i) {
        level[i] = inversion_level(words[i]);
        zero[i] = poisson_zero(mean[i]);
        tails |= inversion_is_tail(words[i]) ? 1 : 0;
    }
    int64_t whole = (n + kTogether - 1) / kTogether * kTogether;
    // nothing to do for those beyond the end
    for (int64_t i = n; i < whole; ++i) level[i] = 0.0f, zero[i] = 1.0f;
    for (int64_t i = 0; i < whole; i += kTogether) {
        Inversion<Floats> state[kFlight];
        Floats means[kFlight];
        Integers count[kFlight] = {};
        for (int j = 0; j < kFlight; ++j) {
            memcpy(&state[j].left, level + i + j * kFloats, sizeof(Floats));
            memcpy(&state[j].probability, zero + i + j * kFloats, sizeof(Floats));
            memcpy(&means[j], mean + i + j * kFloats, sizeof(Floats));
        }
        for (int k = 0; k < 64; ++k) {
            Integers any = {};
            Floats inverse = Floats{} + 1.0f / float(k + 1);
            for (int j = 0; j < kFlight; ++j) {
                Integers more = state[j].left > state[j].probability;
                // true is -1
                count[j] -= more;
                any |= more;
                inversion_next(state[j], means[j], inverse);
            }
            if (!any_of(any)) break;
        }
        for (int j = 0; j < kFlight; ++j) {
            Floats counts = __builtin_convertvector(count[j], Floats);
            memcpy(level + i + j * kFloats, &counts, sizeof(Floats));
        }
    }
    for (int64_t i = 0; i < n; ++i) out[i] = level[i];
    if (tails)
        for (int64_t i = 0; i < n; ++i)
            if (inversion_is_tail(words[i])) out[i] = poisson_tail(mean[i], words[i]);
}

// counts of the jobs, whose means are 10 or more, to out[jobs.at[i]]; `first` and `second` are those of attempt 0
static void reject_all(PoissonBuffer& b, NoiseLine line, int64_t x, int64_t n, float* out) {
    PoissonJobs &jobs = b.jobs, &pending = b.pending;
    for (uint32_t attempt = 0; n > 0 && attempt < kMostAttempts; ++attempt) {
        if (attempt > 0 && n <= 2) {
            for (int64_t i = 0; i < n; ++i)
                out[jobs.at[i]] = poisson_rejection(jobs.mean[i], attempt, [&](uint32_t again, uint32_t source) {
                    return draw_word(line, x + jobs.at[i], again, source);
                });
            return;
        }
        if (attempt > 0) {
            for (int64_t i = n; i < n + kLanes; ++i) jobs.at[i] = 0;
            draw_retry_words(line, x, attempt, kPoissonFirst, jobs.at, n, jobs.first);
            draw_retry_words(line, x, attempt, kPoissonSecond, jobs.at, n, jobs.second);
        }
        for (int64_t i = 0; i < n; ++i) {
            Hat hat = poisson_hat(jobs.mean[i]);
            Candidate c = poisson_candidate(jobs.mean[i], hat, jobs.first[i]);
            b.value[i] = c.count;
            b.keep[i] = poisson_accepts_quickly(hat, c, jobs.second[i]) ? 0 : 1;
        }
        // those that are rejected below are written again
        for (int64_t i = 0; i < n; ++i) out[jobs.at[i]] = b.value[i];
        int64_t undecided = indices_of(b.keep, n, b.list);
        for (int64_t i = 0; i < undecided; ++i) {
            int32_t j = b.list[i];
            pending.at[i] = jobs.at[j];
            pending.mean[i] = jobs.mean[j];
            pending.first[i] = jobs.first[j];
            pending.second[i] = jobs.second[j];
        }
        for (int64_t i = 0; i < undecided; ++i) {
            Hat hat = poisson_hat(pending.mean[i]);
            Candidate c = poisson_candidate(pending.mean[i], hat, pending.first[i]);
            b.keep[i] = poisson_accepts(pending.mean[i], hat, c, pending.second[i]) ? 0 : 1;
        }
        n = indices_of(b.keep, undecided, b.rejected);
        for (int64_t i = 0; i < n; ++i) {
            int32_t j = b.rejected[i];
            jobs.at[i] = pending.at[j];
            jobs.mean[i] = pending.mean[j];
        }
    }
}

// the pixels that are `kept`, with the words that are given
static int64_t collect(PoissonBuffer& b, const float* mean, const uint32_t* first, const uint32_t* second,
                            int64_t n) {
    int64_t count = indices_of(b.keep, n, b.list);
    for (int64_t i = 0; i < count; ++i) {
        int32_t j = b.list[i];
        b.jobs.at[i] = j;
        b.jobs.mean[i] = mean[j];
        b.jobs.first[i] = first[j];
        b.jobs.second[i] = second ? second[j] : 0u;
    }
    return count;
}

int64_t poisson_line(NoiseLine line, int64_t x, int64_t n, const float* mean, float* out) {
    PoissonBuffer b;
    int32_t small = 0, large = 0;
    for (int64_t i = 0; i < n; ++i) {
        bool below = mean[i] < kInversionBelow, valid = poisson_mean_is_valid(mean[i]);
        small += below & valid ? 1 : 0;
        large += !below & valid ? 1 : 0;
    }
    const uint32_t* first = draw_pixel_words(b.noise, b.first, line, kPoissonFirst, x, n);
    const uint32_t* second = nullptr;
    if (large) second = draw_pixel_words(b.noise, b.second, line, kPoissonSecond, x, n);
    if (small + large < n) {
        float nan = bit_cast<float>(0x7fc00000u);
        for (int64_t i = 0; i < n; ++i) out[i] = nan;
    }
    if (small) {
        for (int64_t i = 0; i < n; ++i)
            b.keep[i] = (mean[i] < kInversionBelow) & poisson_mean_is_valid(mean[i]) ? 1 : 0;
        int64_t count = collect(b, mean, first, nullptr, n);
        invert_all(b.jobs.mean, b.jobs.first, b.value, b.spare, b.pending.mean, count);
        for (int64_t i = 0; i < count; ++i) out[b.jobs.at[i]] = b.pending.mean[i];
    }
    if (large) {
        for (int64_t i = 0; i < n; ++i)
            b.keep[i] = (mean[i] >= kInversionBelow) & poisson_mean_is_valid(mean[i]) ? 1 : 0;
        reject_all(b, line, x, collect(b, mean, first, second, n), out);
    }
    return n - small - large;
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
