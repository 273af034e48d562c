/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNEL_X86_FP_AVX2_H
#define KERNEL_X86_FP_AVX2_H

/*
 * Arithmetic mod q < 2^50 in doubles, for machines with FMA but without 52-bit integer
 * multiply-add; included by the *_avx2.c files only. Residues are integers in doubles, of either
 * sign, at most 2^53 in size, so every sum below is exact and results do not depend on rounding.
 *
 * Product: for |y| <= k q and 0 <= w < q,
 *     h = y w rounded,  l = fma(y, w, -h) = y w - h exactly,
 *     b = round(h / q) or round(y (w/q)),  r = fma(-b, q, h) + l = y w - b q.
 * b is off from y w / q by 1/2 and by the errors of the factors, where y w / q <= |y| <= k 2^50:
 *   - from h / q: three roundings of relative 2^-53, 3 |y| 2^-53 <= 3k/8, |r| <= (1/2 + 3k/8) q;
 *   - from y (w/q): w/q within 2^-53, one rounding, |y| 2^-52 <= k/4, |r| <= (1/2 + k/4) q.
 * h - b q = r - l is an integer below 2^53 for k <= 8 (l is at most half a unit in the last place
 * of h < 2^103, which is 2^49), so the fma that computes it is exact.
 */
#include "kernel/mod.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

typedef __m256d fvec;
typedef __m256i ivec;

INLINE fvec f_all(double x)
{
    return _mm256_set1_pd(x);
}

INLINE ivec i_all(uint64_t x)
{
    return _mm256_set1_epi64x((long long)x);
}

INLINE ivec i_load(const uint64_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

INLINE void i_store(uint64_t *p, ivec x)
{
    _mm256_storeu_si256((__m256i *)(void *)p, x);
}

/* Words below 2^52 to doubles: put into the mantissa of 2^52 and subtract that. */
INLINE fvec f_from(ivec x)
{
    ivec magic = i_all(UINT64_C(0x4330000000000000));
    return _mm256_sub_pd(_mm256_castsi256_pd(_mm256_or_si256(x, magic)), f_all(0x1p52));
}

/* Integers in [0, 2^52) to words. */
INLINE ivec i_from(fvec x)
{
    ivec magic = i_all(UINT64_C(0x4330000000000000));
    return _mm256_xor_si256(_mm256_castpd_si256(_mm256_add_pd(x, f_all(0x1p52))), magic);
}

INLINE fvec f_round(fvec x)
{
    return _mm256_round_pd(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

struct fconsts {
    fvec q;
    fvec qinv; /* 1/q rounded */
};

INLINE struct fconsts f_consts(uint64_t q)
{
    struct fconsts c = {f_all((double)q), f_all(1.0 / (double)q)};
    return c;
}

/* |x| <= 8q -> |x| <= q (1/2 + 2^-49) */
INLINE fvec f_reduce(fvec x, const struct fconsts *c)
{
    return _mm256_fnmadd_pd(f_round(_mm256_mul_pd(x, c->qinv)), c->q, x);
}

/* Any |x| <= 8q -> [0, q): after the reduction the negative ones get q added. */
INLINE fvec f_canonical(fvec x, const struct fconsts *c)
{
    x = f_reduce(x, c);
    return _mm256_add_pd(x, _mm256_and_pd(_mm256_cmp_pd(x, f_all(0.0), _CMP_LT_OQ), c->q));
}

/* y w with b from h / q: |r| <= (1/2 + 3k/8) q. */
INLINE fvec f_mul(fvec y, fvec w, const struct fconsts *c)
{
    fvec h = _mm256_mul_pd(y, w);
    fvec l = _mm256_fmsub_pd(y, w, h);
    fvec b = f_round(_mm256_mul_pd(h, c->qinv));
    return _mm256_add_pd(_mm256_fnmadd_pd(b, c->q, h), l);
}

/* y w with wq = w/q to within 2^-53: |r| <= (1/2 + k/4) q. */
INLINE fvec f_mul_w(fvec y, fvec w, fvec wq, const struct fconsts *c)
{
    fvec h = _mm256_mul_pd(y, w);
    fvec l = _mm256_fmsub_pd(y, w, h);
    fvec b = f_round(_mm256_mul_pd(y, wq));
    return _mm256_add_pd(_mm256_fnmadd_pd(b, c->q, h), l);
}

/* w/q to within 2^-53 from the Shoup word: (ws + 1/2) 2^-52, exact in a double for ws < 2^52. */
INLINE fvec f_ratio(uint64_t ws)
{
    return f_all(((double)ws + 0.5) * 0x1p-52);
}

#endif
