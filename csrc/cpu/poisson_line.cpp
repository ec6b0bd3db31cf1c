// Poisson counts of a piece of a row: the bulk in vectors, what the first attempt leaves is packed together and goes on
#include "poisson_line.h"

#include "../core/poisson.h"

namespace lowlight {
namespace LOWLIGHT_CPU_LEVEL {

// floats of one register, and registers that are in flight together
constexpr int kFloats = 2 * kLanes;
constexpr int kFlight = kLanes == 8 ? 4 : 2;
constexpr int64_t kTogether = kFloats * kFlight;
// so many jobs wait for the loops' latency more than for their arithmetic: one loop makes both tests
constexpr int64_t kFew = 2 * kFloats;
static_assert(kBlock + kTogether <= kPadded, "the padding is too short");

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

LOWLIGHT_FN int64_t in_registers(int64_t n) {
    return (n + kFloats - 1) / kFloats * kFloats;
}

// one word
LOWLIGHT_FN uint32_t draw_word(NoiseLine line, int64_t x, uint32_t attempt, uint32_t source) {
    int64_t at = line.x + x;
    Words w = philox(Words{uint32_t(uint64_t(at >> 2)), line.y, line.plane, stream_word(line.stream, attempt, source)},
                     line.key0, line.key1);
    uint32_t words[4] = {w.w0, w.w1, w.w2, w.w3};
    return words[at & 3];
}

// pixels that are still to be decided; loops go to the end of a register
struct PoissonJobs {
    alignas(64) int32_t at[kPadded];
    alignas(64) float mean[kPadded];
    alignas(64) uint32_t first[kPadded], second[kPadded];
};

LOWLIGHT_FN void end_jobs(PoissonJobs& jobs, int64_t n) {
    for (int i = 0; i < kFloats; ++i) jobs.at[n + i] = 0;
    for (int i = 0; i < kFloats; ++i) jobs.mean[n + i] = kInversionBelow;
    for (int i = 0; i < kFloats; ++i) jobs.first[n + i] = 0;
    for (int i = 0; i < kFloats; ++i) jobs.second[n + i] = 0;
}

// of the first n jobs those to keep, in order, and harmless ones up to a whole register; -> their number. The words of
// kSources sources go with them.
template <int kSources>
static int64_t pick(PoissonJobs& to, const PoissonJobs& from, const int32_t* keep, int64_t n) {
    int64_t count = 0;
#if defined(__AVX512F__)
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 inside = n - i < 16 ? __mmask16((1u << (n - i)) - 1u) : __mmask16(0xffff);
        __m512i flags = _mm512_load_si512(keep + i);
        __mmask16 kept = _mm512_mask_test_epi32_mask(inside, flags, flags);
        auto move = [&](void* target, const void* source) {
            _mm512_storeu_si512(target, _mm512_maskz_compress_epi32(kept, _mm512_load_si512(source)));
        };
        move(to.at + count, from.at + i);
        move(to.mean + count, from.mean + i);
        if (kSources > 0) move(to.first + count, from.first + i);
        if (kSources > 1) move(to.second + count, from.second + i);
        count += __builtin_popcount(kept);
    }
#else
    for (int64_t i = 0; i < n; ++i) {
        to.at[count] = from.at[i];
        to.mean[count] = from.mean[i];
        if (kSources > 0) to.first[count] = from.first[i];
        if (kSources > 1) to.second[count] = from.second[i];
        count += keep[i] != 0;
    }
#endif
    end_jobs(to, count);
    return count;
}

struct PoissonBuffer {
    WordBuffer words;
    PoissonJobs all, some, pending;
    alignas(64) float value[kPadded], zero[kPadded];
    alignas(64) int32_t keep[kPadded];
};

typedef int32_t HalfIntegers __attribute__((vector_size(4 * kLanes)));

// words of a later attempt: neighbours in the list are none in the picture, each has a counter of its own
static void draw_retry_words(NoiseLine line, int64_t x, uint32_t attempt, uint32_t source, const int32_t* at, int64_t n,
                             uint32_t* words) {
    const Lanes zero = {};
    uint32_t stream = stream_word(line.stream, attempt, source);
    for (int64_t i = 0; i < n; i += kLanes) {
        HalfIntegers place;
        memcpy(&place, at + i, sizeof(place));
        Lanes pixel = __builtin_convertvector(place, Lanes) + uint64_t(line.x + x);
        auto w = philox_rounds(
            Counter<Lanes>{(pixel >> 2) & uint64_t(0xffffffffu), zero + line.y, zero + line.plane, zero + stream},
            line.key0, line.key1, LaneProduct());
        Lanes odd = -(pixel & 1), high = -((pixel >> 1) & 1);
        Lanes chosen = (((w.w0 & ~odd) | (w.w1 & odd)) & ~high) | (((w.w2 & ~odd) | (w.w3 & odd)) & high);
        HalfIntegers word = __builtin_convertvector(chosen, HalfIntegers);
        memcpy(words + i, &word, sizeof(word));
    }
}

// counts of the first n jobs, whose means are below 10, to `level`
static void invert_all(PoissonJobs& jobs, int64_t n, float* level, float* zero) {
    int64_t whole = (n + kTogether - 1) / kTogether * kTogether;
    // nothing to do for those beyond the end
    for (int64_t i = n; i < whole; ++i) jobs.mean[i] = 0.0f, jobs.first[i] = 0xffffffffu;
    int32_t tails = 0;
    for (int64_t i = 0; i < whole; ++i) {
        level[i] = inversion_level(jobs.first[i]);
        zero[i] = poisson_zero(jobs.mean[i]);
        tails |= inversion_is_tail(jobs.first[i]) ? 1 : 0;
    }
    for (int64_t i = 0; i < whole; i += kTogether) {
        Inversion<Floats> state[kFlight];
        Floats means[kFlight];
        Integers count[kFlight] = {};
        for (int j = 0; j < kFlight; ++j) {
            memcpy(&state[j].left, level + i + j * kFloats, sizeof(Floats));
            memcpy(&state[j].probability, zero + i + j * kFloats, sizeof(Floats));
            memcpy(&means[j], jobs.mean + i + j * kFloats, sizeof(Floats));
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
    if (tails)
        for (int64_t i = 0; i < n; ++i)
            if (inversion_is_tail(jobs.first[i])) level[i] = poisson_tail(jobs.mean[i], jobs.first[i]);
}

// counts of the first n jobs, whose means are 10 or more and whose words are those of attempt 0, to out[at]; with
// `in_order` job i is pixel i, and a job whose `at` is below 0 is none
static void reject_all(PoissonBuffer& b, PoissonJobs* jobs, bool in_order, NoiseLine line, int64_t x, int64_t n,
                       float* out) {
    PoissonJobs& pending = b.pending;
    for (uint32_t attempt = 0; n > 0 && attempt < kMostAttempts; ++attempt) {
        if (attempt > 0 && n <= 2) {
            for (int64_t i = 0; i < n; ++i)
                out[jobs->at[i]] = poisson_rejection(jobs->mean[i], attempt, [&](uint32_t again, uint32_t source) {
                    return draw_word(line, x + jobs->at[i], again, source);
                });
            return;
        }
        if (attempt > 0) {
            draw_retry_words(line, x, attempt, kPoissonFirst, jobs->at, n, jobs->first);
            draw_retry_words(line, x, attempt, kPoissonSecond, jobs->at, n, jobs->second);
        }
        float* value = in_order && attempt == 0 ? out : b.value;
        int64_t whole = in_registers(n);
        if (n <= kFew) {
            for (int64_t i = 0; i < whole; ++i) {
                Hat hat = poisson_hat(jobs->mean[i]);
                Candidate c = poisson_candidate(jobs->mean[i], hat, jobs->first[i]);
                bool quick = poisson_accepts_quickly(hat, c, jobs->second[i]);
                value[i] = c.count;
                bool done = quick | poisson_accepts(jobs->mean[i], hat, c, jobs->second[i]);
                b.keep[i] = done | (jobs->at[i] < 0) ? 0 : 1;
            }
        } else {
            for (int64_t i = 0; i < whole; ++i) {
                Hat hat = poisson_hat(jobs->mean[i]);
                Candidate c = poisson_candidate(jobs->mean[i], hat, jobs->first[i]);
                value[i] = c.count;
                b.keep[i] = poisson_accepts_quickly(hat, c, jobs->second[i]) | (jobs->at[i] < 0) ? 0 : 1;
            }
        }
        // those that are rejected are written again
        if (value != out)
            for (int64_t i = 0; i < n; ++i) out[jobs->at[i]] = value[i];
        if (n > kFew) {
            // (jobs is not pending here: those are few)
            n = pick<2>(pending, *jobs, b.keep, n);
            whole = in_registers(n);
            for (int64_t i = 0; i < whole; ++i) {
                Hat hat = poisson_hat(pending.mean[i]);
                Candidate c = poisson_candidate(pending.mean[i], hat, pending.first[i]);
                b.keep[i] = poisson_accepts(pending.mean[i], hat, c, pending.second[i]) ? 0 : 1;
            }
            n = pick<0>(b.some, pending, b.keep, n);
            jobs = &b.some;
        } else {
            PoissonJobs* next = jobs == &pending ? &b.some : &pending;
            n = pick<0>(*next, *jobs, b.keep, n);
            jobs = next;
        }
    }
}

LOWLIGHT_FN bool inverted(float mean) {
    return (mean >= 0.0f) & (mean < kInversionBelow);
}
LOWLIGHT_FN bool rejected(float mean) {
    return (mean >= kInversionBelow) & (mean <= kMostMean);
}

int64_t poisson_line(NoiseLine line, int64_t x, int64_t n, const float* mean, float* counts) {
    PoissonBuffer b;
    int32_t small = 0, large = 0;
    for (int64_t i = 0; i < n; ++i) {
        small += inverted(mean[i]) ? 1 : 0;
        large += rejected(mean[i]) ? 1 : 0;
        b.all.mean[i] = mean[i];
        b.all.at[i] = int32_t(i);
    }
    memcpy(b.all.first, draw_pixel_words(b.words, line, kPoissonFirst, x, n), 4 * n);
    if (large) memcpy(b.all.second, draw_pixel_words(b.words, line, kPoissonSecond, x, n), 4 * n);
    end_jobs(b.all, n);
    // most blocks are of one kind or nearly so: that kind stays where it is, the other is packed together
    if (small >= large) {
        for (int64_t i = 0; i < n; ++i) b.all.mean[i] = inverted(mean[i]) ? mean[i] : 0.0f;
        invert_all(b.all, n, counts, b.zero);
        for (int64_t i = 0; i < n; ++i) b.all.mean[i] = mean[i], b.keep[i] = rejected(mean[i]) ? 1 : 0;
        if (large) reject_all(b, &b.some, false, line, x, pick<2>(b.some, b.all, b.keep, n), counts);
    } else {
        for (int64_t i = 0; i < n; ++i) {
            b.all.mean[i] = rejected(mean[i]) ? mean[i] : kInversionBelow;
            b.all.at[i] = rejected(mean[i]) ? int32_t(i) : -1;
        }
        reject_all(b, &b.all, true, line, x, n, counts);
        for (int64_t i = 0; i < n; ++i) {
            b.all.mean[i] = mean[i];
            b.all.at[i] = int32_t(i);
            b.keep[i] = inverted(mean[i]) ? 1 : 0;
        }
        if (small) invert_all(b.some, pick<1>(b.some, b.all, b.keep, n), b.value, b.zero);
        for (int64_t i = 0; i < small; ++i) counts[b.some.at[i]] = b.value[i];
    }
    if (small + large < n)
        for (int64_t i = 0; i < n; ++i)
            if (!poisson_mean_is_valid(mean[i])) counts[i] = bit_cast<float>(0x7fc00000u);
    return n - small - large;
}

}  // namespace LOWLIGHT_CPU_LEVEL
}  // namespace lowlight
