/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Transforms with 52-bit multiply-add (AVX-512 IFMA): eight words a vector.
 *
 * Plan for size 2^L. The first L - 6 stages go in passes of one to three stages (radix 2, 4, 8),
 * each a load and a store of every word; a pass over a block leaves smaller blocks that are
 * finished one after the other, so that all but the first one or two passes work in the first-level
 * cache. A last radix-8 pass takes blocks of 64 words to blocks of eight; the tail transposes eight
 * of those, so that block v is in lane v, does their three stages, and transposes back.
 *
 *     2^15:  8 | 8 | 8 | 8 | T 8 T         2^16:  4 | 4 | 8 | 8 | 8 | T 8 T
 *
 * The 64-word pass and the tail alternate every few blocks instead of sharing registers: eight
 * independent short chains of dependent multiplications run faster than one chain twice as long.
 *
 * The inverse is the mirror image. It reads the blocks of eight in reversed order, so that lane v
 * of a forward twiddle vector is the one it needs (see struct ntt_table in kernel.h).
 *
 * Ranges. w y mod q is in [0, 2q) for any y < 2^52. There are two versions of each transform:
 *   - tight, q < 2^50: words are in [0, 4q) between forward stages and [0, 2q) between inverse
 *     stages, as in ref.c;
 *   - loose, q < 2^48 (so 16q < 2^52): forward words grow by 2q a stage and are brought below 8q
 *     only at the first stage of a pass (at most three stages: below 14q at its end); inverse words
 *     double a stage from 2q to at most 16q within a radix-8 pass and are brought back below 2q at
 *     its end.
 */
#if defined(__x86_64__)
#include "x86.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

typedef __m512i vec;

struct consts {
    vec q, q2, q4, q8; /* multiples of q */
    vec nq;            /* 2^52 - q */
    vec mask;          /* 2^52 - 1 */
};

INLINE struct consts consts_of(uint64_t q)
{
    struct consts c;
    c.q = _mm512_set1_epi64((long long)q);
    c.q2 = _mm512_set1_epi64((long long)(2 * q));
    c.q4 = _mm512_set1_epi64((long long)(4 * q));
    c.q8 = _mm512_set1_epi64((long long)(8 * q));
    c.nq = _mm512_set1_epi64((long long)((UINT64_C(1) << 52) - q));
    c.mask = _mm512_set1_epi64((long long)MOD_MASK);
    return c;
}

INLINE vec load(const uint64_t *p)
{
    return _mm512_loadu_si512((const void *)p);
}

INLINE void store(uint64_t *p, vec v)
{
    _mm512_storeu_si512((void *)p, v);
}

INLINE vec all(uint64_t w)
{
    return _mm512_set1_epi64((long long)w);
}

/* x < 2m -> x mod m: x - m wraps to a huge word when x < m. */
INLINE vec once(vec x, vec m)
{
    return _mm512_min_epu64(x, _mm512_sub_epi64(x, m));
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

/* x' = x + w y, y' = x - w y. reduce: the multiple of q to take from x first, or NULL. */
INLINE void forward(vec *x, vec *y, vec w, vec ws, const struct consts *c, const vec *reduce)
{
    vec u = reduce != NULL ? once(*x, *reduce) : *x;
    vec t = mul_w(*y, w, ws, c);
    *x = _mm512_add_epi64(u, t);
    *y = _mm512_sub_epi64(_mm512_add_epi64(u, c->q2), t);
}

/* x' = x + y, y' = (y - x) w; x, y < bound, a multiple of q. tight: x' brought below 2q. */
INLINE void inverse(vec *x, vec *y, vec w, vec ws, const struct consts *c, vec bound, int tight)
{
    vec s = _mm512_add_epi64(*x, *y);
    vec d = _mm512_sub_epi64(_mm512_add_epi64(*y, bound), *x);
    *x = tight ? once(s, c->q2) : s;
    *y = mul_w(d, w, ws, c);
}

/* Three forward stages between eight vectors with the seven twiddles at index k, 2k, 4k .. */
#define FORWARD_8(x0, x1, x2, x3, x4, x5, x6, x7, W, c, first, later)                              \
    do {                                                                                           \
        forward(&x0, &x4, W(0), c, first);                                                         \
        forward(&x1, &x5, W(0), c, first);                                                         \
        forward(&x2, &x6, W(0), c, first);                                                         \
        forward(&x3, &x7, W(0), c, first);                                                         \
        forward(&x0, &x2, W(1), c, later);                                                         \
        forward(&x1, &x3, W(1), c, later);                                                         \
        forward(&x4, &x6, W(2), c, later);                                                         \
        forward(&x5, &x7, W(2), c, later);                                                         \
        forward(&x0, &x1, W(3), c, later);                                                         \
        forward(&x2, &x3, W(4), c, later);                                                         \
        forward(&x4, &x5, W(5), c, later);                                                         \
        forward(&x6, &x7, W(6), c, later);                                                         \
    } while (0)

/*
 * After three loose inverse stages x0 < 16q, x1 < 8q, x2, x3 < 4q and the others < 2q: all below 2q
 * again. Tight stages leave nothing to do.
 */
#define SETTLE(x0, x1, x2, x3, c, tight)                                                           \
    do {                                                                                           \
        if (!(tight)) {                                                                            \
            x0 = once(once(once(x0, (c)->q8), (c)->q4), (c)->q2);                                  \
            x1 = once(once(x1, (c)->q4), (c)->q2);                                                 \
            x2 = once(x2, (c)->q2);                                                                \
            x3 = once(x3, (c)->q2);                                                                \
        }                                                                                          \
    } while (0)

/* Their inverse: W(0) is for the last stage, W(3) .. W(6) for the first. */
#define INVERSE_8(x0, x1, x2, x3, x4, x5, x6, x7, W, c, tight)                                     \
    do {                                                                                           \
        vec bound4 = (tight) ? (c)->q2 : (c)->q4;                                                  \
        vec bound8 = (tight) ? (c)->q2 : (c)->q8;                                                  \
        inverse(&x0, &x1, W(3), c, (c)->q2, tight);                                                \
        inverse(&x2, &x3, W(4), c, (c)->q2, tight);                                                \
        inverse(&x4, &x5, W(5), c, (c)->q2, tight);                                                \
        inverse(&x6, &x7, W(6), c, (c)->q2, tight);                                                \
        inverse(&x0, &x2, W(1), c, bound4, tight);                                                 \
        inverse(&x1, &x3, W(1), c, (c)->q2, tight);                                                \
        inverse(&x4, &x6, W(2), c, bound4, tight);                                                 \
        inverse(&x5, &x7, W(2), c, (c)->q2, tight);                                                \
        inverse(&x0, &x4, W(0), c, bound8, tight);                                                 \
        inverse(&x1, &x5, W(0), c, bound4, tight);                                                 \
        inverse(&x2, &x6, W(0), c, (c)->q2, tight);                                                \
        inverse(&x3, &x7, W(0), c, (c)->q2, tight);                                                \
        SETTLE(x0, x1, x2, x3, c, tight);                                                          \
    } while (0)

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
#define PAIR(index)  all(w[index]), all(ws[index])
#define FORWARD_W(s) PAIR((s) == 0 ? k : (s) < 3 ? 2 * k + (s)-1 : 4 * k + (s)-3)
#define INVERSE_W(s) PAIR((s) == 0 ? k : (s) < 3 ? 2 * k + 2 - (s) : 4 * k + 6 - (s))

/* What the passes of one transform share. */
struct plan {
    const uint64_t *w, *ws, *tail; /* tail NULL: build it */
    size_t size;
    struct consts c;
    uint64_t f, fs; /* inverse: the final factor */
    uint64_t g, gs; /* inverse: the final factor times the last twiddle */
};

/*
 * Twiddles by lane for the last three stages: three vectors from the tail and the constants w[1],
 * w[2], w[3] (see struct ntt_table). y w[4k+e] is computed as (y w[e]) w[4k]: five multiplications
 * more, and four sevenths of the bytes less.
 */
#define TAIL(s) load(tail + 16 * (s)), load(tail + 16 * (s) + 8)

INLINE vec times(vec y, size_t e, const struct plan *p)
{
    return mul_w(y, all(p->w[e]), all(p->ws[e]), &p->c);
}

INLINE void inverse_times(vec *x, vec *y, vec w, vec ws, size_t e, const struct plan *p, vec bound,
                          int tight)
{
    const struct consts *c = &p->c;
    vec s = _mm512_add_epi64(*x, *y);
    vec d = _mm512_sub_epi64(_mm512_add_epi64(*y, bound), *x);
    *x = tight ? once(s, c->q2) : s;
    *y = mul_w(times(d, e, p), w, ws, c);
}

/*
 * Tables of many primes do not stay in cache; the tail is asked for this many blocks before it is
 * needed. (The hardware does not see the stream between all the others.)
 */
#define AHEAD 16u

INLINE void prefetch(const uint64_t *tail)
{
    for (size_t i = 0; i < K_TAIL_WORDS; i += 8) {
        _mm_prefetch((const char *)(tail + i), _MM_HINT_T0);
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

/* ---- forward */

/* The last three stages of a block of 64 words, in place; canonical. */
INLINE void forward_tail(uint64_t *a, const struct plan *p, size_t block, int tight)
{
    const struct consts *c = &p->c;
    const uint64_t *w = p->w;
    const uint64_t *ws = p->ws;
    uint64_t local[K_TAIL_WORDS];
    const uint64_t *tail = local;
    if (p->tail != NULL) {
        tail = p->tail + K_TAIL_WORDS * block;
        if (block + AHEAD < p->size / 64) {
            prefetch(tail + K_TAIL_WORDS * AHEAD);
        }
    } else {
        tail_build(local, w, ws, p->size, block);
    }
    const vec *first = tight ? &c->q2 : &c->q8;
    const vec *later = tight ? &c->q2 : NULL;
    vec x0 = load(a), x1 = load(a + 8), x2 = load(a + 16), x3 = load(a + 24);
    vec x4 = load(a + 32), x5 = load(a + 40), x6 = load(a + 48), x7 = load(a + 56);
    TRANSPOSE(x0, x1, x2, x3, x4, x5, x6, x7);
    forward(&x0, &x4, TAIL(0), c, first);
    forward(&x1, &x5, TAIL(0), c, first);
    forward(&x2, &x6, TAIL(0), c, first);
    forward(&x3, &x7, TAIL(0), c, first);
    x6 = times(x6, 1, p);
    x7 = times(x7, 1, p);
    forward(&x0, &x2, TAIL(1), c, later);
    forward(&x1, &x3, TAIL(1), c, later);
    forward(&x4, &x6, TAIL(1), c, later);
    forward(&x5, &x7, TAIL(1), c, later);
    x3 = times(x3, 1, p);
    x5 = times(x5, 2, p);
    x7 = times(x7, 3, p);
    forward(&x0, &x1, TAIL(2), c, later);
    forward(&x2, &x3, TAIL(2), c, later);
    forward(&x4, &x5, TAIL(2), c, later);
    forward(&x6, &x7, TAIL(2), c, later);
#define CANONICAL(x)                                                                               \
    do {                                                                                           \
        if (!tight) {                                                                              \
            x = once(once(x, c->q8), c->q4);                                                       \
        }                                                                                          \
        x = once(once(x, c->q2), c->q);                                                            \
    } while (0)
    CANONICAL(x0);
    CANONICAL(x1);
    CANONICAL(x2);
    CANONICAL(x3);
    CANONICAL(x4);
    CANONICAL(x5);
    CANONICAL(x6);
    CANONICAL(x7);
    TRANSPOSE(x0, x1, x2, x3, x4, x5, x6, x7);
    store(a, x0);
    store(a + 8, x1);
    store(a + 16, x2);
    store(a + 24, x3);
    store(a + 32, x4);
    store(a + 40, x5);
    store(a + 48, x6);
    store(a + 56, x7);
}

/* One pass over a block of eight parts of `step` words. k is the index of its first twiddle. */
INLINE void forward_pass8(uint64_t *out, const uint64_t *in, size_t step, size_t k,
                          const struct plan *p, int tight)
{
    const struct consts *c = &p->c;
    const uint64_t *w = p->w;
    const uint64_t *ws = p->ws;
    const vec *first = tight ? &c->q2 : &c->q8;
    const vec *later = tight ? &c->q2 : NULL;
    for (size_t j = 0; j < step; j += 8) {
        const uint64_t *a = in + j;
        uint64_t *b = out + j;
        vec x0 = load(a), x1 = load(a + step), x2 = load(a + 2 * step), x3 = load(a + 3 * step);
        vec x4 = load(a + 4 * step), x5 = load(a + 5 * step), x6 = load(a + 6 * step);
        vec x7 = load(a + 7 * step);
        FORWARD_8(x0, x1, x2, x3, x4, x5, x6, x7, FORWARD_W, c, first, later);
        store(b, x0);
        store(b + step, x1);
        store(b + 2 * step, x2);
        store(b + 3 * step, x3);
        store(b + 4 * step, x4);
        store(b + 5 * step, x5);
        store(b + 6 * step, x6);
        store(b + 7 * step, x7);
    }
}

INLINE void forward_pass4(uint64_t *out, const uint64_t *in, size_t step, size_t k,
                          const struct plan *p, int tight)
{
    const struct consts *c = &p->c;
    const uint64_t *w = p->w;
    const uint64_t *ws = p->ws;
    const vec *first = tight ? &c->q2 : &c->q8;
    const vec *later = tight ? &c->q2 : NULL;
    for (size_t j = 0; j < step; j += 8) {
        const uint64_t *a = in + j;
        uint64_t *b = out + j;
        vec x0 = load(a), x1 = load(a + step), x2 = load(a + 2 * step), x3 = load(a + 3 * step);
        forward(&x0, &x2, FORWARD_W(0), c, first);
        forward(&x1, &x3, FORWARD_W(0), c, first);
        forward(&x0, &x1, FORWARD_W(1), c, later);
        forward(&x2, &x3, FORWARD_W(2), c, later);
        store(b, x0);
        store(b + step, x1);
        store(b + 2 * step, x2);
        store(b + 3 * step, x3);
    }
}

INLINE void forward_pass2(uint64_t *out, const uint64_t *in, size_t step, size_t k,
                          const struct plan *p, int tight)
{
    const struct consts *c = &p->c;
    const uint64_t *w = p->w;
    const uint64_t *ws = p->ws;
    for (size_t j = 0; j < step; j += 8) {
        vec x0 = load(in + j), x1 = load(in + step + j);
        forward(&x0, &x1, FORWARD_W(0), c, tight ? &c->q2 : &c->q8);
        store(out + j, x0);
        store(out + step + j, x1);
    }
}

/* How many stages the next pass takes when `left` stages stand before the last six. */
static unsigned pass_stages(unsigned left)
{
    return left == 1 ? 1 : left % 3 == 0 ? 3 : 2;
}

/* The block of size 2^log whose first twiddle has index k = size / 2^log + (number of the block).
 */
INLINE void forward_block(uint64_t *out, const uint64_t *in, unsigned log, size_t k,
                          const struct plan *p, int tight,
                          void (*next)(uint64_t *, const uint64_t *, unsigned, size_t,
                                       const struct plan *))
{
    if (log == 6) {
        forward_pass8(out, in, 8, k, p, tight);
        forward_tail(out, p, k - p->size / 64, tight);
        return;
    }
    unsigned s = pass_stages(log - 6);
    size_t step = (size_t)1 << (log - s);
    if (s == 3) {
        forward_pass8(out, in, step, k, p, tight);
    } else if (s == 2) {
        forward_pass4(out, in, step, k, p, tight);
    } else {
        forward_pass2(out, in, step, k, p, tight);
    }
    if (log - s == 6) {
        for (size_t i = 0; i < (size_t)1 << s; i++) {
            forward_pass8(out + i * step, out + i * step, 8, (k << s) + i, p, tight);
        }
        for (size_t i = 0; i < (size_t)1 << s; i++) {
            forward_tail(out + i * step, p, (k << s) + i - p->size / 64, tight);
        }
        return;
    }
    for (size_t i = 0; i < (size_t)1 << s; i++) {
        next(out + i * step, out + i * step, log - s, (k << s) + i, p);
    }
}

static void forward_tight(uint64_t *out, const uint64_t *in, unsigned log, size_t k,
                          const struct plan *p)
{
    forward_block(out, in, log, k, p, 1, forward_tight);
}

static void forward_loose(uint64_t *out, const uint64_t *in, unsigned log, size_t k,
                          const struct plan *p)
{
    forward_block(out, in, log, k, p, 0, forward_loose);
}

static void plan_start(struct plan *p, const struct ntt_table *t, unsigned log_m)
{
    p->w = t->w;
    p->ws = t->ws;
    p->tail = log_m == t->log_n ? t->tail : NULL;
    p->size = (size_t)1 << log_m;
    p->c = consts_of(t->mod.q);
}

static void ntt_avx512(uint64_t *out, const uint64_t *in, const struct ntt_table *t, unsigned log_m)
{
    if (log_m < 6) {
        struct kernels ref;
        k_init_ref(&ref);
        ref.ntt(out, in, t, log_m);
        return;
    }
    struct plan p;
    plan_start(&p, t, log_m);
    if (t->mod.bits <= 48) {
        forward_loose(out, in, log_m, 1, &p);
    } else {
        forward_tight(out, in, log_m, 1, &p);
    }
}

/* ---- inverse */

/* The first three inverse stages of a block of 64 words, [0, 2q) before and after. */
INLINE void inverse_tail(uint64_t *out, const uint64_t *in, const struct plan *p, size_t block,
                         int tight)
{
    const struct consts *c = &p->c;
    const uint64_t *w = p->w;
    const uint64_t *ws = p->ws;
    size_t blocks = p->size / 64;
    uint64_t local[K_TAIL_WORDS];
    const uint64_t *tail = local;
    if (p->tail != NULL) {
        tail = p->tail + K_TAIL_WORDS * (blocks - 1 - block);
        if (block + AHEAD < blocks) {
            prefetch(tail - K_TAIL_WORDS * AHEAD);
        }
    } else {
        tail_build(local, w, ws, p->size, blocks - 1 - block);
    }
    /* Rows in reversed order: lane v is the block of eight number 7 - v. */
    vec x7 = load(in), x6 = load(in + 8), x5 = load(in + 16), x4 = load(in + 24);
    vec x3 = load(in + 32), x2 = load(in + 40), x1 = load(in + 48), x0 = load(in + 56);
    TRANSPOSE(x0, x1, x2, x3, x4, x5, x6, x7);
    vec twice = tight ? c->q2 : c->q4;
    vec fourfold = tight ? c->q2 : c->q8;
    inverse_times(&x0, &x1, TAIL(2), 3, p, c->q2, tight);
    inverse_times(&x2, &x3, TAIL(2), 2, p, c->q2, tight);
    inverse_times(&x4, &x5, TAIL(2), 1, p, c->q2, tight);
    inverse(&x6, &x7, TAIL(2), c, c->q2, tight);
    inverse_times(&x0, &x2, TAIL(1), 1, p, twice, tight);
    inverse_times(&x1, &x3, TAIL(1), 1, p, c->q2, tight);
    inverse(&x4, &x6, TAIL(1), c, twice, tight);
    inverse(&x5, &x7, TAIL(1), c, c->q2, tight);
    inverse(&x0, &x4, TAIL(0), c, fourfold, tight);
    inverse(&x1, &x5, TAIL(0), c, twice, tight);
    inverse(&x2, &x6, TAIL(0), c, c->q2, tight);
    inverse(&x3, &x7, TAIL(0), c, c->q2, tight);
    SETTLE(x0, x1, x2, x3, c, tight);
    TRANSPOSE(x0, x1, x2, x3, x4, x5, x6, x7);
    store(out, x7);
    store(out + 8, x6);
    store(out + 16, x5);
    store(out + 24, x4);
    store(out + 32, x3);
    store(out + 40, x2);
    store(out + 48, x1);
    store(out + 56, x0);
}

/* The last stage with the final factor: x' = (x + y) f, y' = (y - x) w f, canonical. */
INLINE void inverse_last(vec *x, vec *y, const struct plan *p, vec bound)
{
    const struct consts *c = &p->c;
    vec s = _mm512_add_epi64(*x, *y);
    vec d = _mm512_sub_epi64(_mm512_add_epi64(*y, bound), *x);
    *x = once(mul_w(s, all(p->f), all(p->fs), c), c->q);
    *y = once(mul_w(d, all(p->g), all(p->gs), c), c->q);
}

INLINE void inverse_pass8(uint64_t *a, size_t step, size_t k, const struct plan *p, int tight,
                          int last)
{
    const struct consts *c = &p->c;
    const uint64_t *w = p->w;
    const uint64_t *ws = p->ws;
    vec b2 = tight ? c->q2 : c->q4;
    vec b3 = tight ? c->q2 : c->q8;
    for (size_t j = 0; j < step; j += 8, a += 8) {
        vec x0 = load(a), x1 = load(a + step), x2 = load(a + 2 * step), x3 = load(a + 3 * step);
        vec x4 = load(a + 4 * step), x5 = load(a + 5 * step), x6 = load(a + 6 * step);
        vec x7 = load(a + 7 * step);
        if (last) {
            inverse(&x0, &x1, INVERSE_W(3), c, c->q2, tight);
            inverse(&x2, &x3, INVERSE_W(4), c, c->q2, tight);
            inverse(&x4, &x5, INVERSE_W(5), c, c->q2, tight);
            inverse(&x6, &x7, INVERSE_W(6), c, c->q2, tight);
            inverse(&x0, &x2, INVERSE_W(1), c, b2, tight);
            inverse(&x1, &x3, INVERSE_W(1), c, c->q2, tight);
            inverse(&x4, &x6, INVERSE_W(2), c, b2, tight);
            inverse(&x5, &x7, INVERSE_W(2), c, c->q2, tight);
            inverse_last(&x0, &x4, p, b3);
            inverse_last(&x1, &x5, p, b2);
            inverse_last(&x2, &x6, p, c->q2);
            inverse_last(&x3, &x7, p, c->q2);
        } else {
            INVERSE_8(x0, x1, x2, x3, x4, x5, x6, x7, INVERSE_W, c, tight);
        }
        store(a, x0);
        store(a + step, x1);
        store(a + 2 * step, x2);
        store(a + 3 * step, x3);
        store(a + 4 * step, x4);
        store(a + 5 * step, x5);
        store(a + 6 * step, x6);
        store(a + 7 * step, x7);
    }
}

/* Two stages, words in [0, 2q) before and after, in both versions. */
INLINE void inverse_pass4(uint64_t *a, size_t step, size_t k, const struct plan *p, int last)
{
    const struct consts *c = &p->c;
    const uint64_t *w = p->w;
    const uint64_t *ws = p->ws;
    for (size_t j = 0; j < step; j += 8, a += 8) {
        vec x0 = load(a), x1 = load(a + step), x2 = load(a + 2 * step), x3 = load(a + 3 * step);
        inverse(&x0, &x1, INVERSE_W(1), c, c->q2, 1);
        inverse(&x2, &x3, INVERSE_W(2), c, c->q2, 1);
        if (last) {
            inverse_last(&x0, &x2, p, c->q2);
            inverse_last(&x1, &x3, p, c->q2);
        } else {
            inverse(&x0, &x2, INVERSE_W(0), c, c->q2, 1);
            inverse(&x1, &x3, INVERSE_W(0), c, c->q2, 1);
        }
        store(a, x0);
        store(a + step, x1);
        store(a + 2 * step, x2);
        store(a + 3 * step, x3);
    }
}

INLINE void inverse_pass2(uint64_t *a, size_t step, size_t k, const struct plan *p, int last)
{
    const struct consts *c = &p->c;
    const uint64_t *w = p->w;
    const uint64_t *ws = p->ws;
    for (size_t j = 0; j < step; j += 8, a += 8) {
        vec x0 = load(a), x1 = load(a + step);
        if (last) {
            inverse_last(&x0, &x1, p, c->q2);
        } else {
            inverse(&x0, &x1, INVERSE_W(0), c, c->q2, 1);
        }
        store(a, x0);
        store(a + step, x1);
    }
}

/* Block number `block` of size 2^log, the mirror image of forward_block. */
INLINE void inverse_block(uint64_t *out, const uint64_t *in, unsigned log, size_t block,
                          const struct plan *p, int tight,
                          void (*before)(uint64_t *, const uint64_t *, unsigned, size_t,
                                         const struct plan *))
{
    unsigned s = pass_stages(log - 6);
    size_t step = (size_t)1 << (log - s);
    size_t count = p->size >> log; /* blocks of this size */
    if (log - s == 6) {
        for (size_t i = 0; i < (size_t)1 << s; i++) {
            inverse_tail(out + i * step, in + i * step, p, (block << s) + i, tight);
        }
        for (size_t i = 0; i < (size_t)1 << s; i++) {
            inverse_pass8(out + i * step, 8, 2 * (count << s) - 1 - (block << s) - i, p, tight, 0);
        }
    } else {
        for (size_t i = 0; i < (size_t)1 << s; i++) {
            before(out + i * step, in + i * step, log - s, (block << s) + i, p);
        }
    }
    size_t k = 2 * count - 1 - block;
    if (s == 3) {
        if (count == 1) {
            inverse_pass8(out, step, k, p, tight, 1);
        } else {
            inverse_pass8(out, step, k, p, tight, 0);
        }
    } else if (s == 2) {
        inverse_pass4(out, step, k, p, count == 1);
    } else {
        inverse_pass2(out, step, k, p, count == 1);
    }
}

static void inverse_tight(uint64_t *out, const uint64_t *in, unsigned log, size_t block,
                          const struct plan *p)
{
    inverse_block(out, in, log, block, p, 1, inverse_tight);
}

static void inverse_loose(uint64_t *out, const uint64_t *in, unsigned log, size_t block,
                          const struct plan *p)
{
    inverse_block(out, in, log, block, p, 0, inverse_loose);
}

static void intt_avx512(uint64_t *out, const uint64_t *in, const struct ntt_table *t,
                        unsigned log_m, uint64_t constant)
{
    /* Size 64 has no pass for the final factor after its radix-8 pass; the plain version does it.
     */
    if (log_m < 7) {
        struct kernels ref;
        k_init_ref(&ref);
        ref.intt(out, in, t, log_m, constant);
        return;
    }
    struct plan p;
    plan_start(&p, t, log_m);
    uint64_t q = t->mod.q;
    p.f = mod_mul(constant, t->m_inv[log_m], &t->mod);
    p.fs = mod_shoup(p.f, q);
    p.g = mod_mul(p.f, t->w[1], &t->mod);
    p.gs = mod_shoup(p.g, q);
    if (t->mod.bits <= 48) {
        inverse_loose(out, in, log_m, 0, &p);
    } else {
        inverse_tight(out, in, log_m, 0, &p);
    }
}

void k_ntt_avx512(struct kernels *k)
{
    k->ntt = ntt_avx512;
    k->intt = intt_avx512;
}
#else
typedef int k_no_ntt_avx512; /* an empty unit is not C */
#endif
