/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNEL_X86_NTT_AVX512_H
#define KERNEL_X86_NTT_AVX512_H

/* The passes of the forward transform (ntt_avx512.c), which convert_avx512.c takes apart. */
#include "vec_avx512.h"

/*
 * Products here are right modulo 2^52 only: bit 52 of a word may be set, which multiplications do
 * not see and `clean` removes before a comparison.
 */
INLINE vec clean(vec x, const struct consts *c)
{
    return _mm512_and_si512(x, c->mask);
}

/* mul_w without the mask. */
INLINE vec mul_part(vec y, vec w, vec ws, const struct consts *c)
{
    vec h = _mm512_madd52hi_epu64(_mm512_setzero_si512(), y, ws);
    vec t = _mm512_madd52lo_epu64(_mm512_setzero_si512(), y, w);
    return _mm512_madd52lo_epu64(t, h, c->nq);
}

/*
 * x' = x + w y, y' = x - w y + 2q. Tight: both below 4q for x below 4q. Loose: both less than 2q
 * larger than x.
 */
INLINE void forward(vec *x, vec *y, vec w, vec ws, const struct consts *c, int tight)
{
    vec h = _mm512_madd52hi_epu64(_mm512_setzero_si512(), *y, ws);
    if (tight) {
        vec u = once(clean(*x, c), c->q2);
        vec t = _mm512_madd52lo_epu64(_mm512_setzero_si512(), *y, w);
        t = _mm512_madd52lo_epu64(t, h, c->nq);
        *x = _mm512_add_epi64(u, t);
        *y = _mm512_sub_epi64(_mm512_add_epi64(u, c->q2), t);
    } else {
        vec s = _mm512_madd52lo_epu64(_mm512_madd52lo_epu64(*x, *y, w), h, c->nq);
        *y = _mm512_sub_epi64(_mm512_add_epi64(_mm512_add_epi64(*x, c->q2), *x), s);
        *x = s;
    }
}

/*
 * A pass works on sixteen vectors, two groups x and y of eight, stage by stage: eight butterflies
 * that do not wait for each other. One group alone leaves the multipliers idle half of the time.
 */

/* Loose words are brought below 8q where a pass begins; only those that are not multiplied. */
INLINE void forward_start(vec x[8], const struct consts *c, int tight)
{
    if (!tight) {
        x[0] = once(clean(x[0], c), c->q8);
        x[1] = once(clean(x[1], c), c->q8);
        x[2] = once(clean(x[2], c), c->q8);
        x[3] = once(clean(x[3], c), c->q8);
    }
}

INLINE void load_rows(vec x[8], const uint64_t *a, size_t step)
{
    x[0] = load(a);
    x[1] = load(a + step);
    x[2] = load(a + 2 * step);
    x[3] = load(a + 3 * step);
    x[4] = load(a + 4 * step);
    x[5] = load(a + 5 * step);
    x[6] = load(a + 6 * step);
    x[7] = load(a + 7 * step);
}

INLINE void store_rows(uint64_t *a, size_t step, const vec x[8])
{
    store(a, x[0]);
    store(a + step, x[1]);
    store(a + 2 * step, x[2]);
    store(a + 3 * step, x[3]);
    store(a + 4 * step, x[4]);
    store(a + 5 * step, x[5]);
    store(a + 6 * step, x[6]);
    store(a + 7 * step, x[7]);
}

/* out[v] lane u = in[u] lane v. */
#define TRANSPOSE(x0, x1, x2, x3, x4, x5, x6, x7)                                                  \
    do {                                                                                           \
        vec t0 = _mm512_unpacklo_epi64(x0, x1);                                                    \
        vec t1 = _mm512_unpackhi_epi64(x0, x1);                                                    \
        vec t2 = _mm512_unpacklo_epi64(x2, x3);                                                    \
        vec t3 = _mm512_unpackhi_epi64(x2, x3);                                                    \
        vec t4 = _mm512_unpacklo_epi64(x4, x5);                                                    \
        vec t5 = _mm512_unpackhi_epi64(x4, x5);                                                    \
        vec t6 = _mm512_unpacklo_epi64(x6, x7);                                                    \
        vec t7 = _mm512_unpackhi_epi64(x6, x7);                                                    \
        vec u0 = _mm512_shuffle_i64x2(t0, t2, 0x88);                                               \
        vec u1 = _mm512_shuffle_i64x2(t1, t3, 0x88);                                               \
        vec u2 = _mm512_shuffle_i64x2(t0, t2, 0xdd);                                               \
        vec u3 = _mm512_shuffle_i64x2(t1, t3, 0xdd);                                               \
        vec u4 = _mm512_shuffle_i64x2(t4, t6, 0x88);                                               \
        vec u5 = _mm512_shuffle_i64x2(t5, t7, 0x88);                                               \
        vec u6 = _mm512_shuffle_i64x2(t4, t6, 0xdd);                                               \
        vec u7 = _mm512_shuffle_i64x2(t5, t7, 0xdd);                                               \
        x0 = _mm512_shuffle_i64x2(u0, u4, 0x88);                                                   \
        x1 = _mm512_shuffle_i64x2(u1, u5, 0x88);                                                   \
        x2 = _mm512_shuffle_i64x2(u2, u6, 0x88);                                                   \
        x3 = _mm512_shuffle_i64x2(u3, u7, 0x88);                                                   \
        x4 = _mm512_shuffle_i64x2(u0, u4, 0xdd);                                                   \
        x5 = _mm512_shuffle_i64x2(u1, u5, 0xdd);                                                   \
        x6 = _mm512_shuffle_i64x2(u2, u6, 0xdd);                                                   \
        x7 = _mm512_shuffle_i64x2(u3, u7, 0xdd);                                                   \
    } while (0)

/*
 * Twiddles of a pass. Forward stage m of polynomial i uses w[m+i], stages 2m and 4m of its parts
 * w[2m+2i+e], w[4m+4i+e]: with k = m+i these are w[k], w[2k+e], w[4k+e].
 * The inverse uses w[2m-1-i]: with k' = 2m-1-i the others are w[2k'+1-e], w[4k'+3-e].
 */
/* What the passes of one transform share. */
struct plan {
    const uint64_t *w, *ws, *tail; /* tail NULL: build it */
    size_t size;
    struct consts c;
    vec ones;       /* Shoup word of 1 */
    uint64_t f, fs; /* inverse: the final factor */
    uint64_t g, gs; /* inverse: the final factor times the last twiddle */
};

/* x < 2^52 -> x mod q in [0, 2q), right modulo 2^52. */
INLINE vec settle(vec x, const struct plan *p)
{
    vec h = _mm512_madd52hi_epu64(_mm512_setzero_si512(), x, p->ones);
    return _mm512_madd52lo_epu64(x, h, p->c.nq);
}

/* The three stages of a radix-8 pass with first twiddle k. */
INLINE void forward_8a(vec x[8], size_t k, const struct plan *p, int tight)
{
    vec w = all(p->w[k]), ws = all(p->ws[k]);
    forward(&x[0], &x[4], w, ws, &p->c, tight);
    forward(&x[1], &x[5], w, ws, &p->c, tight);
    forward(&x[2], &x[6], w, ws, &p->c, tight);
    forward(&x[3], &x[7], w, ws, &p->c, tight);
}

INLINE void forward_8b(vec x[8], size_t k, const struct plan *p, int tight)
{
    vec w = all(p->w[2 * k]), ws = all(p->ws[2 * k]);
    forward(&x[0], &x[2], w, ws, &p->c, tight);
    forward(&x[1], &x[3], w, ws, &p->c, tight);
    w = all(p->w[2 * k + 1]), ws = all(p->ws[2 * k + 1]);
    forward(&x[4], &x[6], w, ws, &p->c, tight);
    forward(&x[5], &x[7], w, ws, &p->c, tight);
}

INLINE void forward_8c(vec x[8], size_t k, const struct plan *p, int tight)
{
    forward(&x[0], &x[1], all(p->w[4 * k]), all(p->ws[4 * k]), &p->c, tight);
    forward(&x[2], &x[3], all(p->w[4 * k + 1]), all(p->ws[4 * k + 1]), &p->c, tight);
    forward(&x[4], &x[5], all(p->w[4 * k + 2]), all(p->ws[4 * k + 2]), &p->c, tight);
    forward(&x[6], &x[7], all(p->w[4 * k + 3]), all(p->ws[4 * k + 3]), &p->c, tight);
}

/*
 * Twiddles by lane for the last three stages: three vectors from the tail and the constants w[1],
 * w[2], w[3] (see struct ntt_table). y w[4k+e] is computed as (y w[e]) w[4k]: five multiplications
 * more, and four sevenths of the bytes less.
 */
INLINE vec times(vec y, size_t e, const struct plan *p)
{
    return mul_part(y, all(p->w[e]), all(p->ws[e]), &p->c);
}

/*
 * Tables of many primes do not stay in cache; the tail is asked for this many blocks before it is
 * needed. (The hardware does not see the stream between all the others.)
 */
#define AHEAD 16u

INLINE void prefetch(const uint64_t *p, size_t words)
{
    for (size_t i = 0; i < words; i += 8) {
        _mm_prefetch((const char *)(p + i), _MM_HINT_T0);
    }
}

/* The tail block for a transform smaller than its table: the same words from w and ws. */
static void tail_build(uint64_t *tail, const uint64_t *w, const uint64_t *ws, size_t size,
                       size_t block)
{
    for (size_t v = 0; v < 8; v++) {
        size_t k = size / 8 + 8 * block + v;
        for (size_t p = 0; p < 3; p++) {
            tail[16 * p + v] = w[k << p];
            tail[16 * p + 8 + v] = ws[k << p];
        }
    }
}

/* What becomes of the 64 results x: out = x, or out = (minuend - x) c. */
struct finish {
    const uint64_t *minuend; /* of these 64 words; NULL: none */
    vec c, cs;
    bool far;
};

INLINE const uint64_t *tail_of(uint64_t local[K_TAIL_WORDS], const struct plan *p, size_t block,
                               const uint64_t *minuend)
{
    if (p->tail == NULL) {
        tail_build(local, p->w, p->ws, p->size, block);
        return local;
    }
    const uint64_t *tail = p->tail + K_TAIL_WORDS * block;
    if (block + AHEAD < p->size / 64) {
        prefetch(tail + K_TAIL_WORDS * AHEAD, K_TAIL_WORDS);
        if (minuend != NULL) {
            prefetch(minuend + 64 * AHEAD, 64);
        }
    }
    return tail;
}

INLINE void tail_a(vec x[8], const uint64_t *tail, const struct plan *p, int tight)
{
    vec w = load(tail), ws = load(tail + 8);
    forward(&x[0], &x[4], w, ws, &p->c, tight);
    forward(&x[1], &x[5], w, ws, &p->c, tight);
    forward(&x[2], &x[6], w, ws, &p->c, tight);
    forward(&x[3], &x[7], w, ws, &p->c, tight);
    x[6] = times(x[6], 1, p);
    x[7] = times(x[7], 1, p);
}

INLINE void tail_b(vec x[8], const uint64_t *tail, const struct plan *p, int tight)
{
    vec w = load(tail + 16), ws = load(tail + 24);
    forward(&x[0], &x[2], w, ws, &p->c, tight);
    forward(&x[1], &x[3], w, ws, &p->c, tight);
    forward(&x[4], &x[6], w, ws, &p->c, tight);
    forward(&x[5], &x[7], w, ws, &p->c, tight);
    x[3] = times(x[3], 1, p);
    x[5] = times(x[5], 2, p);
    x[7] = times(x[7], 3, p);
}

INLINE void tail_c(vec x[8], const uint64_t *tail, const struct plan *p, int tight)
{
    vec w = load(tail + 32), ws = load(tail + 40);
    forward(&x[0], &x[1], w, ws, &p->c, tight);
    forward(&x[2], &x[3], w, ws, &p->c, tight);
    forward(&x[4], &x[5], w, ws, &p->c, tight);
    forward(&x[6], &x[7], w, ws, &p->c, tight);
}

/*
 * One vector of results, below 4q (tight) or 14q. With a minuend m the operand of the product is
 * m + 2q - x below 3q, or m + 14q - x below 15q.
 */
INLINE void finish_one(uint64_t *out, vec x, size_t at, const struct plan *p, int tight,
                       const struct finish *f)
{
    const struct consts *c = &p->c;
    if (f->minuend != NULL) {
        vec bound = tight ? c->q2 : _mm512_add_epi64(_mm512_add_epi64(c->q8, c->q4), c->q2);
        x = tight ? once(clean(x, c), c->q2) : x;
        x = _mm512_sub_epi64(_mm512_add_epi64(load(f->minuend + at), bound), x);
        x = mul_part(x, f->c, f->cs, c);
    } else {
        x = tight ? once(clean(x, c), c->q2) : settle(x, p);
    }
    store_far(out + at, once(clean(x, c), c->q), f->far);
}

INLINE void finish_64(uint64_t *out, vec x[8], const struct plan *p, int tight,
                      const struct finish *f)
{
    TRANSPOSE(x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]);
    finish_one(out, x[0], 0, p, tight, f);
    finish_one(out, x[1], 8, p, tight, f);
    finish_one(out, x[2], 16, p, tight, f);
    finish_one(out, x[3], 24, p, tight, f);
    finish_one(out, x[4], 32, p, tight, f);
    finish_one(out, x[5], 40, p, tight, f);
    finish_one(out, x[6], 48, p, tight, f);
    finish_one(out, x[7], 56, p, tight, f);
}

/* The last three stages of two neighbouring blocks of 64 words; out may be a; canonical. */
INLINE void forward_tails(uint64_t *out, const uint64_t *a, const struct plan *p, size_t block,
                          int tight, const struct finish *f)
{
    uint64_t local[2][K_TAIL_WORDS];
    struct finish g = *f;
    g.minuend = f->minuend != NULL ? f->minuend + 64 : NULL;
    const uint64_t *s = tail_of(local[0], p, block, f->minuend);
    const uint64_t *t = tail_of(local[1], p, block + 1, g.minuend);
    vec x[8], y[8];
    load_rows(x, a, 8);
    load_rows(y, a + 64, 8);
    TRANSPOSE(x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]);
    TRANSPOSE(y[0], y[1], y[2], y[3], y[4], y[5], y[6], y[7]);
    forward_start(x, &p->c, tight);
    forward_start(y, &p->c, tight);
    tail_a(x, s, p, tight);
    tail_a(y, t, p, tight);
    tail_b(x, s, p, tight);
    tail_b(y, t, p, tight);
    tail_c(x, s, p, tight);
    tail_c(y, t, p, tight);
    finish_64(out, x, p, tight, f);
    finish_64(out + 64, y, p, tight, &g);
}

/*
 * What a first pass reads: words, or (narrow) integers x of 32 bits, for which it takes x + q: in
 * [0, 2q) where q > 2^31, in which no loose word needs a forward_start.
 */
INLINE vec load_from(const void *in, size_t at, const struct plan *p, int narrow)
{
    if (!narrow) {
        return load((const uint64_t *)in + at);
    }
    __m256i x = _mm256_loadu_si256((const void *)((const int32_t *)in + at));
    return _mm512_add_epi64(_mm512_cvtepi32_epi64(x), p->c.q);
}

INLINE void load_rows_from(vec x[8], const void *in, size_t at, size_t step, const struct plan *p,
                           int narrow)
{
    x[0] = load_from(in, at, p, narrow);
    x[1] = load_from(in, at + step, p, narrow);
    x[2] = load_from(in, at + 2 * step, p, narrow);
    x[3] = load_from(in, at + 3 * step, p, narrow);
    x[4] = load_from(in, at + 4 * step, p, narrow);
    x[5] = load_from(in, at + 5 * step, p, narrow);
    x[6] = load_from(in, at + 6 * step, p, narrow);
    x[7] = load_from(in, at + 7 * step, p, narrow);
}

/*
 * One pass over a block of eight parts of `step` words, a multiple of 16, that go to places
 * `out_step` words apart. k is the index of its first twiddle.
 */
INLINE void forward_take8(uint64_t *out, size_t out_step, const void *in, size_t step, size_t k,
                          const struct plan *p, int tight, int narrow)
{
    for (size_t j = 0; j < step; j += 16) {
        vec x[8], y[8];
        load_rows_from(x, in, j, step, p, narrow);
        load_rows_from(y, in, j + 8, step, p, narrow);
        forward_start(x, &p->c, tight || narrow);
        forward_start(y, &p->c, tight || narrow);
        forward_8a(x, k, p, tight);
        forward_8a(y, k, p, tight);
        forward_8b(x, k, p, tight);
        forward_8b(y, k, p, tight);
        forward_8c(x, k, p, tight);
        forward_8c(y, k, p, tight);
        store_rows(out + j, out_step, x);
        store_rows(out + j + 8, out_step, y);
    }
}

INLINE void forward_move8(uint64_t *out, size_t out_step, const uint64_t *in, size_t step, size_t k,
                          const struct plan *p, int tight)
{
    forward_take8(out, out_step, in, step, k, p, tight, 0);
}

INLINE void forward_pass8(uint64_t *out, const uint64_t *in, size_t step, size_t k,
                          const struct plan *p, int tight)
{
    forward_move8(out, step, in, step, k, p, tight);
}

/* One pass over each of two neighbouring blocks of 64 words, in place. */
INLINE void forward_pass64(uint64_t *a, size_t k, const struct plan *p, int tight)
{
    vec x[8], y[8];
    load_rows(x, a, 8);
    load_rows(y, a + 64, 8);
    forward_start(x, &p->c, tight);
    forward_start(y, &p->c, tight);
    forward_8a(x, k, p, tight);
    forward_8a(y, k + 1, p, tight);
    forward_8b(x, k, p, tight);
    forward_8b(y, k + 1, p, tight);
    forward_8c(x, k, p, tight);
    forward_8c(y, k + 1, p, tight);
    store_rows(a, 8, x);
    store_rows(a + 64, 8, y);
}

/* Two stages; step is a multiple of 32. */
INLINE void forward_take4(uint64_t *out, size_t out_step, const void *in, size_t step, size_t k,
                          const struct plan *p, int tight, int narrow)
{
    const struct consts *c = &p->c;
    for (size_t j = 0; j < step; j += 32) {
        vec x[16];
        for (size_t v = 0; v < 16; v++) {
            x[v] = load_from(in, j + v / 4 * step + v % 4 * 8, p, narrow);
            x[v] = !tight && !narrow && v < 8 ? once(clean(x[v], c), c->q8) : x[v];
        }
        vec w = all(p->w[k]), ws = all(p->ws[k]);
        for (size_t v = 0; v < 8; v++) {
            forward(&x[v], &x[v + 8], w, ws, c, tight);
        }
        vec w0 = all(p->w[2 * k]), w0s = all(p->ws[2 * k]);
        vec w1 = all(p->w[2 * k + 1]), w1s = all(p->ws[2 * k + 1]);
        for (size_t v = 0; v < 4; v++) {
            forward(&x[v], &x[v + 4], w0, w0s, c, tight);
            forward(&x[v + 8], &x[v + 12], w1, w1s, c, tight);
        }
        for (size_t v = 0; v < 16; v++) {
            store(out + j + v / 4 * out_step + v % 4 * 8, x[v]);
        }
    }
}

INLINE void forward_move4(uint64_t *out, size_t out_step, const uint64_t *in, size_t step, size_t k,
                          const struct plan *p, int tight)
{
    forward_take4(out, out_step, in, step, k, p, tight, 0);
}

INLINE void forward_pass4(uint64_t *out, const uint64_t *in, size_t step, size_t k,
                          const struct plan *p, int tight)
{
    forward_move4(out, step, in, step, k, p, tight);
}

INLINE void forward_take2(uint64_t *out, size_t out_step, const void *in, size_t step, size_t k,
                          const struct plan *p, int tight, int narrow)
{
    const struct consts *c = &p->c;
    vec w = all(p->w[k]), ws = all(p->ws[k]);
    for (size_t j = 0; j < step; j += 32) {
        for (size_t v = j; v < j + 32; v += 8) {
            vec x = load_from(in, v, p, narrow), y = load_from(in, step + v, p, narrow);
            x = tight || narrow ? x : once(clean(x, c), c->q8);
            forward(&x, &y, w, ws, c, tight);
            store(out + v, x);
            store(out + out_step + v, y);
        }
    }
}

INLINE void forward_move2(uint64_t *out, size_t out_step, const uint64_t *in, size_t step, size_t k,
                          const struct plan *p, int tight)
{
    forward_take2(out, out_step, in, step, k, p, tight, 0);
}

INLINE void plan_start(struct plan *p, const struct ntt_table *t, unsigned log_m)
{
    p->w = t->w;
    p->ws = t->ws;
    p->tail = log_m == t->log_n ? t->tail : NULL;
    p->size = (size_t)1 << log_m;
    p->c = consts_of(t->mod.q);
    p->ones = all(t->mod.ones);
}

#endif
