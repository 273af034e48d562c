/* SPDX-License-Identifier: Apache-2.0 */

/* The samplers with AVX2, four words a vector. */
#if defined(__x86_64__)
#include "kernel/kernel.h"

#include <immintrin.h>

/* Entry k: the lanes whose bits are set in k, moved together, as pairs of 32-bit words. */
#define PAIR(a) 2 * (a), 2 * (a) + 1
#define ENTRY(a, b, c, d)                                                                          \
    {                                                                                              \
        PAIR(a), PAIR(b), PAIR(c), PAIR(d)                                                         \
    }
static const int together[16][8] = {
    ENTRY(0, 0, 0, 0), ENTRY(0, 0, 0, 0), ENTRY(1, 0, 0, 0), ENTRY(0, 1, 0, 0),
    ENTRY(2, 0, 0, 0), ENTRY(0, 2, 0, 0), ENTRY(1, 2, 0, 0), ENTRY(0, 1, 2, 0),
    ENTRY(3, 0, 0, 0), ENTRY(0, 3, 0, 0), ENTRY(1, 3, 0, 0), ENTRY(0, 1, 3, 0),
    ENTRY(2, 3, 0, 0), ENTRY(0, 2, 3, 0), ENTRY(1, 2, 3, 0), ENTRY(0, 1, 2, 3),
};

/* Masked words and q are below 2^63, so the signed comparison is right. */
static size_t keep_below_avx2(uint64_t *out, size_t room, const uint64_t *words, size_t n,
                              uint64_t mask, uint64_t q)
{
    __m256i vmask = _mm256_set1_epi64x((long long)mask);
    __m256i vq = _mm256_set1_epi64x((long long)q);
    size_t have = 0;
    size_t i = 0;
    for (; i + 4 <= n && have + 4 <= room; i += 4) {
        __m256i w = _mm256_loadu_si256((const __m256i *)(const void *)(words + i));
        w = _mm256_and_si256(w, vmask);
        int keep = _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(vq, w)));
        __m256i move = _mm256_loadu_si256((const __m256i *)(const void *)together[keep]);
        _mm256_storeu_si256((__m256i *)(void *)(out + have), _mm256_permutevar8x32_epi32(w, move));
        have += (size_t)__builtin_popcount((unsigned)keep);
    }
    struct kernels ref;
    k_draw_ref(&ref);
    return have + ref.keep_below(out + have, room - have, words + i, n - i, mask, q);
}

/* Unsigned words are compared as signed ones with the top bit turned over. A comparison gives -1
 * where u < below[k], so count + the sum of them is the number of the others. */
static void inverse_cdf_avx2(int64_t *out, const uint64_t *words, size_t n, const uint64_t *below,
                             size_t count)
{
    __m256i top = _mm256_set1_epi64x(INT64_MIN);
    __m256i one = _mm256_set1_epi64x(1);
    __m256i zero = _mm256_setzero_si256();
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        __m256i u = _mm256_loadu_si256((const __m256i *)(const void *)(words + i));
        __m256i turned = _mm256_xor_si256(u, top);
        __m256i size = _mm256_set1_epi64x((long long)count);
        for (size_t k = 0; k < count; k++) {
            __m256i step = _mm256_set1_epi64x((long long)(below[k] ^ (UINT64_C(1) << 63)));
            size = _mm256_add_epi64(size, _mm256_cmpgt_epi64(step, turned));
        }
        __m256i sign = _mm256_sub_epi64(zero, _mm256_and_si256(u, one));
        size = _mm256_sub_epi64(_mm256_xor_si256(size, sign), sign);
        _mm256_storeu_si256((__m256i *)(void *)(out + i), size);
    }
    struct kernels ref;
    k_draw_ref(&ref);
    ref.inverse_cdf(out + i, words + i, n - i, below, count);
}

void k_draw_avx2(struct kernels *k)
{
    k->keep_below = keep_below_avx2;
    k->inverse_cdf = inverse_cdf_avx2;
}
#else
typedef int k_no_draw_avx2; /* an empty unit is not C */
#endif
