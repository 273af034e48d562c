/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNEL_X86_SUM_AVX2_H
#define KERNEL_X86_SUM_AVX2_H

/* Sums of products of 52-bit words with AVX2: integers split at 26 bits, reduced in doubles. */
#include "fp_avx2.h"
#include "x86.h"

/*
 * x = x1 2^26 + x0, y likewise: x y = x1 y1 2^52 + (x0 y1 + x1 y0) 2^26 + x0 y0. The three sums are
 * kept apart. For x, y < 2^52 they grow by less than 2^52, 2^53, 2^52 a term: 1024 terms and a
 * start value below 2^52 fit in 64 bits. (vpmuludq reads the low 32 bits of each word.)
 */
#define SUM_TERMS 1024u

struct split {
    ivec low, high;
};

struct sum {
    ivec low, mid, high;
};

INLINE struct split split_of(ivec x)
{
    struct split s = {_mm256_and_si256(x, i_all((UINT64_C(1) << 26) - 1)),
                      _mm256_srli_epi64(x, 26)};
    return s;
}

INLINE void sum_add(struct sum *s, struct split x, struct split y)
{
    s->low = _mm256_add_epi64(s->low, _mm256_mul_epu32(x.low, y.low));
    s->mid = _mm256_add_epi64(s->mid, _mm256_mul_epu32(x.low, y.high));
    s->mid = _mm256_add_epi64(s->mid, _mm256_mul_epu32(x.high, y.low));
    s->high = _mm256_add_epi64(s->high, _mm256_mul_epu32(x.high, y.high));
}

struct reducer {
    struct fconsts c;
    fvec one, ones, r52, r52s, r104, r104s; /* 1, 2^52, 2^104 mod q and their ratios to q */
};

INLINE struct reducer reducer_of(const struct modulus *m)
{
    struct reducer r = {f_consts(m->q),        f_all(1.0),       f_ratio(m->ones),
                        f_all((double)m->r52), f_ratio(m->r52s), f_all((double)m->r104),
                        f_ratio(m->r104s)};
    return r;
}

/*
 * low + mid 2^26 + high 2^52 = h1 2^104 + h0 2^52 + l with all three below 2^52; each is multiplied
 * by its constant into |.| <= 3q/2, in sum at most 9q/2.
 */
INLINE ivec sum_reduce(struct sum s, const struct reducer *r)
{
    ivec mask26 = i_all((UINT64_C(1) << 26) - 1);
    ivec mask52 = i_all(MOD_MASK);
    ivec high = _mm256_add_epi64(s.high, _mm256_srli_epi64(s.mid, 26));
    high = _mm256_add_epi64(high, _mm256_srli_epi64(s.low, 52));
    /* below 2^52 + 2^52 before this last carry */
    ivec low = _mm256_add_epi64(_mm256_and_si256(s.low, mask52),
                                _mm256_slli_epi64(_mm256_and_si256(s.mid, mask26), 26));
    high = _mm256_add_epi64(high, _mm256_srli_epi64(low, 52));
    low = _mm256_and_si256(low, mask52);
    fvec x = f_mul_w(f_from(low), r->one, r->ones, &r->c);
    fvec y = f_mul_w(f_from(_mm256_and_si256(high, mask52)), r->r52, r->r52s, &r->c);
    fvec z = f_mul_w(f_from(_mm256_srli_epi64(high, 52)), r->r104, r->r104s, &r->c);
    return i_from(f_canonical(_mm256_add_pd(_mm256_add_pd(x, y), z), &r->c));
}

INLINE struct sum sum_start(ivec low)
{
    ivec zero = _mm256_setzero_si256();
    struct sum s = {low, zero, zero};
    return s;
}

#endif
