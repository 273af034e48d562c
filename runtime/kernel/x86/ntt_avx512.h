/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNEL_X86_NTT_AVX512_H
#define KERNEL_X86_NTT_AVX512_H

/* The passes of the forward transform (ntt_avx512.c), which convert_avx512.c takes apart. */
#include "vec_avx512.h"

/* x' = x + w y, y' = x - w y. reduce: the multiple of q to take from x first, or NULL. */
INLINE void forward(vec *x, vec *y, vec w, vec ws, const struct consts *c, const vec *reduce)
{
    vec u = reduce != NULL ? once(*x, *reduce) : *x;
    vec t = mul_w(*y, w, ws, c);
    *x = _mm512_add_epi64(u, t);
    *y = _mm512_sub_epi64(_mm512_add_epi64(u, c->q2), t);
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

/* The last three stages of a block of 64 words; out may be a; canonical. */
INLINE void forward_tail(uint64_t *out, const uint64_t *a, const struct plan *p, size_t block,
                         int tight, const struct finish *f)
{
    const struct consts *c = &p->c;
    const uint64_t *w = p->w;
    const uint64_t *ws = p->ws;
    uint64_t local[K_TAIL_WORDS];
    const uint64_t *tail = local;
    if (p->tail != NULL) {
        tail = p->tail + K_TAIL_WORDS * block;
        if (block + AHEAD < p->size / 64) {
            prefetch(tail + K_TAIL_WORDS * AHEAD, K_TAIL_WORDS);
            if (f->minuend != NULL) {
                prefetch(f->minuend + 64 * AHEAD, 64);
            }
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
/* Below 2q, which a finish with a minuend takes: a + 2q - x is below 3q, a valid operand. */
#define SETTLED(x) once(tight ? x : once(once(x, c->q8), c->q4), c->q2)
#define FINISH(x, at)                                                                              \
    do {                                                                                           \
        if (f->minuend != NULL) {                                                                  \
            x = _mm512_sub_epi64(_mm512_add_epi64(load(f->minuend + (at)), c->q2), x);             \
            x = mul_w(x, f->c, f->cs, c);                                                          \
        }                                                                                          \
        store_far(out + (at), once(x, c->q), f->far);                                              \
    } while (0)
    x0 = SETTLED(x0);
    x1 = SETTLED(x1);
    x2 = SETTLED(x2);
    x3 = SETTLED(x3);
    x4 = SETTLED(x4);
    x5 = SETTLED(x5);
    x6 = SETTLED(x6);
    x7 = SETTLED(x7);
    TRANSPOSE(x0, x1, x2, x3, x4, x5, x6, x7);
    FINISH(x0, 0);
    FINISH(x1, 8);
    FINISH(x2, 16);
    FINISH(x3, 24);
    FINISH(x4, 32);
    FINISH(x5, 40);
    FINISH(x6, 48);
    FINISH(x7, 56);
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

INLINE void plan_start(struct plan *p, const struct ntt_table *t, unsigned log_m)
{
    p->w = t->w;
    p->ws = t->ws;
    p->tail = log_m == t->log_n ? t->tail : NULL;
    p->size = (size_t)1 << log_m;
    p->c = consts_of(t->mod.q);
}

#endif
