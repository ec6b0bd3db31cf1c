// Poisson counts and Tukey-lambda noise of a group of pixels
#pragma once

#include "../core/poisson.h"
#include "../core/tukey.h"
#include "noise_body.h"

namespace lowlight {

// the words of the four pixels of one counter
LOWLIGHT_FN void draw_four_words(const NoiseLine& line, uint32_t counter, uint32_t attempt, uint32_t source,
                                 uint32_t* words) {
    Words w =
        philox(Words{counter, line.y, line.plane, stream_word(line.stream, attempt, source)}, line.key0, line.key1);
    words[0] = w.w0, words[1] = w.w1, words[2] = w.w2, words[3] = w.w3;
}

// element i of four that stay in registers, as they would not behind an index which the compiler does not know
template <class V>
LOWLIGHT_FN V pick(const V* four, int i) {
    V low = i & 1 ? four[1] : four[0], high = i & 1 ? four[3] : four[2];
    return i & 2 ? high : low;
}

LOWLIGHT_FN void put(float* four, int i, float value) {
    for (int j = 0; j < 4; ++j) four[j] = j == i ? value : four[j];
}

// the first of up to four pixels that are left
LOWLIGHT_FN int first_of(uint32_t left) {
    return left & 1 ? 0 : left & 2 ? 1 : left & 4 ? 2 : 3;
}

// counts of the pixels of `which`, whose means are below 10
LOWLIGHT_FN void invert_four(const float* mean, const uint32_t* words, uint32_t which, float* counts) {
    Inversion<float> state[4];
    float means[4], found[4];
    uint32_t tails = 0;
    for (int i = 0; i < 4; ++i) {
        bool mine = (which >> i & 1) != 0, tail = inversion_is_tail(words[i]);
        // a mean of 0 is done at once
        means[i] = mine && !tail ? mean[i] : 0.0f;
        state[i] = Inversion<float>{inversion_level(words[i]), poisson_zero(means[i])};
        found[i] = 0.0f;
        tails |= mine && tail ? 1u << i : 0u;
    }
    // one division for the four
    bool more = true;
    for (int k = 0; more && k < 64; ++k) {
        float next = float(k + 1), inverse = reciprocal(next);
        more = false;
        for (int i = 0; i < 4; ++i) {
            bool beyond = state[i].left > state[i].probability;
            found[i] = beyond ? next : found[i];
            more |= beyond;
            inversion_next(state[i], means[i], inverse);
        }
    }
    for (int i = 0; i < 4; ++i) counts[i] = which >> i & 1 ? found[i] : counts[i];
    for (; tails; tails &= tails - 1) {
        int i = first_of(tails);
        put(counts, i, poisson_tail(pick(mean, i), pick(words, i)));
    }
}

// counts of the pixels of `which`, whose means are 10 or more; words: kPoissonFirst of attempt 0
LOWLIGHT_FN void reject_four(const NoiseLine& line, uint32_t counter, const float* mean, const uint32_t* words,
                             uint32_t which, float* counts) {
    uint32_t second[4], left = 0;
    draw_four_words(line, counter, 0, kPoissonSecond, second);
    // a warp has hardly ever a place at which no pixel wants the whole test: nothing is formed for it a second time
#if defined(__CUDA_ARCH__)
#    pragma unroll 1
#endif
    for (int i = 0; i < 4; ++i) {
        if (!(which >> i & 1)) continue;
        float own = pick(mean, i);
        uint32_t word = pick(second, i);
        Hat hat = poisson_hat(own);
        Candidate c = poisson_candidate(own, hat, pick(words, i));
        put(counts, i, c.count);
        bool done = poisson_accepts_quickly(hat, c, word) || poisson_accepts(own, hat, c, word);
        left |= done ? 0u : 1u << i;
    }
    // one attempt of one pixel at a time: a thread goes on to its next pixel while its neighbours are still at theirs
    for (uint32_t attempt = 1; left;) {
        int i = first_of(left);
        uint32_t again[4];
        draw_four_words(line, counter, attempt, kPoissonFirst, again);
        draw_four_words(line, counter, attempt, kPoissonSecond, second);
        float own = pick(mean, i);
        uint32_t word = pick(second, i);
        Hat hat = poisson_hat(own);
        Candidate c = poisson_candidate(own, hat, pick(again, i));
        bool done = poisson_accepts_quickly(hat, c, word) || poisson_accepts(own, hat, c, word);
        if (done || attempt + 1 == kMostAttempts) {
            put(counts, i, c.count);
            left &= left - 1;
            attempt = 1;
        } else {
            ++attempt;
        }
    }
}

// counts of the four pixels of one counter; NaN for a mean that is not in [0, kMostMean]
LOWLIGHT_FN void poisson_four(const NoiseLine& line, uint32_t counter, const float* mean, float* counts) {
    uint32_t words[4], small = 0, large = 0;
    draw_four_words(line, counter, 0, kPoissonFirst, words);
    for (int i = 0; i < 4; ++i) {
        bool valid = poisson_mean_is_valid(mean[i]), below_ten = mean[i] < kInversionBelow;
        small |= valid && below_ten ? 1u << i : 0u;
        large |= valid && !below_ten ? 1u << i : 0u;
        counts[i] = bit_cast<float>(0x7fc00000u);
    }
    if (small) invert_four(mean, words, small, counts);
    if (large) reject_four(line, counter, mean, words, large, counts);
}

// counts of a group. The code is long, so it stands once: the halves of a wide group take turns
template <class G>
LOWLIGHT_FN void poisson_group(const NoiseLine& line, int64_t group, const float* mean, float* counts) {
    constexpr int kPixels = G::kPixels;
    static_assert(kPixels == 4 || kPixels == 8, "one counter or two");
    uint32_t counter = first_counter<G>(line, group);
    if constexpr (kPixels == 4) {
        poisson_four(line, counter, mean, counts);
    } else {
#if defined(__CUDA_ARCH__)
#    pragma unroll 1
#endif
        for (int half = 0; half < 2; ++half) {
            float means[4], found[4];
            for (int i = 0; i < 4; ++i) means[i] = half ? mean[i + 4] : mean[i];
            poisson_four(line, counter + half, means, found);
            for (int i = 0; i < 4; ++i) {
                counts[i] = half ? counts[i] : found[i];
                counts[i + 4] = found[i];
            }
        }
    }
}

template <class G>
LOWLIGHT_FN void tukey_group(const NoiseLine& line, int64_t group, TukeyShape shape, float* pixels) {
    for (int i = 0; i < G::kPixels; i += 4) {
        uint32_t words[4];
        draw_four_words(line, first_counter<G>(line, group) + i / 4, 0, kReadTukey, words);
        for (int j = 0; j < 4; ++j) pixels[i + j] = tukey_quantile(shape, words[j]);
    }
}

}  // namespace lowlight
