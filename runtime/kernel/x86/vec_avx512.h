/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNEL_X86_VEC_AVX512_H
#define KERNEL_X86_VEC_AVX512_H

/*
 * Vectors of eight words and their arithmetic modulo q, for the files of this folder that are
 * compiled for AVX-512 IFMA. Lengths that are no multiple of eight end with a masked vector:
 * masked-out lanes read as zero and are not written.
 */
#include "x86.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

typedef __m512i vec;

INLINE vec all(uint64_t w)
{
    return _mm512_set1_epi64((long long)w);
}

INLINE vec load(const uint64_t *p)
{
    return _mm512_loadu_si512((const void *)p);
}

INLINE vec load_part(const uint64_t *p, __mmask8 lanes)
{
    return _mm512_maskz_loadu_epi64(lanes, (const void *)p);
}

INLINE void store(uint64_t *p, vec v)
{
    _mm512_storeu_si512((void *)p, v);
}

/* far: past the caches, where p is aligned; an _mm_sfence() must follow before others read. */
INLINE void store_far(uint64_t *p, vec v, bool far)
{
    if (far) {
        _mm512_stream_si512((void *)p, v);
    } else {
        store(p, v);
    }
}

INLINE bool aligned(const uint64_t *p)
{
    return (uintptr_t)p % 64 == 0;
}

INLINE void store_part(uint64_t *p, __mmask8 lanes, vec v)
{
    _mm512_mask_storeu_epi64((void *)p, lanes, v);
}

/* Lanes that exist when `left` >= 1 words are left. */
INLINE __mmask8 lanes_of(size_t left)
{
    unsigned mask = left >= 8 ? 0xffu : (1u << left) - 1u;
    return (__mmask8)mask;
}

/* x < 2m -> x mod m: x - m wraps to a huge word when x < m. */
INLINE vec once(vec x, vec m)
{
    return _mm512_min_epu64(x, _mm512_sub_epi64(x, m));
}

struct consts {
    vec q, q2, q4, q8; /* multiples of q */
    vec nq;            /* 2^52 - q */
    vec mask;          /* 2^52 - 1 */
};

INLINE struct consts consts_of(uint64_t q)
{
    struct consts c = {
        all(q), all(2 * q), all(4 * q), all(8 * q), all((UINT64_C(1) << 52) - q), all(MOD_MASK)};
    return c;
}

/*
 * y w mod q in [0, 2q), y < 2^52. h = hi(y ws); y w - h q is computed mod 2^52 as
 * lo(y w) + lo(h (2^52 - q)), which is below 2^53 before the mask.
 */
INLINE vec mul_w(vec y, vec w, vec ws, const struct consts *c)
{
    vec zero = _mm512_setzero_si512();
    vec h = _mm512_madd52hi_epu64(zero, y, ws);
    vec t = _mm512_madd52lo_epu64(zero, y, w);
    t = _mm512_madd52lo_epu64(t, h, c->nq);
    return _mm512_and_si512(t, c->mask);
}

/*
 * Barrett: a b mod q in [0, 3q) for a, b in [0, q) and b2 = bits(q). The product p = hi 2^52 + lo
 * is below 2^(2 b2). u = floor(p / 2^(b2-2)) < 2^(b2+2) <= 2^52 and mu = floor(2^(b2+50) / q) give
 * h = floor(u mu / 2^52): p/q - h < 1/2 (the floor in u, times mu/2^52 <= 1/2) + 1 (the floor in
 * mu, times u/2^52 <= 1) + 1 < 3, and h <= p/q. So p - h q in [0, 3q), below 2^52.
 */
struct barrett {
    struct consts c;
    vec mu;
    vec zero;
    __m128i right, left; /* b2 - 2 and 54 - b2 */
};

INLINE struct barrett barrett_of(const struct modulus *m)
{
    struct barrett b;
    b.c = consts_of(m->q);
    b.mu = all(m->mu);
    b.zero = _mm512_setzero_si512();
    b.right = _mm_cvtsi32_si128((int)m->bits - 2);
    b.left = _mm_cvtsi32_si128(54 - (int)m->bits);
    return b;
}

INLINE vec barrett_mul(vec x, vec y, const struct barrett *b)
{
    vec hi = _mm512_madd52hi_epu64(b->zero, x, y);
    vec lo = _mm512_madd52lo_epu64(b->zero, x, y);
    vec u = _mm512_or_si512(_mm512_sll_epi64(hi, b->left), _mm512_srl_epi64(lo, b->right));
    vec h = _mm512_madd52hi_epu64(b->zero, u, b->mu);
    return _mm512_and_si512(_mm512_madd52lo_epu64(lo, h, b->c.nq), b->c.mask);
}

/* [0, 4q) -> [0, q), 4q <= 2^52 */
INLINE vec canonical(vec x, const struct consts *c)
{
    return once(once(x, c->q2), c->q);
}

/*
 * The sums of products are kept as hi 2^52 + lo. WIDE reduces them: with hi = h1 2^52 + h0 and
 * lo = l1 2^52 + l0, and h0 taken with l1 added in,
 *     hi 2^52 + lo = h1 2^104 + h0 2^52 + l0,
 * each term one multiplication by a constant into [0, 2q): the sum is below 6q, and 8q < 2^53 fits
 * a word. NARROW leaves the first term out, for hi + l1 < 2^52.
 */
struct sum {
    struct consts c;
    vec zero;
    vec one, ones, r52, r52s, r104, r104s;
};

INLINE struct sum sum_of(const struct modulus *m)
{
    struct sum s;
    s.c = consts_of(m->q);
    s.zero = _mm512_setzero_si512();
    s.one = all(1);
    s.ones = all(m->ones);
    s.r52 = all(m->r52);
    s.r52s = all(m->r52s);
    s.r104 = all(m->r104);
    s.r104s = all(m->r104s);
    return s;
}

INLINE vec sum_reduce(vec hi, vec lo, const struct sum *s, int wide)
{
    hi = _mm512_add_epi64(hi, _mm512_srli_epi64(lo, 52));
    lo = _mm512_and_si512(lo, s->c.mask);
    vec r = _mm512_add_epi64(mul_w(lo, s->one, s->ones, &s->c),
                             mul_w(_mm512_and_si512(hi, s->c.mask), s->r52, s->r52s, &s->c));
    if (wide) {
        r = _mm512_add_epi64(r, mul_w(_mm512_srli_epi64(hi, 52), s->r104, s->r104s, &s->c));
        r = once(r, s->c.q4);
    }
    return canonical(r, &s->c);
}

/*
 * Sums are hi 2^52 + lo. A product of words below q and 2^50 is below 2^50 q, so the sum of T of
 * them has hi + lo / 2^52 < T q / 4. Montgomery: m = lo q^-1 mod 2^52 makes lo - m q divisible by
 * 2^52, and as the low words of m q and lo agree,
 *
 *     (hi 2^52 + lo - m q) / 2^52 = hi + floor(lo / 2^52) - floor(m q / 2^52) > -q.
 *
 * With q added the result is in (0, T q / 4 + q); mont_reduce makes it canonical when it is below 8q.
 */
struct mont {
    struct consts c;
    vec inv, zero;
};

INLINE struct mont mont_of(const struct modulus *m)
{
    struct mont r = {consts_of(m->q), all(m->inv), _mm512_setzero_si512()};
    return r;
}

INLINE vec mont_reduce(vec hi, vec lo, const struct mont *r)
{
    vec t = _mm512_madd52hi_epu64(r->zero, _mm512_madd52lo_epu64(r->zero, lo, r->inv), r->c.q);
    hi = _mm512_add_epi64(hi, _mm512_srli_epi64(lo, 52));
    hi = _mm512_sub_epi64(_mm512_add_epi64(hi, r->c.q), t);
    return canonical(once(hi, r->c.q4), &r->c);
}

#endif
